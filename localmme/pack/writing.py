"""Writes a model archive: completely or not at all, and with the same bytes for the same files."""

from __future__ import annotations

import os
import secrets
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from emulator.errors import SetupError
from emulator.printable import printable
from localmme.pack.contents import Contents
from localmme.pack.entry import ArchiveEntry
from localmme.pack.gzip_stream import GzipStream

# 1980, the earliest time that zip files can hold. GNU tar warns of 1970: it looks like a clock that was not set.
EARLIEST_SECONDS = 315_532_800
UNFINISHED_PREFIX = ".packing-"  # hidden, so that no emulator lists it as a model

_LATEST_SECONDS = 0o77777777777  # the most that a tar header can hold
_READ_BYTES = 1024 * 1024


def write(
    contents: Contents,
    archive: Path,
    *,
    compressed: bool,
    time_seconds: int = EARLIEST_SECONDS,
    progress: Callable[[int], object] = lambda count: None,
) -> int:
    """Write the entries of ``contents`` to ``archive``, which is replaced. Returns its size in bytes.

    The bytes depend on the entries, the files' content, ``time_seconds`` and ``compressed`` (see GzipStream).
    ``progress`` is called with each packed block's length in bytes.

    Raises SetupError when a file cannot be read, a file has changed since it was examined, or the archive cannot be
    written. In these cases, and when interrupted, a file that was at ``archive`` is unchanged, and nothing is left.
    """
    unfinished = archive.with_name(UNFINISHED_PREFIX + secrets.token_hex(8))
    try:
        with open(unfinished, "xb") as file:
            stream = GzipStream(file, compressed=compressed)
            length = 0
            for entry in contents.entries:
                length += _add(stream, entry, contents, time_seconds, progress)
            # A tar ends with two empty blocks, and has a whole number of records.
            stream.write(bytes(-(length + 2 * tarfile.BLOCKSIZE) % tarfile.RECORDSIZE + 2 * tarfile.BLOCKSIZE))
            stream.close()
            size = file.tell()
        os.replace(unfinished, archive)
    except OSError as error:
        raise SetupError(f"The archive {archive} cannot be written: {error.strerror}.") from None
    finally:
        unfinished.unlink(missing_ok=True)
    return size


def time_of_members(environment: str | None) -> int:
    """The modification time of all members: SOURCE_DATE_EPOCH, else 1980; in seconds since 1970. Raises SetupError."""
    if not environment:
        return EARLIEST_SECONDS
    if not (environment.isascii() and environment.isdecimal()) or int(environment) > _LATEST_SECONDS:
        raise SetupError(f"SOURCE_DATE_EPOCH must be a number of seconds since 1970, not {environment!r}.")
    return int(environment)


def _add(
    stream: GzipStream, entry: ArchiveEntry, contents: Contents, time_seconds: int, progress: Callable[[int], object]
) -> int:
    """Write one member. Returns its length in the tar."""
    header = _header(entry, time_seconds)
    stream.write(header)
    if entry.kind == "directory":
        return len(header)
    added = contents.added.get(entry.name)
    for block in _blocks(contents.root, entry) if added is None else (added,):
        stream.write(block)
        progress(len(block))
    padding = bytes(-entry.size_bytes % tarfile.BLOCKSIZE)
    stream.write(padding)
    return len(header) + entry.size_bytes + len(padding)


def _blocks(directory: Path, entry: ArchiveEntry) -> Iterator[bytes]:
    """A file's content. Raises SetupError when it cannot be read, or its size is not that of the entry."""
    left = entry.size_bytes
    try:
        with open(directory / entry.name, "rb", buffering=0) as file:
            while block := file.read(min(left, _READ_BYTES) or 1):
                left -= len(block)
                if left < 0:
                    break
                yield block
    except OSError as error:
        raise SetupError(f"{printable(entry.name)} cannot be read: {error.strerror}.") from None
    if left:
        raise SetupError(f"{printable(entry.name)} has changed while it was packed. Pack when nothing writes to it.")


def _header(entry: ArchiveEntry, time_seconds: int) -> bytes:
    """A header in the POSIX format of 2001, without limits on sizes and names; the owner is 0, without a name."""
    member = tarfile.TarInfo(entry.name)
    member.type = tarfile.DIRTYPE if entry.kind == "directory" else tarfile.REGTYPE
    member.size = entry.size_bytes
    member.mode = entry.mode
    member.mtime = time_seconds
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")
