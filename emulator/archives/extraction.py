"""Extracts model.tar.gz to a directory: completely or not at all, and never outside of it.

What makes escape impossible is the order of work, not a list of known attacks:

- While files are written the tree holds no symbolic link, so a member's name without ``..`` is where it lands.
- Symbolic links are made last. In a link's target, ``..`` may only leave a directory that was really made here,
  so it climbs to that directory's real parent; everything else in a target descends. Whatever chain of links the
  operating system follows later is made of such steps, and none of them leaves the tree.
"""

from __future__ import annotations

import contextlib
import errno
import io
import math
import os
import reprlib
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from gzip import BadGzipFile
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, cast

from isal import igzip, isal_zlib

from emulator.archives.s3_download import Download
from emulator.archives.source import ModelSource, Version
from emulator.errors import ArchiveError

UNFINISHED_PREFIX = ".extracting-"  # of the directories that are left behind when an extraction is killed
NAMES_BYTES = 32 * 1024 * 1024  # of all members: those of directories and links are kept in memory to the end
DEPTH = 100  # directories; shutil.rmtree needs a stack frame and a file descriptor for each level

_BLOCK_BYTES = 256 * 1024
_HEADER_BYTES = 256 * 1024  # of one member, with its long names, extended attributes and list of holes
_HEADER_READ_BYTES = 16 * 1024  # at once; tarfile's time for it is quadratic before 3.12.6 (CVE-2024-6232)
_LATEST_NS = 2**62  # in the year 2116; a time beyond it is corrupt, and too much for some file systems

_TAR_ERRORS = (tarfile.TarError, ArithmeticError, LookupError, RecursionError, ValueError)

_short = reprlib.Repr()
_short.maxstring = 200


@dataclass(frozen=True)
class Extracted:
    """The result of an extraction.

    size_bytes: of all its files, holes included.
    files: its members, and the directories that only the names of its members imply.
    waited_seconds: of its time, how long it waited for the archive's bytes. It is measured where they come from S3.
    archive_bytes: of the archive as it is stored; 0 = it is none, but a directory that stands for one.
    """

    size_bytes: int
    files: int
    waited_seconds: float = field(default=0.0, compare=False)
    archive_bytes: int = field(default=0, compare=False)


def extract(archive: BufferedReader[Any], directory: Path, *, max_bytes: int, max_files: int) -> Extracted:
    """Extract a model.tar.gz into ``directory``, reading it once, as a stream.

    ``directory`` must not exist yet; its parent must.

    Times and modes are kept, except that the owner can always read and write, that nobody else can write, and
    that there are no set-user-ID, set-group-ID and sticky bits. Of two members with one name the later counts.

    Raises ArchiveError, with one sentence, when the archive cannot be read, is not safe, or comes to more than
    ``max_bytes`` or ``max_files``; an OSError (a full disk) passes through. Nothing is left behind then.
    """
    if os.path.lexists(directory):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(directory))
    _check_gzip(archive.peek(tarfile.BLOCKSIZE))
    unfinished = tempfile.mkdtemp(prefix=UNFINISHED_PREFIX, dir=directory.parent)
    try:
        tree = _Tree(unfinished, max_bytes, max_files)
        with igzip.open(archive, "rb") as unzipped:  # type: ignore[no-untyped-call]
            stream = _Stream(cast(BinaryIO, unzipped), max_bytes, max_files)
            for member in _members(stream):
                tree.add(member, stream)
        tree.finish()
        os.rename(unfinished, directory)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return Extracted(size_bytes=tree.size_bytes, files=tree.files)


def extract_from(
    source: ModelSource, target_model: str, directory: Path, *, max_bytes: int, max_files: int
) -> tuple[Extracted, Version]:
    """``extract`` an archive of a source; its version. Raises what that does, and what ``ModelSource.open`` does."""
    began = time.perf_counter()
    with source.open(target_model) as (archive, version):
        opened = time.perf_counter() - began
        extracted = extract(archive, directory, max_bytes=max_bytes, max_files=max_files)
        raw, waited, size = archive.raw, 0.0, 0
        if isinstance(raw, Download):
            waited, size = raw.waited_seconds, raw.size_bytes
        else:
            with contextlib.suppress(io.UnsupportedOperation):  # of an archive that is made while it is read
                size = os.fstat(archive.fileno()).st_size
        return replace(extracted, waited_seconds=opened + waited, archive_bytes=size), version


