"""One HTTP/1.1 connection to a container, on httptools: a request is sent, its answer is read.

It exists for speed: against a real model server, an emulator built on aiohttp's client reached two
thirds of the direct throughput, this one reaches five sixths. It does just what talking to a
container on this machine takes: no redirects, cookies, proxies, compression or TLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import httptools

from emulator.alarm import Alarm
from emulator.errors import ContainerError, ContainerTimeout, ContainerUnreachable

# A streamed answer is read from the socket only as fast as its reader takes it.
STREAM_BUFFER_BYTES = 256 * 1024
# [ours] The most of an answer that is not its body: head, informational answers (1xx), trailers, chunk extensions.
HEAD_BYTES = 256 * 1024


class AnswerTooLong(ContainerError):
    """The answer's body is over the limit."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the answer (status {status}) is over the body limit")
        self.status = status


class AnswerBrokenOff(ContainerUnreachable):
    """The connection ended in the middle of an answer."""

    def __init__(self, status: int) -> None:
        super().__init__("the container broke off its answer")
        self.status = status


@dataclass(slots=True)
class Answer:
    """A container's answer. Header names are in lower case; values are as they came."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""

    def header(self, name: bytes) -> bytes | None:
        for key, value in self.headers:
            if key == name:
                return value
        return None


class HttpConnection(asyncio.Protocol):
    """One connection, which does one exchange at a time. httptools calls the ``on_`` methods.

    It is made on the running event loop. All times are in seconds.
    """

    def __init__(self) -> None:
        self.idle_since = 0.0
        self.closed = False
        self.reusable = False
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._readable = select.poll()
        self._parser = httptools.HttpResponseParser(self)
        self._deadline = Alarm(self._ran_out)
        self._timeout = 0.0
        self._waiter: asyncio.Future[None] | None = None
        self._failure: Exception | None = None
        self._full: asyncio.Future[None] | None = None  # until what is sent is received
        self._parts: deque[bytes] = deque()
        self._begin(0, streaming=False)

    def _begin(self, max_body: int, streaming: bool) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        self._parts.clear()
        self._buffered = 0
        self._pending = 0  # bytes that have come since the head or a piece of the body was complete
        self._max_body = max_body
        self._streaming = streaming
        self._head_done = self._done = self.reusable = self._paused = False

    def is_quiet(self) -> bool:
        """Whether nothing has come since the last answer: no more of it, and no end of the connection."""
        return not self._readable.poll(0)

    # The exchange

    def send(
        self, head: bytes, body: bytes, max_body: int, timeout: float, streaming: bool = False
    ) -> asyncio.Future[None]:
        """Send a request, whose whole answer has to come within ``timeout``.

        What it returns is done when ``answer`` is there; if ``streaming``, when ``head`` is.
        """
        self._begin(max_body, streaming)
        self._timeout = timeout
        self._deadline.set(self._loop.time() + timeout)
        # One write for small bodies, so that they travel in one segment with the head.
        if len(body) < 65536:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)
        return self._progress()

    async def send_chunks(self, chunks: AsyncGenerator[bytes, None]) -> None:
        """Send the body of a request whose head, with chunked encoding, is sent: only as fast as it is received."""
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                if self.closed:
                    return
                if chunk:
                    self._transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                if self._full is not None:
                    await self._full
        if not self.closed:
            self._transport.write(b"0\r\n\r\n")

    def head(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        """The status and the headers."""
        return self._parser.get_status_code(), self._headers

    def answer(self) -> Answer:
        """All of it."""
        parts = self._parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        return Answer(self._parser.get_status_code(), self._headers, body)

    async def part(self) -> bytes | None:
        """The next part of a streamed body; None at its end."""
        while not self._parts:
            if self._done:
                return None
            await self._progress()
        chunk = self._parts.popleft()
        self._buffered -= len(chunk)
        if self._paused and self._buffered < STREAM_BUFFER_BYTES and not self.closed:
            self._paused = False
            self._transport.resume_reading()
        return chunk

    def _progress(self) -> asyncio.Future[None]:
        if self._failure is not None:
            raise self._failure
        waiter = self._waiter = self._loop.create_future()
        return waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _ran_out(self) -> None:
        if not self._done:
            self._fail(ContainerTimeout(f"no answer within {self._timeout:.3g} s"))

    def _fail(self, failure: Exception) -> None:
        self._failure = self._failure or failure
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(self._failure)
        self.close()

    def close(self) -> None:
        self.closed = True
        self._deadline.close()
        self._transport.abort()

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._descriptor = transport.get_extra_info("socket").fileno()
        self._readable.register(self._descriptor, select.POLLIN)

    def pause_writing(self) -> None:
        self._full = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._full is not None and not self._full.done():
            self._full.set_result(None)
        self._full = None

    def data_received(self, data: bytes) -> None:
        if self._done:
            self._distrust()
            return
        self._pending += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserUpgrade, httptools.HttpParserError) as error:
            if self._done:
                self._distrust()
            elif isinstance(error, httptools.HttpParserUpgrade):
                self._fail(ContainerError("the container answered with a protocol upgrade"))
            else:
                self._fail(ContainerError(f"the container's answer is not HTTP: {error}"))
        if self._pending > HEAD_BYTES and not self._done:
            self._fail(ContainerError(f"the head of the container's answer is over {HEAD_BYTES} bytes"))

    def _distrust(self) -> None:
        """Data came that no request is waiting for. It is discarded, and the connection is not used again."""
        self.reusable = False
        self.close()

    def _is_framed(self) -> bool:
        """Whether the answer says where its body ends."""
        return any(name in (b"content-length", b"transfer-encoding") for name, _ in self._headers)

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        self.resume_writing()
        self._deadline.close()
        if error is not None:
            self._receive_rest()
        if self._done or self._failure is not None:
            return
        if self._head_done and not self._is_framed() and error is None:
            self._finish()  # without a length, the end of the connection is the end of the body
        elif self._head_done:
            self._fail(AnswerBrokenOff(self._parser.get_status_code()))
        else:
            self._fail(ContainerUnreachable("the container closed the connection without an answer"))

    def _receive_rest(self) -> None:
        """Take what has come: a container may answer before it has all of a body, and what failed is our sending."""
        with contextlib.suppress(OSError):
            while not self._done and (data := os.read(self._descriptor, STREAM_BUFFER_BYTES)):
                self.data_received(data)

    # httptools

    def on_message_begin(self) -> None:
        if self._done:
            raise httptools.HttpParserError("a second answer to one request")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_done:  # a trailer, which is no header of the answer [RFC 9110, 6.5.1]
            return
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 100:
            self._fail(ContainerError(f"the container's answer is not HTTP: its status is {status:03}"))
        if status >= 200:
            self._head_done = True
            self._pending = 0
            if self._streaming:
                self._wake()

    def on_body(self, chunk: bytes) -> None:
        if not self._head_done:  # of an informational answer, which has none [RFC 9110, 15.2]
            return
        self._pending = 0
        self._parts.append(chunk)
        self._buffered += len(chunk)
        if self._streaming:
            if self._buffered > STREAM_BUFFER_BYTES and not self._paused and not self.closed:
                self._paused = True
                self._transport.pause_reading()
            self._wake()
        elif self._buffered > self._max_body:
            self._fail(AnswerTooLong(self._parser.get_status_code()))

    def on_message_complete(self) -> None:
        if not self._head_done:  # 100 Continue and its like come before the answer
            self._headers = []
            return
        # After an answer that did not wait for all of the body, nobody knows whether the rest is ever read.
        self.reusable = self._parser.should_keep_alive() and not self._transport.get_write_buffer_size()
        self._finish()

    def _finish(self) -> None:
        self._done = True
        self._wake()
