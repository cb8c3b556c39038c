"""Ports for containers that are processes of this machine."""

from __future__ import annotations

import contextlib
import random
import socket
from dataclasses import dataclass

from emulator.errors import SetupError

CONTAINER_PORTS = range(10_000, 32_767)
RANGE = 1 + 10  # to bind to, and in SAGEMAKER_SAFE_PORT_RANGE
TRIES = 100


@dataclass(frozen=True)
class PortRange:
    """Ports in a row, which no other container of any emulator on this machine gets until this is closed.

    They come after a port that this process has bound, without listening: whoever has that one has them all. So two
    containers that start at the same time, neither of which listens yet, have ports of their own; and the system frees
    them when the emulator ends, however it does.
    """

    holder: socket.socket
    port: int  # for the container to bind to
    first_safe: int  # of the others
    last_safe: int

    @classmethod
    def bind(cls, host: str) -> PortRange:
        """A range that is free now. Raises SetupError when there is none.

        From a range in which the system does not place outgoing connections, and in which Multi Model Server accepts
        its port: it refuses those above 32766.
        """
        for first in random.sample(range(CONTAINER_PORTS.start, CONTAINER_PORTS.stop - RANGE, 1 + RANGE), TRIES):
            holder = socket.socket()
            port = first + 1
            with contextlib.suppress(OSError):
                holder.bind((host, first))
                if all(_is_free(host, each) for each in range(port, port + RANGE)):
                    return cls(holder, port, port + 1, port + RANGE - 1)
            holder.close()
        raise SetupError(f"No port is free for a container between {CONTAINER_PORTS.start} and {CONTAINER_PORTS.stop}.")

    def close(self) -> None:
        """Let others have them. May be called twice."""
        self.holder.close()


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind((host, port))
        return True
    return False
