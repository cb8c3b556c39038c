"""ASGI for all applications of the emulator: its types, reading a request's body, sending an answer."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from emulator.errors import EmulatorError

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
HeadersByName = Mapping[bytes, bytes]  # the last one of each name
Response = tuple[int, Headers, bytes]  # a whole one: status, headers but its length, body
BODILESS = (204, 304)  # [RFC 9110] statuses of answers without a body, and so without its length


class BodyTooLong(EmulatorError):
    """A request's body is over the limit; it has been read to its end, and ``size`` is all of it in bytes."""

    def __init__(self, size: int) -> None:
        super().__init__(f"a body of {size} bytes is too long")
        self.size = size


class BodyBrokenOff(EmulatorError):
    """The caller has gone, or sends no more, after ``size`` bytes of a body that is incomplete."""

    def __init__(self, size: int) -> None:
        super().__init__(f"a body ended after {size} bytes")
        self.size = size


class ConnectionCut(EmulatorError):
    """The connection to the caller is to end here, without an answer or without the rest of it."""


async def read_body(receive: Receive, most_bytes: int, see: Callable[[bytes], None] | None = None) -> bytes:
    """A request's body; ``see`` is called with each part of it, kept or not.

    A caller that is still sending when the answer comes would see a broken connection instead of the answer: so a body
    over the limit is read to its end as well. Raises BodyTooLong and BodyBrokenOff.
    """
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BodyBrokenOff(size)
        part = message.get("body", b"")
        size += len(part)
        if see is not None:
            see(part)
        is_last = not message.get("more_body")
        if size > most_bytes:
            parts.clear()
        elif is_last:
            return b"".join((*parts, part)) if parts else part
        else:
            parts.append(part)
        if is_last:
            raise BodyTooLong(size)


async def drain(receive: Receive) -> None:
    """Read what is left of a body: a caller that is still sending would not see the answer, but a broken connection."""
    with contextlib.suppress(BodyTooLong, BodyBrokenOff):
        await read_body(receive, 0)


def replayed(body: bytes | BodyTooLong, receive: Receive) -> Receive:
    """``receive`` from its beginning again: what has been read of it, or why that was not kept; then what follows."""
    is_read = False

    async def receive_again() -> Message:
        nonlocal is_read
        if is_read:
            return await receive()
        is_read = True
        if isinstance(body, BodyTooLong):
            raise body
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


async def send_answer(send: Send, status: int, headers: Headers, body: bytes = b"", *, is_head: bool = False) -> None:
    """Send an answer in one piece, with its length; the headers are its own from now on.

    ``is_head``: to a HEAD request, which gets the body's length, not the body.
    """
    if status not in BODILESS:
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if is_head else body})
