"""The lines of recordings: of files that were rotated, that are torn, and that still grow."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from isal import isal_zlib

from emulator.errors import SetupError
from emulator.recordings import FORMAT, Line, part_files

GZIP = b"\x1f\x8b"
GZIP_MEMBER = 31  # as zlib's ``wbits``
READ_BYTES = 64 * 1024
LINES_BETWEEN_REPORTS = 5_000


def files_of(names: Iterable[Path]) -> list[Path]:
    """The files of these recordings, the oldest of each first: with those that were kept when another was begun.

    Raises SetupError for one that cannot be read.
    """
    found: list[Path] = []
    for name in names:
        try:
            name.stat()
            for file in (*part_files(name), name):
                if not any(file.samefile(other) for other in found):
                    found.append(file)
        except OSError as error:
            raise SetupError(f"{name} cannot be read: {error.strerror}.") from None
    return found


def read_file(
    file: Path, progress: Callable[[int], None] = lambda bytes_read: None, torn: Callable[[Path], None] = lambda _: None
) -> Iterator[Line]:
    """The lines of one file, compressed or not, up to its last whole line.

    ``progress`` is called now and then with the number of bytes read so far; ``torn`` if something follows that is no
    whole line. Raises SetupError for what is no recording, or one of a later format.
    """
    try:
        raw = file.open("rb")
    except OSError as error:
        raise SetupError(f"{file} cannot be read: {error.strerror}.") from None
    with raw:
        number = 0
        try:
            for number, text in enumerate(_lines(raw), 1):
                try:
                    line = cast(Line, json.loads(text))
                except ValueError:
                    raise SetupError(_no_recording(file, number)) from None
                if number == 1:
                    _check_first(file, line)
                if number % LINES_BETWEEN_REPORTS == 0:
                    progress(raw.tell())
                yield line
        except (EOFError, isal_zlib.error):  # type: ignore[misc]
            torn(file)
        except OSError as error:
            raise SetupError(f"{file} cannot be read: {error.strerror or error}.") from None
        if not number:
            raise SetupError(_no_recording(file, 1))
        progress(raw.tell())


def read_trace(file: str | Path, *others: str | Path) -> Iterator[Line]:
    """The lines of recordings of ``serve --record``, in order: dictionaries, as docs/events.md describes them.

    Each recording is read with the files that were kept when another was begun; up to the last whole line of each.
    Raises SetupError for what is no recording.
    """
    for each in files_of(Path(name).expanduser() for name in (file, *others)):
        yield from read_file(each)


def _lines(raw: BinaryIO) -> Iterator[bytes]:
    """The whole lines. Raises EOFError where the end is torn, after the last line that is whole."""
    is_compressed = raw.read(2) == GZIP
    raw.seek(0)
    rest = b""
    for chunk in _decompressed(raw) if is_compressed else iter(functools.partial(raw.read, READ_BYTES), b""):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    if rest:
        raise EOFError


def _decompressed(raw: BinaryIO) -> Iterator[bytes]:
    """All that can be decompressed, then EOFError if the end is torn. gzip and isal would lose what is before it."""
    member = None
    while data := raw.read(READ_BYTES):
        while data:
            member = member or isal_zlib.decompressobj(GZIP_MEMBER)
            yield member.decompress(data)
            data = member.unused_data
            if member.eof:
                member = None
    if member is not None:
        raise EOFError


def _check_first(file: Path, line: Line) -> None:
    if not isinstance(line, dict) or line.get("type") != "recording":
        raise SetupError(_no_recording(file, 1))
    version = line.get("format")
    if not isinstance(version, int) or version > FORMAT:
        raise SetupError(
            f"{file} was written by a later localmme (format {version}; this one reads {FORMAT}). Use that one."
        )


def _no_recording(file: Path, number: int) -> str:
    return f"{file} is not a recording of serve --record: line {number} is not one of a recording."
