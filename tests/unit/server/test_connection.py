"""A caller's connection: what is served of it in which order, what is refused, and when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import pytest
import uvloop
from uvicorn.server import ServerState

from emulator.aws.asgi import ConnectionCut, HeadersByName, Receive, Response, Scope, Send
from emulator.aws.errors import AwsError
from emulator.aws.request import AwsRequest
from emulator.gateway.refusals import send_last
from emulator.server.connection import HEAD_BYTES, Connection, configured
from emulator.timeouts import in_time
from tests.support.waiting import turns

GET = b"GET /%s HTTP/1.1\r\nHost: here\r\n\r\n"


async def answer(send: Send, body: bytes, *more: tuple[bytes, bytes]) -> None:
    headers = [(b"content-length", b"%d" % len(body)), *more]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def whole(receive: Receive) -> bytes | None:
    """The body; None if it breaks off."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message["body"]
        if not message["more_body"]:
            return body


class Echo:
    """Answers with the path and the body. ``/slow`` takes its time; ``/never`` does not answer; ``/closes`` does before
    it has read the body, and ends the connection."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.cancelled: list[str] = []
        self.received = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if scope["path"] == "/closes":
            await answer(send, b"no more", (b"connection", b"close"))
            return
        body = await whole(receive) if scope["path"] != "/unread" else b""
        if body is None:
            await answer(send, b"broken off")
            return
        self.received += len(body)
        if scope["path"] == "/slow":
            await asyncio.sleep(0.05)
        if scope["path"] in ("/never", "/unread"):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.append(scope["path"])
                raise
        if scope["path"] == "/fails":
            raise ValueError("a fault of the application's own")
        if scope["path"] == "/cuts":
            raise ConnectionCut("by a test")
        await answer(send, scope["raw_path"] + b" " + body)

    def plain_invocation(
        self, target: bytes, headers: HeadersByName, body: bytes, address: str
    ) -> Coroutine[Any, Any, Response] | None:
        async def cut() -> Response:
            raise ConnectionCut("by a test")

        return cut() if target == b"/cuts" else None

    async def refuse(self, scope: Scope, send: Send, error: AwsError) -> None:
        await send_last(AwsRequest(scope), error, send)


class Running:
    """A server of one's own, and raw connections to it."""

    def __init__(self, application: Echo, state: ServerState, port: int) -> None:
        self.application, self.state, self.port = application, state, port

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def talk(self, data: bytes, half_close: bool = True) -> bytes:
        """All that is answered until the connection ends."""
        reader, writer = await self.connect()
        writer.write(data)
        if half_close:
            writer.write_eof()
        try:
            return await in_time(reader.read(), 20)
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def running(keep_alive: float = 60) -> AsyncIterator[Running]:
    echo, state = Echo(), ServerState()
    config = configured(echo, keep_alive)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(config, state), "127.0.0.1", 0)
    yield Running(echo, state, server.sockets[0].getsockname()[1])
    server.close()


def run(test: Callable[[Running], Awaitable[Any]], keep_alive: float = 60) -> Any:
    async def main() -> Any:
        async with running(keep_alive) as server:
            return await test(server)

    return uvloop.run(main())


