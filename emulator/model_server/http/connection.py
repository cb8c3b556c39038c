"""HTTP/1.1 on one connection: reads requests, and sends their responses in order."""

from __future__ import annotations

import asyncio
import http
import logging
import re
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httptools

from emulator.model_server.http.response import BrokenStream, RequestError, Response, bad_request

_log = logging.getLogger(__name__)
_PHRASES = {status.value: status.phrase for status in http.HTTPStatus}
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # a handler may set headers, which must not contain line breaks
_WITHOUT_LENGTH = (204, 304)  # statuses that never have a body


@dataclass(slots=True)
class Request:
    """A request. Header names are in the case in which the caller sent them; ``path`` is still percent-encoded."""

    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes
    keep_alive: bool
    chunked: bool  # whether the caller supports chunked responses: HTTP/1.1 and later


class Connection(asyncio.Protocol):
    """One connection. ``closed`` is done when it is closed."""

    def __init__(self, respond: Callable[[Request], Awaitable[Response]], max_body: int) -> None:
        """``respond`` must not raise. A request body over ``max_body`` bytes is refused."""
        self._loop = asyncio.get_running_loop()
        self._respond, self._max_body = respond, max_body
        self._parser = httptools.HttpRequestParser(self)
        self._requests: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._transport: Any = None  # until the connection is made, which is later than it is accepted
        self._finishing = self._paused = False
        self._writable = asyncio.Event()
        self._writable.set()
        self.closed: asyncio.Future[None] = self._loop.create_future()

    def finish(self) -> None:
        """Close once the response under way has been sent; at once if there is none."""
        self._finishing = True
        if self._task is None and self._transport is not None:
            self._transport.close()

    # Called by the transport.

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        if self._finishing:
            transport.close()

    def data_received(self, data: bytes) -> None:
        if self._transport.is_closing():
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # the request has been read; the offered upgrade is ignored
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, RequestError) else bad_request(f"Not HTTP: {error}"))

    def connection_lost(self, error: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()
        self._writable.set()
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # Called by the parser.

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._body_length = 0

    def on_url(self, piece: bytes) -> None:
        self._url += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        headers = {name.lower(): value for name, value in self._headers}
        if int(headers.get("content-length", 0)) > self._max_body:
            raise _too_large(self._max_body)
        if headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, piece: bytes) -> None:
        self._body.append(piece)
        self._body_length += len(piece)
        if self._body_length > self._max_body:
            raise _too_large(self._max_body)

    def on_message_complete(self) -> None:
        path, _, query = self._url.decode("latin-1").partition("?")
        self._requests.append(
            Request(
                self._parser.get_method().decode(),
                path,
                query,
                self._headers,
                b"".join(self._body),
                self._parser.should_keep_alive(),
                self._parser.get_http_version() != "1.0",
            )
        )
        if self._task is None:
            self._next()
        elif not self._paused:
            self._paused = True  # the caller pipelines requests: it has to wait
            self._transport.pause_reading()

    # Responses.

    def _next(self) -> None:
        if self._finishing:
            self._task = None
            self._transport.close()
        elif self._requests:
            self._task = self._loop.create_task(self._handle(self._requests.popleft()))
        else:
            self._task = None
            if self._paused:
                self._paused = False
                self._transport.resume_reading()

    async def _handle(self, request: Request) -> None:
        try:
            response = await self._respond(request)
            keep_alive = request.keep_alive and not self._finishing
            if isinstance(response.body, bytes):
                self._transport.write(_whole(response, keep_alive, request.method == "HEAD"))
                await self._writable.wait()
            else:
                keep_alive = await self._send_stream(response, keep_alive, request.chunked)
        except Exception:
            _log.exception("%s %s got no response", request.method, request.path)
            keep_alive = False
        if not keep_alive:
            self._finishing = True
        self._next()

    async def _send_stream(self, response: Response, keep_alive: bool, chunked: bool) -> bool:
        """Send a body as it is produced. Returns whether the connection can be kept."""
        assert not isinstance(response.body, (bytes, Iterator))
        keep_alive = keep_alive and chunked  # without chunks, the body ends with the connection
        framing = [("Transfer-Encoding", "chunked")] if chunked else []
        self._transport.write(_head(response, keep_alive, framing))
        try:
            async for chunk in response.body:
                if not chunk:
                    continue  # an empty chunk would mean the end
                self._transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                await self._writable.wait()
        except BrokenStream as error:
            _log.error("A streamed response broke off: %s", error)
            return False  # the caller sees it by the missing last chunk
        finally:
            response.body.close()
        if chunked:
            self._transport.write(b"0\r\n\r\n")
        return keep_alive

    def _refuse(self, error: RequestError) -> None:
        """Send the error for an invalid or too large request, and stop reading."""
        self._finishing = True
        if self._task is None:
            self._transport.write(_whole(error.response(), keep_alive=False, head_only=False))
            self._transport.close()


def _whole(response: Response, keep_alive: bool, head_only: bool) -> bytes:
    assert isinstance(response.body, bytes)
    framing = [] if response.status in _WITHOUT_LENGTH else [("Content-Length", str(len(response.body)))]
    head = _head(response, keep_alive, framing)
    return head if head_only else head + response.body


def _head(response: Response, keep_alive: bool, framing: list[tuple[str, str]]) -> bytes:
    phrase = _CONTROLS.sub(" ", response.phrase or "") or _PHRASES.get(response.status, "")
    lines = [f"HTTP/1.1 {response.status} {phrase}"]
    lines += [_CONTROLS.sub(" ", f"{name}: {value}") for name, value in (*response.headers, *framing)]
    if not keep_alive:
        lines.append("Connection: close")
    return "\r\n".join((*lines, "\r\n")).encode("latin-1", "replace")


def _too_large(limit: int) -> RequestError:
    return RequestError(413, "RequestEntityTooLargeException", f"The request body is over the limit of {limit} bytes.")
