"""A caller's connection: uvicorn's HTTP/1.1, and an answer to everything that is not HTTP.

uvicorn refuses in plain text and ahead of the answers that it still owes, gives up a request that breaks off without an
answer, and loses what comes behind a request to switch to another protocol. Here a refused request takes its turn like
any other, and the application refuses it in the form of the service that it is for.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Coroutine
from itertools import chain
from typing import Any, Protocol

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from emulator import relied_on
from emulator.alarm import Alarm
from emulator.aws.asgi import ConnectionCut, HeadersByName, Receive, Response, Scope, Send
from emulator.aws.errors import AwsError
from emulator.gateway.refusals import ENDING, TOO_LONG, not_http
from emulator.gateway.response_headers import safe_lines
from emulator.server.plain_call import PlainCall

# [ours] The most of a request line and its headers, and of all else that is not data (trailers, extensions of chunks).
# S3's limit for headers is 8 KB; credentials of other services alone may be longer.
HEAD_BYTES = 64 * 1024
# [ours] How long a connection is read on after a refusal. If it were closed while its caller still sends, it would be
# reset, and the answer lost with it.
LINGER_SECONDS = 2.0
# [ours] The longest body that is waited for before it is decided how a request is served: boto3, for one, sends head
# and body apart. What is longer is passed on as it comes.
HELD_BYTES = 64 * 1024
# Headers of requests that HTTP itself has more to do with than to pass them on.
NOT_PLAIN = frozenset({b"expect", b"transfer-encoding", b"upgrade"})
CYCLE = "localmme.cycle"  # where in a scope uvicorn's state of the request is
DISCONNECTED = {"type": "http.disconnect"}

log = logging.getLogger("localmme")
relied_on.check(__name__)
logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)  # the emulator says itself what there is to say


class Application(Protocol):
    """An ASGI application that can also refuse what comes to no service."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...

    def plain_invocation(
        self, target: bytes, headers: HeadersByName, body: bytes, address: str
    ) -> Coroutine[Any, Any, Response | None] | None:
        """The response to a POST that needs no ASGI; None if it is for ``__call__``. Its headers are not safe yet.

        None of the request's headers is there twice.
        """

    async def refuse(self, scope: Scope, send: Send, refusal: AwsError) -> None:
        """Answer so, in the form of the service that the request is for, as far as its head has come."""


