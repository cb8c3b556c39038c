"""A WSGI application behind ASGI: it runs in threads, and has the request as a whole before it begins.

Its answer leaves when its thread has come to its end. Else the caller would have it before, and the emulator might end
in between: the thread would speak to an event loop that is closed.
"""

from __future__ import annotations

import asyncio
from typing import Any

from emulator.aws.asgi import (
    Application,
    BodyBrokenOff,
    BodyTooLong,
    Message,
    Receive,
    Scope,
    Send,
    read_body,
    replayed,
)
from emulator.aws.errors import AwsError
from emulator.aws.protocols import send_error
from emulator.aws.request import AwsRequest

MOST_BODY_BYTES = 32 * 1024 * 1024  # [ours] of a request; more than any call that comes here needs
LAST_SECONDS = 2.0  # [ours] how long a call may go on whose caller has gone, or which the end of the emulator cuts off


def in_threads(application: Any, workers: int = 2) -> Application:
    """An ASGI application of a WSGI one. Requests are held in memory as a whole: no thread waits for a caller."""
    from a2wsgi import WSGIMiddleware

    middleware: Any = WSGIMiddleware(application, workers=workers)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        body = await whole_body(AwsRequest(scope), receive, send)
        if body is None:
            return

        sent: list[Message] = []

        async def keep(message: Message) -> None:
            sent.append(message)

        running = asyncio.ensure_future(middleware(scope, replayed(body, receive), keep))
        try:
            await asyncio.shield(running)
        finally:
            await asyncio.wait([running], timeout=LAST_SECONDS)
        start, *parts = sent
        await send(start)
        await send({"type": "http.response.body", "body": b"".join(part.get("body", b"") for part in parts)})

    return answer


async def whole_body(request: AwsRequest, receive: Receive, send: Send) -> bytes | None:
    """A request's body; None if its caller has gone, or if it was too long and has been refused."""
    try:
        return await read_body(receive, MOST_BODY_BYTES)
    except BodyBrokenOff:
        return None
    except BodyTooLong as error:
        message = f"The request body of {error.size} bytes is over the limit of {MOST_BODY_BYTES} bytes."
        await send_error(request, AwsError("RequestEntityTooLarge", 413, message), send)  # [ours]
        return None
