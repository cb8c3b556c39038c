"""A request's body, no faster than it is written: what has not been asked for stays with the sender."""

from __future__ import annotations

import contextlib

from emulator.aws.asgi import BodyBrokenOff, BodyTooLong, Message, Receive, read_body
from emulator.services.s3.errors import S3Error, incomplete_body, message_too_long

BATCH_BYTES = 1 << 20  # read before it is written: each batch takes two hops between threads


class Body:
    """Reads a request's body in batches."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.has_begun = False  # to be read: a caller that waits for that (Expect: 100-continue) sends it then
        self.is_complete = False

    async def batch(self) -> bytes:
        """About a megabyte, or what is left of it. Raises IncompleteBody when the caller has gone."""
        parts: list[bytes] = []
        size = 0
        while size < BATCH_BYTES and not self.is_complete:
            message = await self._receive_next()
            if message["type"] == "http.disconnect":
                raise incomplete_body()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
        return b"".join(parts)

    async def document(self, limit: int) -> bytes:
        """All of it. Raises MaxMessageLengthExceeded, when all has been read, and IncompleteBody."""
        try:
            return await read_body(self._receive_next, limit)
        except BodyTooLong:
            raise message_too_long(limit) from None
        except BodyBrokenOff:
            raise incomplete_body() from None

    async def drop(self) -> None:
        """Read what is left: a caller that is still sending would not see the answer, but a broken connection."""
        with contextlib.suppress(S3Error):
            while not self.is_complete:
                await self.batch()

    async def _receive_next(self) -> Message:
        self.has_begun = True
        message = await self._receive()
        self.is_complete = not message.get("more_body")
        return message