class _Refused(Exception):
    """A head that httptools accepts, and the emulator does not."""

    def __init__(self, refusal: AwsError) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class Connection(HttpToolsProtocol):
    """Requests one after the other, answered in order. httptools calls the ``on_`` methods."""

    def __init__(self, config: Config, state: ServerState) -> None:
        super().__init__(config, state, {})
        self._application: Application = self.app
        self.app = self._serve
        self._in_head = False
        self._held: bytes | None = None  # the body of a POST, until what else has come with it is known
        self._held_headers: HeadersByName = {}
        self._is_held_whole = False
        self._pending = 0  # bytes that have come since a head or a piece of a body was complete
        self._is_switching = False  # the head that is coming asks for another protocol
        self._refusal: AwsError | None = None  # of the request that is the last: nothing that comes is looked at
        self._is_broken_off = False  # the last request, whose body will not come as a whole
        self._is_half_closed = False
        self._is_lingering = False
        self._drained = asyncio.Event()  # the caller sends no more
        self._unused = Alarm(self._close_unused)
        self._serving: tuple[asyncio.Task[Any], RequestResponseCycle] | tuple[PlainCall, PlainCall] | None = None

    # What comes

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._address = str(self.server[0]) if self.server else ""
        self._unused.set(self.loop.time() + self.timeout_keep_alive)

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None or self._is_lingering:
            return
        self._pending += len(data)
        try:
            while data:
                try:
                    self.parser.feed_data(data)
                    break
                except httptools.HttpParserUpgrade as upgrade:
                    data = self._head_without_upgrade() + data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            self._refuse(_refusal_for(error))
            return
        if self._pending > HEAD_BYTES:
            self._refuse(TOO_LONG)
        elif self._held is not None and self._is_held_whole:
            self._take_held(self._held)

    def eof_received(self) -> bool:  # type: ignore[override]
        """The caller sends no more; what it has sent is answered. Whether the connection stays open."""
        self._drained.set()
        if self._refusal is None and not self._is_half_closed:
            self._is_half_closed = True
            if self._held is not None:
                self._begin_held()
            if self._in_head:
                self._refuse(not_http("It ended in its head"))
            elif self.cycle is not None and self.cycle.more_body:
                self._break_off()
        return self._is_busy()

    def connection_lost(self, exc: Exception | None) -> None:
        self._drained.set()
        self._held = None
        self._unused.close()
        super().connection_lost(exc)
        if self._serving is not None:
            task, cycle = self._serving
            if not cycle.response_complete:
                cycle.disconnected = True
                task.cancel()

    def shutdown(self) -> None:
        if self._held is not None:
            self._begin_held()  # for an answer that says so
        super().shutdown()

    # What is made of it

    def on_message_begin(self) -> None:
        if self._held is not None:
            self._begin_held()
        self._in_head = True
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        headers = dict(self.headers)
        is_plain = self._may_be_plain(headers)
        if not is_plain:
            self._check_head()
            if self.parser.should_upgrade():
                self._is_switching = True
                return
        self._in_head = False
        self._pending = 0
        if is_plain:
            self._held, self._held_headers, self._is_held_whole = b"", headers, False
        else:
            self._begin()

    def _may_be_plain(self, headers: HeadersByName) -> bool:
        """Whether it may be answered without ASGI, which its body is still to show. ``_check_head`` lets it pass then.

        All is looked at that a head can be refused for, and what would make it a longer story.
        """
        return (
            self.parser.get_method() == b"POST"
            and self.url.startswith(b"/")
            and len(headers) == len(self.headers)
            and b"host" in headers
            and NOT_PLAIN.isdisjoint(headers)
            and int(headers.get(b"content-length", 0)) <= HELD_BYTES
            and self._pending <= HEAD_BYTES
            and self.parser.should_keep_alive()  # which only HTTP/1.1 is without a header that says so
            and (b"connection" not in headers or self.parser.get_http_version() == "1.1")
            and not self.flow.write_paused
            and not self._is_busy()
        )

    def _begin(self) -> None:
        """Hand a request whose head has come to uvicorn, and so to the application."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()  # which makes the scope
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)
        super().on_headers_complete()
        self.scope[CYCLE] = self.cycle  # type: ignore[literal-required]
        self.headers = []  # for trailers, which are no headers of the request [RFC 9110, 6.5.1]

    def _begin_held(self) -> None:
        body, self._held = self._held, None
        self._begin()
        if body:
            super().on_body(body)
        if self._is_held_whole:
            super().on_message_complete()

    def _take_held(self, body: bytes) -> None:
        """The held request is whole, and nothing has come behind it."""
        response = self._application.plain_invocation(self.url, self._held_headers, body, self._address)
        if response is None:
            self._begin_held()
            return
        self._held = None
        call = PlainCall(self.url, self.headers, response, self._answer_plainly)
        self.cycle, self._serving = call, (call, call)  # type: ignore[assignment]
        self.tasks.add(call)  # type: ignore[arg-type]
        call.run()

    def on_body(self, body: bytes) -> None:
        self._pending = 0
        if self._held is None:
            super().on_body(body)
        else:
            self._held += body

    def on_message_complete(self) -> None:
        if self._held is not None:
            self._is_held_whole = True
        elif not self._is_switching:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._is_half_closed or self._is_broken_off:
            self._linger()
        else:
            self._unused.set(self.loop.time() + self.timeout_keep_alive)

    def _check_head(self) -> None:
        """Raises _Refused for what httptools lets pass, and HttpParserError."""
        # It is no longer than what has come; to count it each time would take longer than the rest of this.
        if self._pending > HEAD_BYTES and len(self.url) + sum(map(len, chain.from_iterable(self.headers))) > HEAD_BYTES:
            raise _Refused(TOO_LONG)
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1"):
            raise _Refused(not_http(f"It is HTTP/{version}, and only HTTP/1.0 and HTTP/1.1 are served"))
        if self.parser.get_method() == b"CONNECT":
            raise _Refused(not_http("CONNECT is for proxies"))
        if not self.url.startswith(b"/") and httptools.parse_url(self.url).path is None:
            raise _Refused(not_http("Its target has no path"))
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) > 1 or (not hosts and version == "1.1"):  # [RFC 9112, 3.2]
            raise _Refused(not_http(f"It has {len(hosts) or 'no'} Host headers, not exactly one"))
        # A whole URL, as proxies are sent: its host is the one that counts, and has to be the same. [RFC 9112, 3.2.2]
        if self.url[:1] not in b"/*" and [_authority(self.url)] != [host.lower() for host in hosts]:
            raise _Refused(not_http("Its target and its Host header name different hosts"))
        if version == "1.1":  # [RFC 9110, 10.1.1]
            self.expect_100_continue = any(
                name == b"expect" and value.lower() == b"100-continue" for name, value in self.headers
            )

    def _head_without_upgrade(self) -> bytes:
        """A request to switch to another protocol may be passed over. [RFC 9110, 7.8]

        llhttp does not: for it, there is no body, and what follows is of the other protocol. So a new parser gets the
        head without that header.
        """
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%s: %s" % (name, value) for name, value in self.headers if name != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._is_switching = False
        return b"\r\n".join([*lines, b"", b""])

    def _refuse(self, refusal: AwsError) -> None:
        """Refuse the request that is coming, when it is its turn."""
        if self._held is not None:
            self._begin_held()
        self._refusal = refusal
        if not self._in_head and self.cycle is not None and self.cycle.more_body:
            self._break_off()  # in its body: its service knows what to say
            return
        if not self._in_head:
            self.on_message_begin()
        if not _has_path(self.url):
            self.url = b"/"
        self._in_head = False
        self._begin_refusal()

    def _begin_refusal(self) -> None:
        self.app, served = self._send_refusal, self.app
        self._begin()
        self.app = served
        super().on_message_complete()

    def _break_off(self) -> None:
        """The rest of a body will not arrive: its service may still answer, and then the connection ends."""
        self._is_broken_off = True
        self.cycle.message_event.set()
        if self.cycle.response_complete:
            self._linger()

    # What is answered

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        cycle: RequestResponseCycle = scope[CYCLE]
        task = asyncio.current_task()
        assert task is not None
        self._serving = task, cycle
        try:
            if cycle.more_body:
                receive, send = self._until_broken_off(receive), self._before_lingering(send, cycle)
            await self._application(scope, receive, send)
            if self._is_broken_off and not cycle.response_started:  # not every application has an answer to that
                self._refusal = self._refusal or not_http("Its body is incomplete")
                await self._send_refusal(scope, receive, send)
            elif not cycle.response_complete and self.flow.write_paused:
                self.transport.abort()  # its caller does not read what there is: to close it would wait for that
        except asyncio.CancelledError:  # by connection_lost, or by the end of the emulator
            if cycle.disconnected or cycle.response_started:
                self.transport.close()
            else:
                self._refusal = ENDING  # what is still sent of its body is not looked at either
                await self._send_refusal(scope, receive, send)
        except ConnectionCut:
            self.transport.close()
        except Exception:
            log.exception("%s %s failed inside the emulator", scope["method"], scope["path"])
            raise  # uvicorn answers 500

    def _answer_plainly(self, call: PlainCall, response: Response | None) -> None:
        self.tasks.discard(call)
        if call.disconnected:
            return
        if call.is_cut:
            self.transport.close()
            return
        if response is None:  # by the end of the emulator
            self._refusal = ENDING
            self.url, self.headers = call.target, call.headers
            self.cycle = None  # type: ignore[assignment]
            self._begin_refusal()
            return
        status, headers, body = response
        head = STATUS_LINE[status] + _default_lines(*self.server_state.default_headers) + safe_lines(headers)
        close = b"" if call.keep_alive else b"connection: close\r\n"
        self.transport.write(b"%bcontent-length: %d\r\n%b\r\n%b" % (head, len(body), close, body))
        call.response_complete = True
        if not call.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _until_broken_off(self, receive: Receive) -> Receive:
        """uvicorn's, which for a body that breaks off would wait for the connection to end."""
        is_broken_off = False

        async def receive_or_break_off() -> Any:
            nonlocal is_broken_off
            if not is_broken_off:
                message = await receive()
                is_broken_off = self._is_broken_off and message.get("more_body", False)
                if not is_broken_off:
                    return message
            return DISCONNECTED

        return receive_or_break_off

    def _before_lingering(self, send: Send, cycle: RequestResponseCycle) -> Send:
        """uvicorn's, which would close the connection behind its last response while its caller still sends."""

        async def send_before_lingering(message: Any) -> None:
            is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
            if is_last and cycle.more_body and not cycle.keep_alive and not cycle.chunked_encoding:
                await send({**message, "more_body": True})
                await self._until_drained()
            else:
                await send(message)

        return send_before_lingering

    async def _send_refusal(self, scope: Scope, receive: Receive, send: Send) -> None:
        """All of the answer at once; uvicorn, which misses its end, closes the connection behind it."""
        assert self._refusal is not None

        async def send_without_end(message: Any) -> None:
            await send({**message, "more_body": True})

        await self._application.refuse(scope, send_without_end, self._refusal)
        await self._until_drained()

    async def _until_drained(self) -> None:
        """Linger, for LINGER_SECONDS at most, also if the end of the emulator cancels it meanwhile."""
        self._linger()
        while not self._drained.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self._drained.wait()

    def _linger(self) -> None:
        """Everything has been answered. What the caller still sends is read and ignored."""
        if self._drained.is_set() or self.transport.is_closing():
            self.transport.close()
            return
        self._is_lingering = True
        self.transport.write_eof()
        self.flow.resume_reading()
        self._unused.clear()
        self.timeout_keep_alive_task = self.loop.call_later(LINGER_SECONDS, self._stop_lingering)

    def _stop_lingering(self) -> None:
        self._drained.set()
        self.transport.close()

    def _close_unused(self) -> None:
        """It has had no request for as long as one is waited for, unless one has come meanwhile."""
        if self._held is None and not self._is_busy():
            self.timeout_keep_alive_handler()

    def _is_busy(self) -> bool:
        return bool(self.pipeline) or (self.cycle is not None and not self.cycle.response_complete)


def configured(application: Application, keep_alive_seconds: float) -> Config:
    """uvicorn's configuration of the connections to an application. An unused one is closed after that time."""
    config = Config(
        application,
        http=Connection,
        interface="asgi3",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_keep_alive=keep_alive_seconds,  # type: ignore[arg-type]
    )
    config.load()
    return config


@functools.lru_cache(1)
def _default_lines(*headers: tuple[bytes, bytes]) -> bytes:
    """Headers that stay the same for a second."""
    return safe_lines(headers)


def _authority(url: bytes) -> bytes:
    return url.partition(b"://")[2].partition(b"/")[0].partition(b"?")[0].lower()


def _has_path(url: bytes) -> bool:
    try:
        return httptools.parse_url(url).path is not None
    except httptools.HttpParserInvalidURLError:
        return False


def _refusal_for(error: httptools.HttpParserError) -> AwsError:
    reason = error.__context__ if isinstance(error, httptools.HttpParserCallbackError) else error
    if isinstance(reason, _Refused):
        return reason.refusal
    return not_http(str(reason).rstrip(".") if isinstance(reason, httptools.HttpParserError) else "Its head is invalid")
