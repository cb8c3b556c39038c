"""The client that speaks to containers, where a container on its way down cannot be made to behave so on purpose."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator

import pytest
import uvloop

from emulator.containers.contract import ContainerContract
from emulator.containers.pool import STREAM_BUFFER_BYTES, Pool
from emulator.errors import ContainerError, ContainerNotReached, ContainerUnreachable
from emulator.limits import Limits


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

    async def ask(pool: Pool) -> None:
        try:
            await pool.request(b"GET /ping HTTP/1.1\r\n\r\n", b"", 10, 1000)
        except Exception as error:
            outcomes[type(error)] += 1

    async def ask_often() -> None:
        pool = Pool("127.0.0.1", hanging_up, 10)
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
        pool = Pool("127.0.0.1", server.sockets[0].getsockname()[1], 10)
        answer = await pool.stream(b"GET / HTTP/1.1\r\n\r\n", b"", 10)
        await asyncio.sleep(0.3)  # until no more is read from the socket
        pool.close()
        await asyncio.sleep(0.1)
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
