"""Ports for containers that are processes of this machine."""

from __future__ import annotations

import random
import socket

import pytest

from emulator.containers.process import ports
from emulator.containers.process.ports import CONTAINER_PORTS, find_free_ports
from emulator.errors import SetupError

HOST = "127.0.0.1"


def chosen(monkeypatch: pytest.MonkeyPatch, *first: int) -> None:
    """The ports that chance brings."""
    monkeypatch.setattr(random, "sample", lambda *_: list(first))


def taken(monkeypatch: pytest.MonkeyPatch, *numbers: int) -> None:
    monkeypatch.setattr(ports, "_is_free", lambda _, port: port not in numbers)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_they_are_free_and_in_a_row(count: int) -> None:
    first = find_free_ports(HOST, count)
    for port in range(first, first + count):
        assert port in CONTAINER_PORTS
        with socket.socket() as probe:
            probe.bind((HOST, port))


def test_a_port_that_is_in_use_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as one, socket.socket() as other:
        one.bind((HOST, 0))
        other.bind((HOST, find_free_ports(HOST, 1)))
        free = find_free_ports(HOST, 1)
        chosen(monkeypatch, one.getsockname()[1], other.getsockname()[1], free)
        assert find_free_ports(HOST, 1) == free


def test_one_port_in_use_spoils_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen(monkeypatch, 20_000, 20_001, 20_002, 20_003)
    taken(monkeypatch, 20_002)
    assert find_free_ports(HOST, 2) == 20_000
    assert find_free_ports(HOST, 3) == 20_003


def test_none_that_is_free_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    taken(monkeypatch, *CONTAINER_PORTS)
    with pytest.raises(SetupError, match="No port is free for a container between 10000 and 32767"):
        find_free_ports(HOST, 1)
