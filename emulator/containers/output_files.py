"""What the container of a job has written, file by file. It may be hostile: no symbolic link is followed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

Kind = Literal["file", "directory", "link"]
NO_DIRECTORY = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES)  # ELOOP: a link, on macOS
DEEPEST = 100  # [ours] directories within each other; each takes an open file


@dataclass(frozen=True)
class OutputFile:
    """A file, a directory or a symbolic link. What is neither (sockets, pipes, devices) is left out."""

    name: str  # its path below the directory that was asked for, with slashes
    kind: Kind
    mode: int  # its permissions
    modified: float  # seconds since 1970
    size: int = 0  # bytes
    link: str = ""  # where a link points to, as it was written
    content: BinaryIO | None = None  # of a file: to be read before the next one is asked for


def files_below(root: Path, path: str) -> Iterator[OutputFile]:
    """The files below ``root/path``, in the order of their names; what contains ``root`` is the emulator's own.

    Raises OSError.
    """
    opened: int | None = None
    try:
        for name in [str(root), *path.split("/")]:
            try:
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=opened)
            except OSError as error:
                if error.errno in NO_DIRECTORY:
                    return
                raise
            if opened is not None:
                os.close(opened)
            opened = below
        assert opened is not None
        yield from _below(opened, "", DEEPEST)
    finally:
        if opened is not None:
            os.close(opened)


def _below(directory: int, prefix: str, levels: int) -> Iterator[OutputFile]:
    for name in sorted(os.listdir(directory)):
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        place, mode = prefix + name, stat.S_IMODE(found.st_mode)
        if stat.S_ISLNK(found.st_mode):
            yield OutputFile(place, "link", mode, found.st_mtime, link=os.readlink(name, dir_fd=directory))
        elif stat.S_ISDIR(found.st_mode):
            yield OutputFile(place, "directory", mode, found.st_mtime)
            if not levels:
                raise OSError(f"{place} has too many directories above it")
            # It may be a link by now.
            opened = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
            try:
                yield from _below(opened, f"{place}/", levels - 1)
            finally:
                os.close(opened)
        elif stat.S_ISREG(found.st_mode):
            # O_NONBLOCK: it may be a named pipe by now, which would wait for its writer.
            opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
            with os.fdopen(opened, "rb") as file:
                about = os.fstat(opened)
                if stat.S_ISREG(about.st_mode):
                    yield OutputFile(place, "file", mode, about.st_mtime, about.st_size, content=file)
