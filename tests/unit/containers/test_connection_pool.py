"""The client that speaks to containers, where a container on its way down cannot be made to behave so on purpose."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import struct
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

import pytest
import uvloop

from emulator.containers.connection_pool import ConnectionPool
from emulator.containers.contract import ContainerContract
from emulator.containers.http_connection import HEAD_BYTES, STREAM_BUFFER_BYTES, Answer, HttpConnection
from emulator.errors import ContainerError, ContainerNotReached, ContainerUnreachable, TooManyOpenFiles
from emulator.limits import Limits
from tests.support.waiting import turns, until


@pytest.fixture
def hanging_up() -> Iterator[int]:
    """The port of a server that resets each connection as soon as it has accepted it."""

    def hang_up() -> None:
        with contextlib.suppress(OSError):  # the listener is shut down
            while True:
                connection, _ = listener.accept()
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()

    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        server = threading.Thread(target=hang_up)
        server.start()
        yield int(listener.getsockname()[1])
        with contextlib.suppress(OSError):  # macOS: it is not connected
            listener.shutdown(socket.SHUT_RDWR)
    server.join(10)


def test_a_connection_that_is_lost_at_once_is_a_container_that_is_not_reached(hanging_up: int) -> None:
    """At whichever moment it is lost: before the connection is handed out, or once the request is on its way."""
    outcomes: Counter[type[BaseException]] = Counter()

    async def ask(pool: ConnectionPool) -> None:
        try:
            await pool.request(b"GET /ping HTTP/1.1\r\n\r\n", b"", 10, 1000)
        except Exception as error:
            outcomes[type(error)] += 1

    async def ask_often() -> None:
        pool = ConnectionPool("127.0.0.1", hanging_up, 10)
        for _ in range(50):
            await asyncio.gather(*(ask(pool) for _ in range(20)))

    uvloop.run(ask_often())
    assert outcomes.total() == 1000
    assert set(outcomes) <= {ContainerNotReached, ContainerUnreachable}, outcomes


def test_a_stream_whose_reader_is_slow_breaks_off_with_its_container() -> None:
    """What has come is still read; that the container has gone is told then."""

    async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + bytes(8 * STREAM_BUFFER_BYTES))
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    async def read_slowly() -> int:
        server = await asyncio.start_server(send, "127.0.0.1", 0)
        pool = ConnectionPool("127.0.0.1", server.sockets[0].getsockname()[1], 10)
        answer = await pool.stream(b"GET / HTTP/1.1\r\n\r\n", b"", 10)
        await turns(300)  # until no more is read from the socket
        pool.close()
        await turns()
        size = 0
        with answer.closing, pytest.raises(ContainerUnreachable):
            async for chunk in answer.chunks:
                size += len(chunk)
        server.close()
        return size

    assert uvloop.run(read_slowly()) > STREAM_BUFFER_BYTES


@pytest.mark.parametrize("status, body", [(200, b"{}"), (200, b""), (200, b'{"models": []}'), (404, b'{"models": []}')])
def test_a_health_check_looks_at_the_status_of_the_list_only(status: int, body: bytes) -> None:
    """AWS's TensorFlow Serving container answers with an empty object, and gets InService."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %d Status\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))
        writer.close()

    async def check() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            contract = ContainerContract("127.0.0.1", server.sockets[0].getsockname()[1], Limits())
            await contract.check_list()

    if status == 200:
        uvloop.run(check())
    else:
        with pytest.raises(ContainerError, match="GET /models answered 404"):
            uvloop.run(check())


@pytest.mark.parametrize(
    "answer, problem",
    [
        (b"HTTP/1.1 500 Status\r\nContent-Length: 4\r\n\r\nbusy", "GET /ping answered 500 busy"),
        (b"", "no answer within 0.05 s"),
    ],
    ids=["500", "hangs"],
)
def test_a_ping_says_what_is_wrong(answer: bytes, problem: str) -> None:
    async def ping() -> None:
        over = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await over.wait()
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            limits = Limits() if answer else Limits(ping_seconds=0.05)
            try:
                await ContainerContract("127.0.0.1", port, limits).ping()
            finally:
                over.set()

    with pytest.raises(ContainerError, match=problem):
        uvloop.run(ping())


