"""The part of docs/commands.md that the commands themselves know: their arguments and options.

    python -m tests.documents.command_reference

writes it anew, between the comments that mark it; a command that has none yet comes at the end.
"""

from __future__ import annotations

import re
from pathlib import Path

import click

from localmme.cli.main import main
from tests.support.repository import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "commands.md"
PART = re.compile(r"<!-- begin (\S+) -->\n.*?<!-- end \1 -->\n", re.DOTALL)


def commands() -> dict[str, click.Command]:
    """Those that a user sees, by their names."""
    return {name: command for name, command in sorted(main.commands.items()) if not command.hidden}


def reference(name: str) -> str:
    """How a command is called, what it does, and its options, as Markdown."""
    command = commands()[name]
    with click.Context(command, info_name=name, parent=click.Context(main, info_name="localmme")) as context:
        usage = " ".join(["localmme", name, *command.collect_usage_pieces(context)])
        options = [option for option in command.params if isinstance(option, click.Option)]
        records = [record for option in options if (record := option.get_help_record(context))]
    lines = [f"<!-- begin {name} -->", "```text", usage, "```", ""]
    lines += [_text(paragraph) + "\n" for paragraph in (command.help or "").split("\n\n")]
    if records:
        lines += ["| option | |", "| --- | --- |"]
        lines += [f"| `{_cell(names)}` | {_cell(_text(meaning))} |" for names, meaning in records]
    text = "\n".join(lines).rstrip()
    return f"{text}\n<!-- end {name} -->\n"


def missing(text: str) -> list[str]:
    """The commands that the document does not tell of, and what it tells of that is no command."""
    return sorted({*PART.findall(text)} ^ {*commands()})


def renewed(text: str) -> str:
    """The document as it has to be."""
    known = commands()
    text = PART.sub(lambda part: reference(part[1]) if part[1] in known else "", text)
    for name in known:
        if f"<!-- begin {name} -->" not in text:
            text += f"\n## localmme {name}\n\n{reference(name)}"
    return text


def _text(help_text: str) -> str:
    return " ".join(help_text.split()).replace("<", "&lt;").replace("*", r"\*")


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


if __name__ == "__main__":
    Path(DOCUMENT).write_text(renewed(DOCUMENT.read_text("utf-8")), "utf-8")
