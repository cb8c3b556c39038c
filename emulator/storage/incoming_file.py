"""A file that is being received: outside of the buckets, and moved to its place when it is complete."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from emulator.storage.checksums import Digests

COPIED_AT_ONCE = 1 << 28
FOLLOWED_NS = 1_000_000_000
_last_time_ns = 0


def next_time_ns() -> int:
    """The current time in nanoseconds, never the same twice: no two versions of an object have the same time."""
    global _last_time_ns  # noqa: PLW0603
    now = time.time_ns()
    # A clock that was set back by more than that is followed: its times come again, but hardly to the nanosecond.
    _last_time_ns = max(now, _last_time_ns + 1) if _last_time_ns - now < FOLLOWED_NS else now
    return _last_time_ns


class IncomingFile:
    """One file that is being written. Until ``moved_to`` it can be discarded, and is seen by no one.

    Locked for as long as it is open, so that the next start can tell what a killed emulator has left.
    """

    def __init__(self, path: Path, file: BinaryIO, algorithms: Iterable[str]) -> None:
        """``create`` makes one."""
        self.path = path
        self.size = 0
        self.digests = Digests(algorithms)
        # A cancelled request discards the file, perhaps while a thread still writes to it.
        self._writing = threading.Lock()
        self._file = file

    @classmethod
    def create(cls, directory: Path, algorithms: Iterable[str] = ()) -> IncomingFile:
        """A new file in this directory, which is made. ``algorithms`` are those of its checksums. Raises OSError."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / uuid.uuid4().hex
        file = open(path, "xb", buffering=0)  # noqa: SIM115 - the object closes it
        with contextlib.suppress(OSError):  # not every network's file system has locks
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return cls(path, file, algorithms)

    def write(self, data: bytes) -> None:
        """Append data. Raises OSError when it cannot be written."""
        with self._writing:
            self.digests.update(data)
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
            self.size += len(data)

    def append(self, source: BinaryIO, size: int) -> None:
        """Add so many bytes of a file from its start, without a look at them: they are not in the digests.

        Raises OSError; EOFError when the file is shorter.
        """
        position = 0
        while position < size:
            copied = _copy(source.fileno(), self._file.fileno(), min(size - position, COPIED_AT_ONCE), position)
            if copied == 0:
                raise EOFError
            position += copied
        self.size += size

    def stamp(self, modified_ns: int | None = None) -> int:
        """Set the file's modification time; None = now. Returns it in nanoseconds, as rounded by the file system."""
        when = next_time_ns() if modified_ns is None else modified_ns
        os.utime(self._file.fileno(), ns=(when, when))
        return os.fstat(self._file.fileno()).st_mtime_ns

    def moved_to(self, place: Path) -> None:
        """Move the file to its place in one step; a file that was there is replaced. Raises OSError."""
        os.replace(self.path, place)
        self._file.close()

    def fileno(self) -> int:
        return self._file.fileno()

    def discard(self) -> None:
        """Delete the file, unless it was moved."""
        with self._writing:
            if not self._file.closed:
                self._file.close()
                with contextlib.suppress(OSError):
                    self.path.unlink()


def _copy(source: int, target: int, count: int, position: int) -> int:
    """Copy from a position of a file to the end of another one, in the kernel where it can; how much it was."""
    if hasattr(os, "copy_file_range"):
        try:
            return os.copy_file_range(source, target, count, position)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
    return os.write(target, os.pread(source, min(count, 1 << 20), position))


def sweep(directory: Path) -> None:
    """Remove the unfinished files of killed emulators; those that another emulator is writing stay."""
    try:
        leftovers = list(directory.iterdir())
    except OSError:
        return
    for path in leftovers:
        with contextlib.suppress(OSError), open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