class Answers:
    """A server that answers each request with the next of these bytes, and counts its connections."""

    def __init__(self, *answers: bytes, later: bytes = b"") -> None:
        """``later`` comes on the connection when the answer has been read."""
        self._answers = list(answers)
        self._later = later
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while self._answers:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answers.pop(0))
                if self._later:
                    await asyncio.sleep(0.05)
                    writer.write(self._later)
        writer.close()

    def ask(self, times: int = 2) -> list[Answer]:
        async def ask() -> list[Answer]:
            server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
            pool = ConnectionPool("127.0.0.1", server.sockets[0].getsockname()[1], 10)
            answers = []
            for _ in range(times):
                answers.append(await pool.request(b"GET / HTTP/1.1\r\n\r\n", b"", 10, 1000))
            pool.close()
            server.close()
            return answers

        return uvloop.run(ask())


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def test_a_connection_takes_one_exchange_after_the_other() -> None:
    server = Answers(ok(b"first"), ok(b"second"), ok(b""))
    assert [answer.body for answer in server.ask(3)] == [b"first", b"second", b""]
    assert server.connections == 1


@pytest.mark.parametrize(
    "behind",
    [ok(b"poisoned"), b"poisoned", b"HTTP/1.1 500 No\r\n", b"\x00", b"\r\n\r\n" + ok(b"poisoned"), ok(b"a") * 5],
)
def test_what_comes_behind_an_answer_is_nobodys(behind: bytes) -> None:
    in_chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n\r\n"
    without = b"HTTP/1.1 204 No Content\r\nContent-Length: 8\r\n\r\n"
    for first, body in ((ok(b"first"), b"first"), (in_chunks, b"first"), (without, b"")):
        server = Answers(first + behind, ok(b"second"))
        assert [answer.body for answer in server.ask()] == [body, b"second"]
        assert server.connections == 2


def test_what_comes_while_nobody_asks_is_nobodys() -> None:
    """Also if the event loop has not seen it yet when the connection is to be used again."""
    server = Answers(ok(b"first"), ok(b"second"), later=ok(b"poisoned"))

    async def ask() -> list[bytes]:
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        pool = ConnectionPool("127.0.0.1", listening.sockets[0].getsockname()[1], 10)
        first = await pool.request(b"GET / HTTP/1.1\r\n\r\n", b"", 10, 1000)
        await asyncio.sleep(0.2)
        second = await pool.request(b"GET / HTTP/1.1\r\n\r\n", b"", 10, 1000)
        listening.close()
        pool.close()
        return [first.body, second.body]

    assert uvloop.run(ask()) == [b"first", b"second"]
    assert server.connections == 2


def test_what_has_come_unseen_before_the_next_request_is_nobodys() -> None:
    """From a server in another thread, while the event loop that would read it is held up."""
    sent = threading.Event()

    def serve() -> None:
        first, _ = listener.accept()
        first.recv(1000)
        first.sendall(ok(b"first"))
        asked.wait(60)
        first.sendall(ok(b"poisoned"))
        sent.set()
        second, _ = listener.accept()
        second.recv(1000)
        second.sendall(ok(b"second"))
        first.close()
        second.close()

    async def ask(port: int) -> list[bytes]:
        pool = ConnectionPool("127.0.0.1", port, 10)
        first = await pool.request(b"GET / HTTP/1.1\r\n\r\n", b"", 10, 1000)
        asked.set()
        assert sent.wait(60)
        second = await pool.request(b"GET / HTTP/1.1\r\n\r\n", b"", 10, 1000)
        pool.close()
        return [first.body, second.body]

    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve)
        server.start()
        assert uvloop.run(ask(listener.getsockname()[1])) == [b"first", b"second"]
    server.join(10)


def test_what_is_told_before_an_answer_is_passed_over() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"
    [answer] = Answers(b"HTTP/1.1 100 Continue\r\n\r\n" + early + ok(b"first")).ask(1)
    assert (answer.status, answer.body, answer.header(b"link")) == (200, b"first", None)


def test_trailers_are_no_headers_of_the_answer() -> None:
    trailers = b"Content-Type: text/html\r\nX-Amzn-SageMaker-Custom-Attributes: late\r\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    [answer] = Answers(head + b"2\r\nok\r\n0\r\n" + trailers + b"\r\n").ask(1)
    assert answer.headers == [(b"content-type", b"text/plain"), (b"transfer-encoding", b"chunked")]


