"""The table in docs/check.md, which the checks themselves know.

    python -m tests.documents.check_reference

writes it anew, between the comments that mark it.
"""

from __future__ import annotations

import re
from pathlib import Path

from localmme.check.checks import CHECKS
from tests.support.repository import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "check.md"
PART = re.compile(r"<!-- begin checks -->\n.*?<!-- end checks -->\n", re.DOTALL)


def reference() -> str:
    """The checks, what is done, and what to do if one fails, as Markdown."""
    lines = ["<!-- begin checks -->", "| check | what is done | if it fails |", "| --- | --- | --- |"]
    for check in CHECKS:
        name = check.name if check.is_fast else f"{check.name} (not with `--fast`)"
        lines.append(f"| {name} | {check.done.replace('|', chr(92) + '|')} | {check.fix.replace('|', chr(92) + '|')} |")
    return "\n".join([*lines, "<!-- end checks -->", ""])


def renewed(text: str) -> str:
    """The document as it has to be."""
    assert PART.search(text)
    return PART.sub(lambda _: reference(), text)


if __name__ == "__main__":
    Path(DOCUMENT).write_text(renewed(DOCUMENT.read_text("utf-8")), "utf-8")
