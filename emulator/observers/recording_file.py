"""The files of a recording: whole gzip members, appended; a next file when one is large enough."""

from __future__ import annotations

import errno
import fcntl
import gzip
import json
import os
import stat
import zlib
from collections.abc import Callable
from pathlib import Path

from isal import igzip

from emulator.errors import SetupError
from emulator.private_files import private_opener
from emulator.recordings import next_part_file

LEVEL = 1  # of isal's 0 to 3: a tenth of the size of the text, at 300 MB/s
LONGEST_FIRST_LINE = 16 * 1024 * 1024  # bytes, with its endpoints
FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class RecordingFile:
    """A file that only grows by whole members, so that zcat reads it at any moment. It is looked for at each of them:
    when it was moved or deleted, another one is begun.

    It is this user's, private, a regular file, and locked against other emulators.
    """

    def __init__(self, path: Path, size_bytes: int, header: Callable[[], str]) -> None:
        """``header`` returns the first line of the next file. Nothing is opened yet."""
        self.path = path
        self._size_bytes, self._header = size_bytes, header
        self._descriptor = -1

    def begin(self) -> None:
        """Open it; a recording that is there is kept under another name. Raises SetupError if that is impossible."""
        try:
            self._open()
            if os.fstat(self._descriptor).st_size:
                if not is_recording(self.path):
                    raise SetupError(f"{self.path} is there already, and it is not a recording. Name another file.")
                self._put_aside()
                self._open(os.O_EXCL)
            self._write(igzip.compress(self._header().encode(), LEVEL))
        except OSError as error:
            self.close()
            raise SetupError(f"{self.path} cannot be recorded to: {reason(error)}.") from None
        except SetupError:
            self.close()
            raise

    def append(self, text: str) -> None:
        """Add whole lines as one member. Raises OSError; then nothing of it is there."""
        member = igzip.compress(text.encode(), LEVEL)
        if not self._is_at_path():
            self._open(os.O_EXCL)
        size = os.fstat(self._descriptor).st_size
        if size and size + len(member) > self._size_bytes:
            self._put_aside()
            self._open(os.O_EXCL)
            size = 0
        self._write(member if size else igzip.compress(self._header().encode(), LEVEL) + member)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def _put_aside(self) -> None:
        os.rename(self.path, next_part_file(self.path))
        self.close()

    def _open(self, only_new: int = 0) -> None:
        self.close()
        self._descriptor = private_opener(str(self.path), FLAGS | only_new)
        found = os.fstat(self._descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        if found.st_uid != os.geteuid():
            raise OSError(errno.EPERM, "it belongs to another user")
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(errno.EWOULDBLOCK, "another emulator records to it") from None

    def _is_at_path(self) -> bool:
        try:
            return self._descriptor >= 0 and os.path.samestat(os.lstat(self.path), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def _write(self, data: bytes) -> None:
        before = os.fstat(self._descriptor).st_size
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError:
            os.ftruncate(self._descriptor, before)  # for the reader, the file ends with its last whole member
            raise


def is_recording(path: Path) -> bool:
    """Whether a file begins as a recording does. Raises OSError."""
    try:
        with gzip.open(path) as file:
            return bool(json.loads(file.readline(LONGEST_FIRST_LINE)).get("type") == "recording")
    except (EOFError, ValueError, AttributeError, zlib.error, gzip.BadGzipFile):
        return False


def reason(error: OSError) -> str:
    """Why a file cannot be written, in words."""
    if error.errno == errno.ELOOP:
        return "it is a symbolic link"
    return error.strerror or str(error)
