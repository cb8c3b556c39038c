"""Ranges of ports for containers do not overlap, though nobody listens there yet."""

from __future__ import annotations

import socket
from contextlib import ExitStack, closing

import pytest

from emulator.containers.process import ports
from emulator.containers.process.ports import RANGE, PortRange
from emulator.errors import SetupError

HOST = "127.0.0.1"


@pytest.fixture
def one_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are ports for one container only; where is left to chance, as others may use this machine."""
    with closing(PortRange.bind(HOST)) as taken:
        first = taken.port - 1
    monkeypatch.setattr(ports, "CONTAINER_PORTS", range(first, first + RANGE + 1))
    monkeypatch.setattr(ports, "TRIES", 1)


def test_ranges_do_not_overlap() -> None:
    with ExitStack() as stack:
        ranges = [stack.enter_context(closing(PortRange.bind(HOST))) for _ in range(200)]
    taken = [port for each in ranges for port in (each.port, *range(each.first_safe, each.last_safe + 1))]
    assert len(set(taken)) == len(taken) == 200 * RANGE


def test_a_container_can_listen_at_its_ports() -> None:
    with closing(PortRange.bind(HOST)) as mine, socket.create_server((HOST, mine.port)):
        socket.create_server((HOST, mine.last_safe)).close()


@pytest.mark.usefixtures("one_range")
def test_a_range_is_free_again_once_it_is_closed() -> None:
    with closing(PortRange.bind(HOST)), pytest.raises(SetupError, match="No port is free"):
        PortRange.bind(HOST)
    PortRange.bind(HOST).close()


@pytest.mark.usefixtures("one_range")
def test_a_range_is_not_free_while_somebody_listens_at_one_of_its_ports() -> None:
    with closing(PortRange.bind(HOST)) as mine:
        last = mine.last_safe
    with socket.create_server((HOST, last)), pytest.raises(SetupError, match="No port is free"):
        PortRange.bind(HOST)
