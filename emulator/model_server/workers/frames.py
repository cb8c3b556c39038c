"""The frames between the server and its workers: a small binary header, JSON fields, a raw body.

===========  =================  ===========================================================
kind         goes to            means
===========  =================  ===========================================================
``LOAD``     the worker         load this model
``NOTE``     the server         something about the handler, to be logged once for all models with it: ``text``
``LOADED``   the server         the model is loaded, ready for invocations: what ``recording`` has recorded
``FRESH``    the server         the model needs a worker that has imported nothing before: ``variable``
``FAILED``   the server         the model could not be loaded: ``status``, ``message``
``INVOKE``   the worker         an invocation: ``id``, ``query``, ``headers``, body
``RESPONSE`` the server         its response: ``status``, ``phrase``, ``headers``, body
``STREAM``   the server         its response without the body, which follows in ``CHUNK`` frames
``CHUNK``    the server         a piece of a streamed body
``END``      the server         a streamed body is complete
``BROKEN``   the server         the handler raised in the middle of a streamed body
``CANCEL``   the worker         nobody reads the streamed body any more
===========  =================  ===========================================================
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from io import BufferedReader
from typing import Any, NamedTuple

LOAD, NOTE, LOADED, FRESH, FAILED = b"L", b"O", b"R", b"N", b"F"
INVOKE, RESPONSE = b"I", b"A"
STREAM, CHUNK, END, BROKEN, CANCEL = b"S", b"C", b"E", b"B", b"X"

_HEADER = struct.Struct("!cII")  # kind, length of the fields, length of the body


class Frame(NamedTuple):
    """One message."""

    kind: bytes
    fields: dict[str, Any]
    body: bytearray


def head(kind: bytes, fields: dict[str, Any] | None = None, body_length: int = 0) -> bytes:
    """A frame without its body, which has to follow."""
    text = json.dumps(fields).encode() if fields else b""
    return _HEADER.pack(kind, len(text), body_length) + text


def read(file: BufferedReader) -> Frame | None:
    """The next frame of a buffered file, or None when the other side has gone.

    The body is a new ``bytearray``, read straight from the socket, which handlers get without a copy.
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
    """Assembles frames from the pieces that a transport delivers."""

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