def examine(archive: BufferedReader[Any], *, max_bytes: int, max_files: int) -> Iterator[tarfile.TarInfo]:
    """Examine a model.tar.gz as ``extract`` does, without writing; yields each member before it is examined.

    What files hold is read, but not written; their names are, to a temporary directory that is gone afterwards.

    Raises ArchiveError where ``extract`` would; an OSError passes through.
    """
    _check_gzip(archive.peek(tarfile.BLOCKSIZE))
    with tempfile.TemporaryDirectory(prefix=UNFINISHED_PREFIX) as directory:
        tree = _Tree(directory, max_bytes, max_files)
        with igzip.open(archive, "rb") as unzipped:  # type: ignore[no-untyped-call]
            stream = _DiscardingStream(cast(BinaryIO, unzipped), max_bytes, max_files)
            for member in _members(stream):
                yield member
                tree.add(member, stream)
        tree.finish()


def linked(source: str, target: str) -> bool:
    """Whether a hard link was made. If not, ``target`` is a copy: file systems limit links to a file (ext4: 65,000)."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno != errno.EMLINK:
            raise
        shutil.copy2(source, target)
        return False
    return True


def _check_gzip(start: bytes) -> None:
    if start.startswith(b"\x1f\x8b"):
        return
    if not start:
        raise ArchiveError("The file is empty.")
    if start.startswith(b"PK"):
        raise ArchiveError("It is a zip file; a model archive is a tar file, compressed with gzip.")
    if start[257:262] == b"ustar":
        raise ArchiveError("It is a tar file that is not compressed; compress it with gzip.")
    raise ArchiveError("It is not compressed with gzip.")


class _Stream:
    """The tar inside the gzip, read forwards only, with limits on what it can cost its reader."""

    def __init__(self, unzipped: BinaryIO, max_bytes: int, max_files: int) -> None:
        self._unzipped = unzipped
        self._position = 0
        # 4 KiB is generous for the headers and padding of an average member, 4 MiB for what follows the last one.
        self._limit = max_bytes + max_files * 4096 + 4 * 1024 * 1024
        self._too_long = f"It unpacks to more than {max_files} files of {max_bytes} bytes together can come to."
        self.header_left = _HEADER_BYTES  # what tarfile may still read of a header: it keeps all of it in memory
        self.header = b""  # the last part of a header that it read

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> None:
        """Pass over padding, as tarfile does before it reads a header; stops at the end."""
        if position < self._position:
            raise ArchiveError("The tar file is corrupt: a member's size is wrong.")
        while self._position < position and self._take(position - self._position):
            pass

    def read(self, size: int) -> bytes:
        """A part of a header, as tarfile reads it."""
        if not 0 <= size <= min(_HEADER_READ_BYTES, self.header_left):
            raise ArchiveError("A member's header is too long.")
        self.header_left -= size
        self.header = self._take(size)
        return self.header

    def copy(self, size: int, file: int) -> None:
        """Write the next ``size`` bytes to an open file."""
        while size > 0:
            block = memoryview(self._take(size))
            if not block:
                raise ArchiveError("The tar file is truncated.")
            size -= len(block)
            while block:
                block = block[os.write(file, block) :]

    def drain(self) -> None:
        """Read on to the end of the gzip, where its checksum is."""
        while self._take(_BLOCK_BYTES):
            pass

    def _take(self, size: int) -> bytes:
        """The next ``size`` bytes, but at most a block; fewer only at the end."""
        try:
            block = self._unzipped.read(min(size, _BLOCK_BYTES))
        except EOFError:
            raise ArchiveError("It is truncated.") from None
        except (BadGzipFile, isal_zlib.error) as error:  # type: ignore[misc]
            raise ArchiveError(f"The gzip is corrupt: {error}.") from None
        self._position += len(block)
        if self._position > self._limit:
            raise ArchiveError(self._too_long)
        return block


class _DiscardingStream(_Stream):
    """A stream for examining an archive: files stay empty."""

    def copy(self, size: int, file: int) -> None:
        while size > 0:
            block = self._take(size)
            if not block:
                raise ArchiveError("The tar file is truncated.")
            size -= len(block)


def _members(stream: _Stream) -> Iterator[tarfile.TarInfo]:
    """The members, in order. A file's data must be read from ``stream`` before the next member."""
    try:
        tar = tarfile.TarFile(fileobj=stream)  # type: ignore[arg-type]
        # Python 3.10 fails at the next() of an empty tar.
        for member in iter(tar.next, None) if tar.firstmember else ():  # type: ignore[attr-defined]
            yield member
            tar.members.clear()  # type: ignore[attr-defined]
            if sum(map(len, tar.pax_headers.values())) > _HEADER_BYTES:
                raise ArchiveError("The global headers are too long.")
            stream.header_left = _HEADER_BYTES
    except _TAR_ERRORS as error:
        if stream.tell() <= tarfile.BLOCKSIZE:
            raise ArchiveError("What gzip compressed is not a tar file.") from None
        raise ArchiveError(f"The tar file is corrupt: {error}.") from None
    if stream.header.strip(b"\0"):  # tarfile takes a header that it cannot read for the end
        raise ArchiveError("The tar file is corrupt: a member's header cannot be read.")
    stream.drain()


