"""The connections to one container: an idle one is used again, otherwise a new one is opened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from emulator.containers.http_connection import Answer, AnswerTooLong, HttpConnection
from emulator.containers.unix_socket import connect
from emulator.errors import ContainerNotReached, TooManyOpenFiles
from emulator.open_files import EXHAUSTED, too_many
from emulator.timeouts import in_time

# A connection that idled longer is not used again: servers close idle connections when they please
# (the shortest common setting is 2 s), and a request on a closing connection would be lost.
IDLE_SECONDS = 1.0


@dataclass(slots=True, kw_only=True)
class StreamedAnswer(Answer):
    """An answer whose head has come; ``chunks`` yields the body as it comes. Whoever gets it must leave ``closing``."""

    chunks: AsyncIterator[bytes]
    closing: ExitStack = field(default_factory=ExitStack)  # what there is to do then
    container: str = ""  # the name of the one that answers

    async def whole(self, max_body: int) -> Answer:
        """The same with its body read to the end, and closed. Raises AnswerTooLong."""
        body = b""
        with self.closing:
            async for chunk in self.chunks:
                body += chunk
                if len(body) > max_body:
                    raise AnswerTooLong(self.status)
        return Answer(self.status, self.headers, body)


class ConnectionPool:
    """Connections to one server. All times are in seconds."""

    def __init__(self, host: str, port: int, connect_seconds: float, socket: Path | None = None) -> None:
        """To a port, or to a Unix ``socket`` in its place. Made on the running event loop."""
        self.host, self.port = host, port
        self._socket = socket
        self._connect_seconds = connect_seconds
        self._loop = asyncio.get_running_loop()
        self._idle: list[HttpConnection] = []
        self._open: set[HttpConnection] = set()
        self._closed = False

    async def request(self, head: bytes, body: bytes, timeout: float, max_body: int) -> Answer:
        """Send a request and return its whole answer.

        Raises ContainerNotReached (no connection), ContainerUnreachable (it dropped), ContainerTimeout (no whole answer
        within ``timeout``), AnswerTooLong (more than ``max_body`` bytes), TooManyOpenFiles, ContainerError (not HTTP).
        """
        connection = self._idle_connection() or await self._new_connection()
        try:
            await connection.send(head, body, max_body, timeout)
            return connection.answer()
        finally:
            self._put_back(connection)

    async def request_in_chunks(
        self, head: bytes, chunks: AsyncGenerator[bytes, None], timeout: float, max_body: int
    ) -> Answer:
        """The same with a body whose length nobody knows. Raises as ``request``, and what ``chunks`` raises."""
        connection = self._idle_connection() or await self._new_connection()
        sending = asyncio.ensure_future(connection.send_chunks(chunks))  # it begins in the next turn, behind the head
        try:
            answered = connection.send(head, b"", max_body, timeout)
            await asyncio.wait([answered, sending], return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
            await answered
            return connection.answer()
        finally:
            # After an answer that did not wait for all of the body, nobody knows whether the rest is ever read.
            connection.reusable = connection.reusable and sending.done()
            sending.cancel()
            self._put_back(connection)
            await asyncio.gather(sending, return_exceptions=True)

    async def stream(self, head: bytes, body: bytes, timeout: float) -> StreamedAnswer:
        """Send a request and return its answer as soon as the head is there; raises as ``request``.

        ``timeout`` bounds all of it: ``chunks`` raises too.
        """
        connection = self._idle_connection() or await self._new_connection()
        with ExitStack() as until_it_began:
            until_it_began.callback(self._put_back, connection)
            await connection.send(head, body, 0, timeout, streaming=True)
            status, headers = connection.head()
            closing = until_it_began.pop_all()

        async def chunks() -> AsyncIterator[bytes]:
            while (chunk := await connection.part()) is not None:
                yield chunk

        return StreamedAnswer(status, headers, chunks=chunks(), closing=closing)

    def _idle_connection(self) -> HttpConnection | None:
        while self._idle:
            connection = self._idle.pop()
            is_fresh = self._loop.time() - connection.idle_since < IDLE_SECONDS
            if is_fresh and not connection.closed and connection.is_quiet():
                return connection
            self._drop(connection)
        return None

    async def _new_connection(self) -> HttpConnection:
        if self._closed:
            raise ContainerNotReached("the container has ended")
        opening = self._loop.create_task(self._open_connection())
        try:
            _, connection = await in_time(opening, self._connect_seconds)
        except asyncio.CancelledError:
            if not opening.cancelled() and opening.exception() is None:  # it was there already
                opening.result()[0].abort()
            raise
        except asyncio.TimeoutError:
            raise ContainerNotReached(
                f"the container did not accept a connection within {self._connect_seconds:.3g} s"
            ) from None
        except OSError as error:
            if error.errno in EXHAUSTED:
                raise TooManyOpenFiles(too_many()) from None
            raise ContainerNotReached(f"the container accepts no connection: {error}") from None
        if connection.closed:  # before we got to it: uvloop would not take a request for it any more
            raise ContainerNotReached("the container closed the connection at once")
        self._open.add(connection)
        if self._closed:  # meanwhile
            self._drop(connection)
            raise ContainerNotReached("the container has ended")
        return connection

    async def _open_connection(self) -> tuple[asyncio.Transport, HttpConnection]:
        if self._socket is None:
            return await self._loop.create_connection(HttpConnection, self.host, self.port)
        return await self._loop.create_unix_connection(HttpConnection, sock=connect(self._socket))

    def _put_back(self, connection: HttpConnection) -> None:
        if connection.reusable and not connection.closed:
            connection.idle_since = self._loop.time()
            self._idle.append(connection)
        else:
            self._drop(connection)

    def _drop(self, connection: HttpConnection) -> None:
        self._open.discard(connection)
        if not connection.closed:
            connection.close()

    def close(self) -> None:
        """Close every connection, for good; exchanges under way fail with ContainerUnreachable."""
        self._closed = True
        self._idle.clear()
        for connection in self._open:
            connection.close()
        self._open.clear()
