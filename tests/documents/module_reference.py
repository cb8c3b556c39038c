"""The part of docs/how-it-works.md that the modules themselves know: the first line of each.

    python -m tests.documents.module_reference

writes it anew, between the comments that mark it. A room without such a comment is reported as missing.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.support.repository import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "how-it-works.md"
PART = re.compile(r"<!-- begin (\S+) -->\n.*?<!-- end \1 -->\n", re.DOTALL)


def rooms() -> list[str]:
    """The directories that the document shows: a package and, as one, each package in it."""
    packages = (REPOSITORY / "emulator", REPOSITORY / "localmme")
    inside = [path.parent for package in packages for path in package.glob("*/__init__.py")]
    return sorted(str(path.relative_to(REPOSITORY)) for path in (*packages, *inside))


def modules(room: str) -> list[Path]:
    """The modules of a room, those of its rooms after its own; of a whole package, only what is in no room."""
    directory = REPOSITORY / room
    found = directory.glob("*.py") if "/" not in room else directory.rglob("*.py")
    named = [path for path in found if path.name != "__init__.py"]
    return sorted(named, key=lambda path: (len(path.relative_to(directory).parts), path))


def reference(room: str) -> str:
    """A table of a room's modules, as Markdown."""
    lines = [f"<!-- begin {room} -->", f"{first_line(REPOSITORY / room / '__init__.py')}", ""]
    lines += ["| module | |", "| --- | --- |"]
    lines += [f"| `{path.relative_to(REPOSITORY / room)}` | {first_line(path)} |" for path in modules(room)]
    return "\n".join([*lines, f"<!-- end {room} -->", ""])


def first_line(path: Path) -> str:
    """What a module says that it is; as Markdown."""
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return text.partition("\n\n")[0].replace("\n", " ").replace("``", "`").replace("|", r"\|")


def missing(text: str) -> list[str]:
    """The rooms that the document does not show, and what it shows that is no room."""
    return sorted({*PART.findall(text)} ^ {*rooms()})


def renewed(text: str) -> str:
    """The document as it has to be."""
    known = rooms()
    return PART.sub(lambda part: reference(part[1]) if part[1] in known else "", text)


if __name__ == "__main__":
    Path(DOCUMENT).write_text(renewed(DOCUMENT.read_text("utf-8")), "utf-8")
