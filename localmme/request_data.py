"""The body of a request that a command sends, and its content type."""

from __future__ import annotations

import json
import mimetypes
import sys
from pathlib import Path

from emulator.errors import SetupError


def read_data(data: str) -> bytes:
    """The bytes of ``--data``: from ``@FILE``, from standard input (``-``), or the text itself. Raises SetupError."""
    if data == "-":
        return sys.stdin.buffer.read()
    if not data.startswith("@"):
        return data.encode()
    try:
        return Path(data[1:]).expanduser().read_bytes()
    except OSError as error:
        raise SetupError(f"The data file {data[1:]} cannot be read: {error.strerror}.") from None


def guess_content_type(data: str, body: bytes) -> str:
    """The content type by the file's name; else application/json for JSON; else application/octet-stream."""
    by_name = mimetypes.guess_type(data)[0] if data.startswith("@") else None
    if by_name:
        return by_name
    try:
        json.loads(body)
    except ValueError:
        return "application/octet-stream"
    return "application/json"
