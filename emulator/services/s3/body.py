"""Reads a request's body only as fast as it is written; the rest waits at the sender."""

from __future__ import annotations

import contextlib

from emulator.aws.asgi import BodyBrokenOff, BodyTooLong, Message, Receive, read_body
from emulator.aws.errors import AwsError
from emulator.services.s3.errors import incomplete_body, message_too_long

BATCH_BYTES = 1 << 20  # read before it is written: each batch takes two hops between threads


class Body:
    """Reads a request's body in batches."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.has_begun = False  # whether reading has begun: a caller with Expect: 100-continue sends its body only then
        self.is_complete = False

    async def batch(self) -> bytes:
        """The next megabyte or so, or the rest. Raises IncompleteBody when the caller has gone."""
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
        """The whole body. Raises MaxMessageLengthExceeded, after reading to its end, and IncompleteBody."""
        try:
            return await read_body(self._receive_next, limit)
        except BodyTooLong:
            raise message_too_long(limit) from None
        except BodyBrokenOff:
            raise incomplete_body() from None

    async def drop(self) -> None:
        """Read and drop the rest: a caller that still sends would see a broken connection instead of the response."""
        with contextlib.suppress(AwsError):
            while not self.is_complete:
                await self.batch()

    async def _receive_next(self) -> Message:
        self.has_begun = True
        message = await self._receive()
        self.is_complete = not message.get("more_body")
        return message
