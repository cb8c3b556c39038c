"""The last step of every answer: safe headers, so that no browser treats it as a page of the emulator.

What callers say comes back in headers: in S3's metadata, in its ``response-*`` parameters, in what containers answer.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, MutableMapping
from typing import Any

from emulator.aws.asgi import Headers, Send

CONTROLS = bytes([*range(0x09), *range(0x0A, 0x20), 0x7F])
WITHOUT_CONTROLS = bytes.maketrans(CONTROLS, b" " * len(CONTROLS))
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # [RFC 9110] a header's name
CORS = b"access-control-"
# An answer is what it says it is, runs no script as if it were the emulator's page, and is not for other pages to show.
NO_PAGE: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"sandbox"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


def safe(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Headers of one line each, without those that let other pages read the answer."""
    return [(name, value.translate(WITHOUT_CONTROLS)) for name, value in headers if _is_sent(name)]


def safe_lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The same, as lines of a response."""
    lines = b""
    for name, value in headers:
        if _is_sent(name):
            lines += b"%b: %b\r\n" % (name, value.translate(WITHOUT_CONTROLS))
    return lines


@functools.lru_cache(1024)
def _is_sent(name: bytes) -> bool:
    return TOKEN.fullmatch(name) is not None and not name.lower().startswith(CORS)


def protected(send: Send, more: Headers, origin: bytes = b"") -> Send:
    """Send answers with safe headers, and those ``more`` that they do not have; readable by the pages of ``origin``."""

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = safe(message.get("headers", ()))
            if more:
                there = {name.lower() for name, _ in headers}
                headers += [header for header in more if header[0] not in there]
            if origin:
                headers = shared(headers, origin)
            message = {**message, "headers": headers}
        await send(message)

    return sending


def shared(headers: Headers, origin: bytes) -> Headers:
    """Headers of an answer that the pages of an origin may read, all of it. [Fetch standard, "CORS protocol"]"""
    names = b", ".join(sorted({name.lower() for name, _ in headers}))
    return [
        *(header for header in headers if header[0] != b"cross-origin-resource-policy"),
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", names),
        (b"cross-origin-resource-policy", b"cross-origin"),
        (b"vary", b"Origin"),
    ]
