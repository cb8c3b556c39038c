"""Directories as a tar stream, for an engine that cannot see them. At most a piece of a file is in memory."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from emulator.errors import ContainerError
from emulator.tar_members import END, content, header

EVERYONE_READS, EVERYONE_WRITES = 0o444, 0o222
DIRECTORY_MODE = 0o755


def packed(
    directories: Iterable[str], root: Path | None = None, name: str = "", *, writable: bool = False
) -> Iterator[bytes]:
    """A tar archive in pieces: these empty directories, then all of ``root``, with ``name`` in its place.

    Everything belongs to root, and everyone can read it: an image may run as any user. ``writable``: everyone can write
    to what is of ``root``, too. Raises ContainerError when a file cannot be read or changes meanwhile.
    """
    for directory in directories:
        yield header(directory, tarfile.DIRTYPE, DIRECTORY_MODE)
    try:
        if root is not None:
            yield from _members(root, name, EVERYONE_WRITES if writable else 0)
    except OSError as error:
        raise ContainerError(f"the model's files cannot be read: {error.strerror}") from None
    yield END


def _members(path: Path, name: str, more: int) -> Iterator[bytes]:
    """``more`` are permissions that all of it gets besides."""
    if path.is_symlink():
        yield header(name, tarfile.SYMTYPE, 0o777, link=os.readlink(path))
    elif path.is_dir():
        yield header(name, tarfile.DIRTYPE, DIRECTORY_MODE | more)
        for child in sorted(path.iterdir()):
            yield from _members(child, f"{name}/{child.name}", more)
    elif path.is_file():
        yield from _file(path, name, more)


def _file(path: Path, name: str, more: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        about = os.fstat(file.fileno())
        executable = 0o111 if about.st_mode & 0o100 else 0
        mode = about.st_mode & 0o777 | EVERYONE_READS | executable | more
        yield header(name, tarfile.REGTYPE, mode, size=about.st_size, time=about.st_mtime)
        try:
            yield from content(file, about.st_size)
        except EOFError:
            raise ContainerError(f"{path} became shorter while it was sent") from None
