"""Unix sockets in a private directory, where no other user of the machine can call a container."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST_BYTES = 100  # of a path; systems take 103 (macOS) or 107 (Linux)
DESCRIPTORS = Path("/proc/self/fd")


def new_socket_path(directory: Path) -> Path | None:
    """Where a socket can be made in that directory; None if none can, as on file systems without them.

    Blocks for microseconds. The directory is made if it is missing.
    """
    path = directory / f"socket-{secrets.token_hex(4)}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with short_path(path) as short, socket.socket(socket.AF_UNIX) as tried:
            tried.bind(short)
    except (OSError, ValueError):
        return None
    finally:
        remove(path)
    return path


def connect(path: Path) -> socket.socket:
    """A socket that is connected to the one there, and does not block. Raises OSError."""
    made = socket.socket(socket.AF_UNIX)
    try:
        made.setblocking(False)
        with short_path(path) as short:
            made.connect(short)
    except BaseException:
        made.close()
        raise
    return made


def remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """The path, or on Linux, if it is longer than sockets may have, another one of the same file. Raises OSError."""
    if len(os.fsencode(path)) <= LONGEST_BYTES:
        yield str(path)
        return
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield str(DESCRIPTORS / str(descriptor) / path.name)
    finally:
        os.close(descriptor)