@pytest.mark.parametrize(
    "start, endless",
    [
        (b"HTTP/1.1 200 ", b"x"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"X: x\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nX: x\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=", b"x"),
    ],
    ids=["reason", "header", "headers", "early hints", "trailer", "chunk extension"],
)
def test_a_head_without_an_end_is_no_answer(start: bytes, endless: bytes) -> None:
    with pytest.raises(ContainerError, match=f"over {HEAD_BYTES} bytes"):
        Answers(start + endless * (10 * HEAD_BYTES // len(endless))).ask(1)


@pytest.mark.parametrize("status", [b"000", b"099", b"7", b"1000", b"OK"])
def test_an_invalid_status_is_no_answer(status: bytes) -> None:
    with pytest.raises(ContainerError, match="not HTTP"):
        Answers(b"HTTP/1.1 %s No\r\nContent-Length: 2\r\n\r\nno" % status).ask(1)


@pytest.mark.parametrize("size", [1, 100_000, 10_000_000])
def test_an_answer_counts_though_its_container_resets_the_connection_before_it_has_the_body(size: int) -> None:
    """Sending finds the end of the connection, before the answer on it has been read."""

    async def ask() -> Answer:
        connection: HttpConnection
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
            _, connection = await asyncio.get_running_loop().create_connection(HttpConnection, *address)
            container, _ = listener.accept()
            container.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 8\r\n\r\ntoo long")
            container.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            container.close()
        await connection.send(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size, bytes(size), 1000, 10)
        return connection.answer()

    answer = uvloop.run(ask())
    assert (answer.status, answer.body) == (413, b"too long")


def test_a_connection_whose_request_was_not_read_to_its_end_is_not_used_again() -> None:
    connections: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        connections.append(writer)
        writer.write(ok(b"early"))

    async def ask() -> None:
        listening = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1000)  # no more than twice that is read
        pool = ConnectionPool("127.0.0.1", listening.sockets[0].getsockname()[1], 10)
        for _ in range(2):
            answer = await pool.request(
                b"POST / HTTP/1.1\r\nContent-Length: 50000000\r\n\r\n", bytes(50_000_000), 10, 9
            )
            assert answer.body == b"early"
        pool.close()
        for writer in connections:
            writer.close()
        listening.close()

    uvloop.run(ask())
    assert len(connections) == 2


def test_that_no_more_connections_may_be_open_is_said(hanging_up: int) -> None:
    async def ask() -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        pool = ConnectionPool("127.0.0.1", hanging_up, 10)
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            await pool.request(b"GET / HTTP/1.1\r\n\r\n", b"", 10, 1000)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    with pytest.raises(TooManyOpenFiles, match="ulimit -n is"):
        uvloop.run(ask())


CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"


async def read_chunks(reader: asyncio.StreamReader) -> int:
    """How many bytes a chunked body has."""
    total = 0
    while size := int(await reader.readline(), 16):
        total += len(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readexactly(2)
    return total


async def blocks(count: int, sent: list[bytes], failure: Exception | None = None) -> AsyncGenerator[bytes, None]:
    for _ in range(count):
        sent.append(bytes(1 << 20))
        yield sent[-1]
        yield b""
    if failure is not None:
        raise failure


def in_chunks(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    requests: Callable[[ConnectionPool], Awaitable[None]],
) -> None:
    async def scenario() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        pool = ConnectionPool("127.0.0.1", server.sockets[0].getsockname()[1], 10)
        await requests(pool)
        pool.close()
        server.close()

    uvloop.run(scenario())


def test_a_body_of_unknown_length_is_sent_in_chunks_and_the_connection_is_used_again() -> None:
    connections = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while await reader.readuntil(b"\r\n\r\n"):
                body = str(await read_chunks(reader)).encode()
                writer.write(OK % (len(body), body))
        writer.close()

    async def requests(pool: ConnectionPool) -> None:
        for size in (8, 0):
            answer = await pool.request_in_chunks(CHUNKED, blocks(size, []), 60, 1000)
            assert (answer.status, answer.body) == (200, str(size << 20).encode())

    in_chunks(count, requests)
    assert connections == 1


def test_chunks_are_made_only_as_fast_as_they_are_received_until_there_is_an_answer() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")

    sent: list[bytes] = []

    async def requests(pool: ConnectionPool) -> None:
        answer = await pool.request_in_chunks(CHUNKED, blocks(1 << 20, sent), 60, 1000)
        assert answer.status == 413
        assert pool._idle == []

    in_chunks(refuse, requests)
    assert len(sent) < 64


def test_what_fails_while_chunks_are_made_is_raised_and_ends_the_connection() -> None:
    ended: list[bool] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read(-1)
        ended.append(True)
        writer.close()

    async def requests(pool: ConnectionPool) -> None:
        with pytest.raises(ValueError, match="broken"):
            await pool.request_in_chunks(CHUNKED, blocks(1, [], ValueError("broken")), 60, 1000)
        await until(lambda: ended)

    in_chunks(listen, requests)


def test_a_container_that_ends_while_it_receives_chunks_is_unreachable() -> None:
    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    async def requests(pool: ConnectionPool) -> None:
        with pytest.raises(ContainerUnreachable):
            await pool.request_in_chunks(CHUNKED, blocks(1 << 20, []), 60, 1000)

    in_chunks(end, requests)
