"""A directory in place of an archive, for prototyping: read as the archive that it would be packed to. [ours]

Nothing is packed on a disk. The members are made one after the other while they are read, in a gzip that compresses
nothing. So a directory is extracted by the same code as an archive, with the same rules: it may have no link that leads
out of it, for instance, and what a model does to its files it does to copies.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

from emulator.archives.left_out import is_left_out
from emulator.archives.source import OPENED_WITH
from emulator.aws.errors import too_many_open_files
from emulator.errors import ArchiveError
from emulator.open_files import EXHAUSTED
from emulator.tar_members import END, content, header

SUFFIX = ".tar.gz"  # of the archive's name, and of a directory's that stands for it


def is_unpacked_archive(path: Path) -> bool:
    """Whether a directory stands for an archive by its name."""
    return path.name.endswith(SUFFIX) and path.is_dir()


class UnpackedArchive:
    """A directory with a model's files, each at the path that it has in the archive."""

    def __init__(self, directory: Path) -> None:
        self._root = str(directory)

    def version(self) -> str:
        """A value that changes with the files' names, permissions, times and sizes. No file is read for it.

        Raises AwsError when too many files are open.
        """
        digest = hashlib.blake2b(digest_size=16)
        try:
            for name, status in self._entries():
                content = () if stat.S_ISDIR(status.st_mode) else (status.st_mtime_ns, status.st_size)
                digest.update(repr((name, status.st_mode, status.st_ino, *content)).encode())
        except ArchiveError as error:  # which reading it will raise as well
            digest.update(str(error).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    @contextmanager
    def open(self) -> Iterator[BufferedReader[Any]]:
        """The archive's bytes. Reading them raises ArchiveError for what cannot be read."""
        with closing(self._members()) as members, BufferedReader(_Stream(_gzip(members)), OPENED_WITH) as archive:
            yield archive

    def _entries(self) -> Iterator[tuple[str, os.stat_result]]:
        """The path below the directory and the status of all there is, a directory before what is in it."""
        folders = [""]
        while folders:
            folder = folders.pop()
            try:
                names = sorted(os.listdir(f"{self._root}/{folder}"))
            except FileNotFoundError:  # deleted since
                continue
            except OSError as error:
                raise _unreadable(folder or self._root, error) from None
            for name in (f"{folder}{name}" for name in names):
                try:
                    status = os.lstat(f"{self._root}/{name}")
                except FileNotFoundError:
                    continue
                except OSError as error:
                    raise _unreadable(name, error) from None
                is_directory = stat.S_ISDIR(status.st_mode)
                if not is_left_out(name, is_directory=is_directory):
                    yield name, status
                    if is_directory:
                        folders.append(f"{name}/")

    def _members(self) -> Generator[bytes, None, None]:
        for name, status in self._entries():
            path = f"{self._root}/{name}"
            try:
                if stat.S_ISREG(status.st_mode):
                    yield from _file(name, path)
                else:
                    yield _header(name, status, os.readlink(path) if stat.S_ISLNK(status.st_mode) else "")
            except FileNotFoundError:  # deleted since
                continue
            except OSError as error:
                raise _unreadable(name, error) from None
        yield END


class _Stream(io.RawIOBase):
    """Bytes that are made when they are read."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        super().__init__()
        self._blocks = blocks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


def _gzip(blocks: Iterator[bytes]) -> Iterator[bytes]:
    deflate = zlib.compressobj(0, wbits=16 + zlib.MAX_WBITS)
    for block in blocks:
        yield deflate.compress(block)
    yield deflate.flush()


def _file(name: str, path: str) -> Iterator[bytes]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb", buffering=0) as file:
        status = os.fstat(descriptor)
        yield _header(name, status)
        try:
            yield from content(file, status.st_size)
        except EOFError:
            raise ArchiveError(f"{name!r} has become shorter while it was read.") from None


def _header(name: str, status: os.stat_result, target: str = "") -> bytes:
    kinds = {stat.S_IFREG: tarfile.REGTYPE, stat.S_IFDIR: tarfile.DIRTYPE, stat.S_IFLNK: tarfile.SYMTYPE}
    kind = kinds.get(stat.S_IFMT(status.st_mode), tarfile.FIFOTYPE)  # a device is no more welcome than a pipe
    size = status.st_size if kind == tarfile.REGTYPE else 0
    return header(name, kind, stat.S_IMODE(status.st_mode), size=size, time=status.st_mtime, link=target)


def _unreadable(name: str, error: OSError) -> Exception:
    if error.errno in EXHAUSTED:
        return too_many_open_files()
    return ArchiveError(f"{name!r} cannot be read: {error.strerror}.")
