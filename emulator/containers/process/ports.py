"""Ports for containers that are processes of this machine."""

from __future__ import annotations

import contextlib
import random
import socket

from emulator.errors import SetupError

CONTAINER_PORTS = range(10_000, 32_767)


def find_free_ports(host: str, count: int) -> int:
    """The first of so many ports in a row that are free now.

    From a range in which the system does not place outgoing connections, and in which Multi Model
    Server accepts its port: it refuses those above 32766.
    """
    for first in random.sample(range(CONTAINER_PORTS.start, CONTAINER_PORTS.stop - count), 100):
        if all(_is_free(host, port) for port in range(first, first + count)):
            return first
    raise SetupError(f"No port is free for a container between {CONTAINER_PORTS.start} and {CONTAINER_PORTS.stop}.")


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind((host, port))
        return True
    return False
