"""XML documents as AWS's services write them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html import escape
from typing import Union

# What XML 1.0 cannot hold. S3 sends it as a character reference; callers who mind ask for encoding-type=url.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]")

Element = tuple[str, Union[str, int, bool, "list[Element]"]]


def document(name: str, children: Iterable[Element], namespace: str = "") -> bytes:
    """An XML document of this root."""
    opened = f'<{name} xmlns="{namespace}">' if namespace else f"<{name}>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{opened}{"".join(_written(children))}</{name}>'.encode(
        "utf-8", "replace"
    )


def text(value: str) -> str:
    """A text between two tags."""
    return CONTROL.sub(lambda match: f"&#x{ord(match[0]):X};", escape(value, quote=False).replace('"', "&quot;"))


def _written(children: Iterable[Element]) -> Iterator[str]:
    for name, value in children:
        if isinstance(value, list):
            yield f"<{name}>{''.join(_written(value))}</{name}>"
        elif isinstance(value, bool):
            yield f"<{name}>{str(value).lower()}</{name}>"
        else:
            yield f"<{name}>{text(str(value))}</{name}>"