def bodies(answers: bytes) -> list[bytes]:
    """Of answers one behind the other."""
    found = []
    while answers:
        head, _, rest = answers.partition(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        found.append(rest[:size])
        answers = rest[size:]
    return found


# In order


def test_requests_that_come_at_once_are_answered_in_their_order() -> None:
    data = GET % b"slow" + GET % b"b" + b"POST /c HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\nbody" + GET % b"d"
    assert bodies(run(lambda server: server.talk(data))) == [b"/slow ", b"/b ", b"/c body", b"/d "]


def test_many_requests_that_come_at_once_are_all_answered() -> None:
    data = b"".join(GET % b"%d" % number for number in range(5000))
    assert bodies(run(lambda server: server.talk(data))) == [b"/%d " % number for number in range(5000)]


def test_what_is_not_http_is_refused_behind_the_answers_that_are_owed() -> None:
    answers = run(lambda server: server.talk(GET % b"slow" + GET % b"b" + b"nonsense\r\n\r\n" + GET % b"c"))
    first, second, refusal = bodies(answers)
    assert (first, second) == (b"/slow ", b"/b ")
    assert refusal.startswith(b"An error occurred when parsing the HTTP request.")
    assert answers.count(b"HTTP/1.1 400 ") == 1
    assert answers.count(b"connection: close") == 1


def test_the_last_request_is_the_one_that_says_so() -> None:
    data = b"GET /a HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n" + GET % b"b"
    assert bodies(run(lambda server: server.talk(data, half_close=False))) == [b"/a "]


def test_a_line_that_is_empty_may_come_before_a_request() -> None:
    """[RFC 9112, 2.2]"""
    assert bodies(run(lambda server: server.talk(b"\r\n\r\n" + GET % b"a" + b"\r\n" + GET % b"b"))) == [b"/a ", b"/b "]


# Bodies


def test_a_body_that_breaks_off_is_told_to_the_application_which_may_still_answer() -> None:
    by_length = b"POST /a HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\nbody"
    in_chunks = b"POST /a HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n"
    for data in (by_length, in_chunks, in_chunks + b"nonsense\r\n"):
        assert bodies(run(lambda server, data=data: server.talk(data))) == [b"broken off"]


def test_a_body_is_asked_for_when_the_application_reads_it() -> None:
    async def ask(server: Running) -> bytes:
        reader, writer = await server.connect()
        writer.write(b"POST /a HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"body")
        writer.write_eof()
        return await reader.read()

    assert bodies(run(ask)) == [b"/a body"]


def test_no_more_is_read_than_the_application_takes() -> None:
    async def send(server: Running) -> int:
        _, writer = await server.connect()
        size = 0
        writer.write(b"POST /unread HTTP/1.1\r\nHost: here\r\nContent-Length: 1000000000\r\n\r\n")
        with contextlib.suppress(asyncio.TimeoutError):
            while size < 100_000_000:
                writer.write(bytes(100_000))
                size += 100_000
                await in_time(writer.drain(), 1)
        [connection] = server.state.connections
        assert len(connection.cycle.body) < 2_000_000  # type: ignore[union-attr]
        writer.transport.abort()
        return size

    assert run(send) < 50_000_000


def test_trailers_are_no_headers() -> None:
    data = (
        b"POST /a HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Amz-Target: me\r\n\r\n"
    )

    async def talk(server: Running) -> None:
        assert bodies(await server.talk(data + GET % b"b")) == [b"/a x", b"/b "]
        assert [name for name, _ in server.application.scopes[0]["headers"]] == [b"host", b"transfer-encoding"]

    run(talk)


@pytest.mark.parametrize(
    "start",
    [
        b"GET /",
        b"GET / HTTP/1.1\r\nHost: here\r\nX: ",
        b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
        b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n1;x=",
    ],
    ids=["path", "header", "trailer", "chunk extension"],
)
def test_what_is_no_data_has_a_limit(start: bytes) -> None:
    async def send(server: Running) -> bytes:
        reader, writer = await server.connect()
        writer.write(start)
        with contextlib.suppress(ConnectionError):
            for _ in range(20 * HEAD_BYTES // 1000):
                writer.write(b"x" * 1000)
                await writer.drain()
        return await in_time(reader.read(), 20)

    answers = run(send)
    assert b"maximum allowed size" in answers or bodies(answers) == [b"broken off"], answers


def test_a_head_that_comes_at_once_has_the_same_limit() -> None:
    head = b"GET / HTTP/1.1\r\nHost: here\r\nX: %s\r\n\r\n"
    assert bodies(run(lambda server: server.talk(head % (b"x" * (HEAD_BYTES - 20))))) == [b"/ "]
    assert b"maximum allowed size" in run(lambda server: server.talk(head % (b"x" * HEAD_BYTES)))


# Other protocols


def test_a_request_to_switch_to_another_protocol_is_served_without() -> None:
    """[RFC 9110, 7.8] Java's own client asks for HTTP/2 so, of requests with a body too."""
    upgrade = b"Host: here\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    data = b"POST /a HTTP/1.1\r\n" + upgrade + b"Content-Length: 4\r\n\r\nbody"
    data += b"POST /b HTTP/1.1\r\n" + upgrade + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
    data += b"GET /c HTTP/1.1\r\n" + upgrade.replace(b"h2c", b"websocket") + b"\r\n" + GET % b"d"
    assert bodies(run(lambda server: server.talk(data))) == [b"/a body", b"/b body", b"/c ", b"/d "]


# Ends


def test_a_connection_that_is_not_used_is_closed_after_a_while() -> None:
    async def wait(server: Running) -> None:
        unused, _ = await server.connect()
        started, writer = await server.connect()
        writer.write(b"GET / HTT")
        used, writer = await server.connect()
        writer.write(GET % b"a")
        slow, writer = await server.connect()
        writer.write(GET % b"never")
        assert await in_time(unused.read(), 20) == b""
        assert await in_time(started.read(), 20) == b""
        assert bodies(await in_time(used.read(), 20)) == [b"/a "]
        assert not slow.at_eof()

    run(wait, keep_alive=0.1)


def test_a_caller_that_goes_ends_what_it_waited_for() -> None:
    async def go(server: Running) -> list[str]:
        caller = socket.create_connection(("127.0.0.1", server.port))
        # So that closing it is a reset: without, it is a half-close as far as anybody can tell.
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        caller.sendall(GET % b"never" + GET % b"a")
        while not server.application.scopes:
            await asyncio.sleep(0.01)
        caller.close()
        while server.state.tasks or server.state.connections:
            await asyncio.sleep(0.01)
        assert len(server.application.scopes) == 1
        return server.application.cancelled

    assert run(go) == ["/never"]


def test_what_is_cut_off_by_the_end_of_the_emulator_is_told_so() -> None:
    async def end(server: Running) -> bytes:
        reader, writer = await server.connect()
        writer.write(GET % b"never")
        while not server.state.tasks:
            await asyncio.sleep(0.01)
        await turns()
        for task in server.state.tasks:
            task.cancel()
        return await reader.read()

    answers = run(end)
    assert answers.startswith(b"HTTP/1.1 503 ")
    assert bodies(answers) == [b"The emulator is ending.\n"]


def test_what_was_told_so_is_read_on_until_its_caller_ends_it() -> None:
    """If the connection were closed while its caller still sends, it would be reset, and the answer lost."""

    async def end_twice(server: Running) -> list[int]:
        reader, writer = await server.connect()
        writer.write(GET % b"never")
        while not server.state.tasks:
            await asyncio.sleep(0.01)
        open_ones = []
        for _ in range(2):
            await turns()
            for task in server.state.tasks:
                task.cancel()
            await reader.read()  # to the end of the answer
            await turns()
            open_ones.append(len(server.state.connections))
        writer.close()
        while server.state.connections or server.state.tasks:
            await asyncio.sleep(0.01)
        return open_ones

    assert run(end_twice) == [1, 1]


def test_a_caller_that_still_sends_gets_the_answer_that_ends_its_connection() -> None:
    async def send(server: Running) -> bytes:
        reader, writer = await server.connect()
        writer.write(b"PUT /closes HTTP/1.1\r\nHost: here\r\nContent-Length: 4000000\r\n\r\n" + bytes(1_000_000))
        received = await in_time(reader.read(), 20)
        writer.write(bytes(3_000_000))
        await in_time(writer.drain(), 20)
        writer.close()
        while server.state.connections or server.state.tasks:
            await asyncio.sleep(0.01)
        return received

    assert bodies(run(send)) == [b"no more"]


def test_a_fault_of_the_application_is_an_answer_and_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    assert run(lambda server: server.talk(GET % b"fails")).startswith(b"HTTP/1.1 500 ")
    assert [record.message for record in caplog.records] == ["GET /fails failed inside the emulator"]


@pytest.mark.parametrize("method", ["GET", "POST"])  # by ASGI, and without it
def test_a_connection_that_is_cut_has_no_answer_and_no_line_in_the_log(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    request = f"{method} /cuts HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\n\r\n".encode()
    assert run(lambda server: server.talk(request, half_close=False)) == b""
    assert not caplog.records
