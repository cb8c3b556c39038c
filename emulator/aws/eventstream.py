"""The ``application/vnd.amazon.eventstream`` format: the answer of InvokeEndpointWithResponseStream.

A message is: its length, its headers' length, a checksum of these two; the headers; the payload; a
checksum of all before. Numbers are 4 bytes, big-endian; checksums are CRC-32.
"""

from __future__ import annotations

import json
import struct
import zlib

STRING = 7  # the header value type; no other is needed


def payload_part(chunk: bytes) -> bytes:
    """A ``PayloadPart`` event: a part of the model's answer."""
    kind, content_type = (":event-type", "PayloadPart"), (":content-type", "application/octet-stream")
    return _message(chunk, (kind, content_type, (":message-type", "event")))


def stream_exception(name: str, message: str, **fields: str) -> bytes:
    """An exception inside the stream, ``ModelStreamError`` or ``InternalStreamFailure``; nothing follows it."""
    return _message(
        json.dumps({"Message": message, **fields}).encode(),
        ((":exception-type", name), (":content-type", "application/json"), (":message-type", "exception")),
    )


def _message(payload: bytes, headers: tuple[tuple[str, str], ...]) -> bytes:
    head = b"".join(
        struct.pack(f"!B{len(name)}sBH{len(value)}s", len(name), name.encode(), STRING, len(value), value.encode())
        for name, value in headers
    )
    prelude = struct.pack("!II", 16 + len(head) + len(payload), len(head))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + head + payload
    return message + struct.pack("!I", zlib.crc32(message))
