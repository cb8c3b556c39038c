"""Server-sent events: writes them to one reader, until it goes away, does not read any more, or the emulator ends.

[HTML standard, "Server-sent events"]
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from emulator.aws.asgi import Headers, Receive, Send
from emulator.timeouts import in_time

MOST_UNREAD_SECONDS = 30.0  # [ours] that a reader may take for a message; it comes again, and goes on from there
LONGEST_SECONDS = 3600.0  # [ours] of a stream: who comes again is asked again whether it may, and goes on from there
LAST_SECONDS = 0.1  # [ours] for the end of the stream to leave
HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # for a proxy between
]


async def stream(messages: AsyncGenerator[bytes, None], receive: Receive, send: Send) -> None:
    """Send messages as they come, until there is no more, or nobody reads them."""
    await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
    writing = asyncio.ensure_future(_write(messages, send))
    gone = asyncio.ensure_future(_until_gone(receive))
    with contextlib.suppress(asyncio.CancelledError):  # the emulator ends, or the reader has gone
        await asyncio.wait([writing, gone], timeout=LONGEST_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    for task in (writing, gone):
        task.cancel()
    await asyncio.wait([writing, gone])
    await messages.aclose()
    # One who does not read gets no end: the connection is closed without.
    with contextlib.suppress(asyncio.TimeoutError, asyncio.CancelledError):
        if not writing.cancelled():
            writing.result()
        await in_time(send({"type": "http.response.body", "body": b"", "more_body": False}), LAST_SECONDS)


async def _write(messages: AsyncGenerator[bytes, None], send: Send) -> None:
    async for message in messages:
        sending = send({"type": "http.response.body", "body": message, "more_body": True})
        await in_time(sending, MOST_UNREAD_SECONDS)


async def _until_gone(receive: Receive) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        while (await receive())["type"] != "http.disconnect":
            pass
