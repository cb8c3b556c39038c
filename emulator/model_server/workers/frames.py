"""The frames between the server and its workers: a small binary header, JSON fields, a raw body.

===========  =================  ===========================================================
kind         goes to            means
===========  =================  ===========================================================
``LOAD``     the worker         load this model
``LOADED``   the server         done, ready for invocations
``FAILED``   the server         it could not be loaded: ``status``, ``message``
``INVOKE``   the worker         an invocation: ``id``, ``query``, ``headers``, body
``ANSWER``   the server         its answer: ``status``, ``phrase``, ``headers``, body
``STREAM``   the server         the same, but the body follows in ``CHUNK`` frames
``CHUNK``    the server         a piece of that body
``END``      the server         the body is complete
``BROKEN``   the server         the handler raised in the middle of it
``CANCEL``   the worker         nobody reads that body any more
===========  =================  ===========================================================
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from io import BufferedReader
from typing import Any, NamedTuple

LOAD, LOADED, FAILED = b"L", b"R", b"F"
INVOKE, ANSWER = b"I", b"A"
STREAM, CHUNK, END, BROKEN, CANCEL = b"S", b"C", b"E", b"B", b"X"

_HEADER = struct.Struct("!cII")  # kind, length of the fields, length of the body


class Frame(NamedTuple):
    """One message."""

    kind: bytes
    fields: dict[str, Any]
    body: bytearray


def head(kind: bytes, fields: dict[str, Any] | None = None, body_length: int = 0) -> bytes:
    """All of a frame but its body, which is to follow as it is."""
    text = json.dumps(fields).encode() if fields else b""
    return _HEADER.pack(kind, len(text), body_length) + text


def read(file: BufferedReader) -> Frame | None:
    """The next frame of a buffered file, or None when the other side is gone.

    The body is a ``bytearray`` of its own, read straight from the socket: handlers are given it without a copy.
    """
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    kind, text_length, body_length = _HEADER.unpack(header)
    text = file.read(text_length)
    body = bytearray(body_length)
    if len(text) < text_length or file.readinto(body) < body_length:
        return None
    return Frame(kind, json.loads(text) if text else {}, body)


class Decoder:
    """Puts frames together from the pieces that a transport delivers."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that ``data`` completes."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _HEADER.size:
            kind, text_length, body_length = _HEADER.unpack_from(buffer)
            body_start = _HEADER.size + text_length
            end = body_start + body_length
            if len(buffer) < end:
                return
            with memoryview(buffer) as view:
                fields = json.loads(bytes(view[_HEADER.size : body_start])) if text_length else {}
                body = bytearray(view[body_start:end])
            del buffer[:end]
            yield Frame(kind, fields, body)