class _Tree:
    """The directory while it is being filled. A name in it is a path below it; its own name is empty."""

    def __init__(self, root: str, max_bytes: int, max_files: int) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._names_left = NAMES_BYTES
        self._directories: dict[str, int | None] = {"": None}  # with their times, set when they are complete
        self._links: dict[str, tuple[str, int]] = {}  # the symbolic links, which are not made yet: target, time
        self.size_bytes = 0
        self.files = 0
        os.chmod(root, 0o755)

    def add(self, member: tarfile.TarInfo, stream: _Stream) -> None:
        """Make the member; ``stream`` is where its data starts."""
        name = _name(member.name)
        self._count(member.name + member.linkname)
        with _explained(name):
            if member.isreg():
                self._add_file(name, member, stream)
            elif member.isdir():
                self._add_directory(name, member)
            elif member.issym():
                self._add_symbolic_link(name, member)
            elif member.islnk():
                self._add_hard_link(name, member)
            else:
                raise ArchiveError(f"{_short.repr(name)} is not a file, a directory or a link.")

    def finish(self) -> None:
        """Make the symbolic links, and set the times of the directories."""
        for name, (target, _) in self._links.items():
            if "\0" in target or not target:
                raise ArchiveError(f"The link {_short.repr(name)} has no valid target.")
            if not self._stays_inside(name, target):
                raise ArchiveError(f"The link {_short.repr(name)} may lead outside the model: {_short.repr(target)}.")
        for name, (target, time_ns) in self._links.items():
            with _explained(name):
                os.symlink(target, self._path(name))
                os.utime(self._path(name), ns=(time_ns, time_ns), follow_symlinks=False)
        for name, directory_time_ns in self._directories.items():
            if directory_time_ns is not None:
                os.utime(self._path(name), ns=(directory_time_ns, directory_time_ns))

    def _count(self, names: str) -> None:
        self.files += 1
        if self.files > self._max_files:
            raise ArchiveError(f"It holds more than {self._max_files} files.")
        self._names_left -= len(names)
        if self._names_left < 0:
            raise ArchiveError(f"The names in it are longer than {NAMES_BYTES} characters together.")

    def _add_file(self, name: str, member: tarfile.TarInfo, stream: _Stream) -> None:
        if member.size < 0:
            raise ArchiveError(f"The size of {_short.repr(name)} is negative.")
        self.size_bytes += member.size
        if self.size_bytes > self._max_bytes:
            raise ArchiveError(f"It unpacks to more than {self._max_bytes} bytes.")
        with open(self._place(name), "xb", buffering=0) as file:
            if member.sparse is None:
                stream.copy(member.size, file.fileno())
            else:
                for offset, size in cast("list[tuple[int, int]]", member.sparse):
                    if offset < 0 or size < 0 or offset + size > member.size:
                        raise ArchiveError(f"The holes in {_short.repr(name)} do not fit its size.")
                    file.seek(offset)
                    stream.copy(size, file.fileno())
                file.truncate(member.size)
            os.fchmod(file.fileno(), member.mode & 0o755 | 0o600)
            time_ns = _time_ns(member)
            os.utime(file.fileno(), ns=(time_ns, time_ns))

    def _add_directory(self, name: str, member: tarfile.TarInfo) -> None:
        if name not in self._directories:
            self._make_directory(name)
        os.chmod(self._path(name), member.mode & 0o755 | 0o700)
        self._directories[name] = _time_ns(member)

    def _add_symbolic_link(self, name: str, member: tarfile.TarInfo) -> None:
        self._place(name)
        self._links[name] = member.linkname, _time_ns(member)

    def _add_hard_link(self, name: str, member: tarfile.TarInfo) -> None:
        target = _name(member.linkname)
        if target not in self._links and not os.path.isfile(self._path(target)):
            raise ArchiveError(f"{_short.repr(name)} is linked to {_short.repr(target)}, which is not an earlier file.")
        if target == name:  # tar writes this when a file was named twice
            return
        path = self._place(name)
        if target in self._links:
            self._links[name] = self._links[target]
        else:
            if not linked(self._path(target), path):
                self.size_bytes += os.stat(path).st_size
                if self.size_bytes > self._max_bytes:
                    raise ArchiveError(f"It unpacks to more than {self._max_bytes} bytes.")

    def _place(self, name: str) -> str:
        """The path for a file or link, with everything above it and nothing at it."""
        self._make_parent(name)
        if name in self._directories:
            raise FileExistsError
        self._links.pop(name, None)
        path = self._path(name)
        with suppress(FileNotFoundError):
            os.unlink(path)
        return path

    def _make_parent(self, name: str) -> None:
        parent = _parent(name)
        if parent not in self._directories:
            self._count(parent)
            self._make_directory(parent)

    def _make_directory(self, name: str) -> None:
        self._make_parent(name)
        if name in self._links:
            raise FileExistsError
        os.mkdir(self._path(name))
        os.chmod(self._path(name), 0o755)
        self._directories[name] = None

    def _stays_inside(self, name: str, target: str) -> bool:
        """Whether a link is made of steps that stay inside, as the module's docstring explains."""
        if target.startswith("/"):
            return False
        position = _parent(name)
        for step in target.split("/"):
            if step == "..":
                if not position or position not in self._directories:
                    return False
                position = _parent(position)
            elif step not in ("", "."):
                position = f"{position}/{step}" if position else step
        return True

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def _name(path: str) -> str:
    """A member's path as a name in a tree. Raises ArchiveError when it is invalid."""
    steps = [step for step in path.split("/") if step not in ("", ".")]
    if path.startswith("/") or ".." in steps:
        raise ArchiveError(f"{_short.repr(path)} is outside the model.")
    if "\0" in path:
        raise ArchiveError(f"{_short.repr(path)} is not a valid name.")
    if len(steps) > DEPTH:
        raise ArchiveError(f"{_short.repr(path)} is more than {DEPTH} directories deep.")
    return "/".join(steps)


def _parent(name: str) -> str:
    return name.rpartition("/")[0]


def _time_ns(member: tarfile.TarInfo) -> int:
    if not math.isfinite(member.mtime):
        return 0
    # By way of microseconds: a float of today's seconds is no more exact, and whole seconds stay whole.
    return max(-_LATEST_NS, min(round(member.mtime * 1_000_000) * 1_000, _LATEST_NS))


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Raises ArchiveError for errors of the system that the archive has caused."""
    try:
        yield
    except (FileExistsError, IsADirectoryError, NotADirectoryError):
        if not name:
            raise ArchiveError(
                "A file in it is named '.', which is the model's own directory, as by tar.add(FILE, arcname='.'). Give "
                "it a name of its own, or make the archive with localmme pack."
            ) from None
        raise ArchiveError(f"{_short.repr(name)} is a directory and something else at once.") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ArchiveError(f"The name {_short.repr(name)} is too long.") from None
        raise
