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

from emulator.containers.pool import Pool
from emulator.errors import ContainerNotReached, ContainerUnreachable


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
