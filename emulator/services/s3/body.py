"""A request's body, no faster than it is written: what has not been asked for stays with the sender."""

from __future__ import annotations

from emulator.aws.asgi import Receive
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
        self.has_begun = True
        while size < BATCH_BYTES and not self.is_complete:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise incomplete_body()
            part = message.get("body", b"")
            parts.append(part)
            size += len(part)
            self.is_complete = not message.get("more_body")
        return b"".join(parts)

    async def document(self, limit: int) -> bytes:
        """All of it. Raises MaxMessageLengthExceeded, when all has been read, and IncompleteBody."""
        parts: list[bytes] = []
        size = 0
        while not self.is_complete:
            part = await self.batch()
            size += len(part)
            if size <= limit:
                parts.append(part)
        if size > limit:
            raise message_too_long(limit)
        return b"".join(parts)

    async def drop(self) -> None:
        """Read what is left: a caller that is still sending would not see the answer, but a broken connection."""
        try:
            while not self.is_complete:
                await self.batch()
        except S3Error:
            return
