"""Verifies an archive made elsewhere: extracts it as the emulator does, without writing, and looks for mistakes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any

from emulator.archives.extraction import examine
from emulator.errors import ArchiveError, SetupError
from localmme.pack.entry import ArchiveEntry
from localmme.pack.mistakes import Mistake, mistakes_in

# Remedies, by a word in the reason why an archive cannot be extracted.
_REMEDIES = {
    "zip file": "Unzip it, and make it anew: localmme pack DIR.",
    "not compressed": "Compress it (gzip FILE), or make it anew: localmme pack DIR.",
    "empty": "Copy it again from where it was made.",
    "truncated": "Copy it again from where it was made.",
    "corrupt": "Copy it again, as binary, from where it was made; if it is so there, make it anew: localmme pack DIR.",
    "bytes": "Make it smaller, or name the volume's size with --storage.",
    " files.": "Put small files together, such as into a zip file.",
    "outside": "Extract it by hand, and make it anew: localmme pack DIR packs what links lead to.",
}
_REMEDY = "Make it anew from the directory with the model's files: localmme pack DIR."


@dataclass
class Verified:
    """An archive that was examined.

    size_bytes: the size of the archive itself.
    entries: its entries, up to the first that cannot be extracted.
    mistakes: what is wrong with it.
    """

    size_bytes: int
    entries: list[ArchiveEntry] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)


def verify(
    archive: Path, *, max_bytes: int, max_files: int, progress: Callable[[int], object] = lambda count: None
) -> Verified:
    """Examine a whole archive.

    ``max_bytes`` and ``max_files`` limit its content. ``progress`` is called with the number of further bytes read.
    Raises SetupError when the file cannot be read.
    """
    with _opened(archive) as file:
        verified, read = Verified(os.fstat(file.fileno()).st_size), 0
        try:
            for member in examine(file, max_bytes=max_bytes, max_files=max_files):
                entry = ArchiveEntry.of_member(member)
                if entry.name:  # tar's "./" is the root
                    verified.entries.append(entry)
                position = file.tell()
                progress(position - read)
                read = position
        except ArchiveError as error:
            verified.mistakes.append(Mistake("extracts", "fail", str(error), _remedy(str(error))))
        else:
            verified.mistakes += mistakes_in(verified.entries)
    if not archive.name.endswith(".tar.gz"):
        verified.mistakes.append(
            Mistake("file-name", "warn", "Its name does not end with .tar.gz, as SageMaker wants it to.", "Rename it.")
        )
    return verified


@contextmanager
def _opened(archive: Path) -> Iterator[BufferedReader[Any]]:
    try:
        with open(archive, "rb") as file:
            yield file
    except OSError as error:
        raise SetupError(f"{archive} cannot be read: {error.strerror}.") from None


def _remedy(reason: str) -> str:
    return next((remedy for word, remedy in _REMEDIES.items() if word in reason), _REMEDY)
