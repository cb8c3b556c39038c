"""Text that others have written, made harmless before a person sees it.

File names, names that callers made up, a container's output and the texts of its exceptions may hold what a terminal
obeys, what turns lines round, or what ends a line so that the rest of it looks like one of ours.
"""

from __future__ import annotations

import re
import unicodedata

# A tab, and what joins and parts the letters of some scripts. Spaces of other widths are harmless as well.
_HARMLESS = "\t\u200c\u200d"
_COLOR = re.compile(r"\x1b\[[\d;:]*m")
_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
INDENT = "  "


def printable(text: str) -> str:
    """The text on one line, with what is harmful written out: ``\\x1b``, ``\\n``, ``\\u202e``."""
    return text if text.isprintable() else "".join(map(_shown, text))


def printable_lines(text: str, indent: str = INDENT) -> str:
    """The same for a text that may have several lines: those after the first are indented, so that none looks like a
    line of its own."""
    first, *others = map(printable, _LINE_END.split(text.rstrip("\r\n")))
    return "\n".join([first, *(indent + line for line in others)])


def without_colors(text: str) -> str:
    """The text of a program that colours its output."""
    return _COLOR.sub("", text) if "\x1b" in text else text


def _shown(character: str) -> str:
    # Not printable are control characters, ends of lines, what changes the direction of writing, and halves of
    # characters, which are what undecodable bytes of file names become.
    if character.isprintable() or character in _HARMLESS or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode()
