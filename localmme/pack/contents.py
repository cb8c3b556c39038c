"""Which files are packed: all below a directory, links followed, in an order that is always the same; or one file."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from emulator.archives.extraction import DEPTH, NAMES_BYTES
from emulator.archives.left_out import is_left_out
from emulator.sizes import format_size
from localmme.pack.entry import ArchiveEntry
from localmme.pack.mistakes import Mistake, first_names, mistakes_in

_NAME_BYTES = 3000  # [ours] the system allows paths of 4,096 bytes, and a model is extracted below a path of its own

# What can be wrong with a path: name -> verdict, what the message says of such paths, what to do.
_PROBLEMS = {
    "unreadable": ("fail", "This cannot be read", "Change its permissions or its owner."),
    "broken-links": ("fail", "These links lead nowhere", "Delete them, or put there what they lead to."),
    "endless-links": ("fail", "These links lead to a directory that they are in", "Delete them."),
    "special-files": ("fail", "These are devices, pipes or sockets", "Delete them: an archive holds files."),
    "names": ("fail", "These names are not UTF-8, or too long", "Rename them."),
    "depth": ("fail", f"These are more than {DEPTH} directories deep", "Move them up."),
    "outside-links": (
        "warn",
        "These links lead out of the directory",
        "What is there is packed: make sure that it belongs to the model.",
    ),
}


@dataclass
class Contents:
    """The entries to pack, and the mistakes among them.

    root: the directory that the paths of the entries are below.
    added: the content of files that are packed and not there.
    entries: files and directories, each directory before what is in it.
    left_out: paths that are not packed, as they are no part of a model.
    mistakes: the archive must not be written if the verdict of one of them is "fail".
    """

    root: Path
    added: Mapping[str, bytes] = field(default_factory=dict)
    entries: list[ArchiveEntry] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        """The size of all files, unpacked."""
        return sum(entry.size_bytes for entry in self.entries)


def contents_of(source: Path, *, max_bytes: int, max_files: int, added: Mapping[str, bytes] | None = None) -> Contents:
    """Examine a directory, or one file, without reading the content of files.

    ``max_bytes`` and ``max_files`` are the limits with which the archive will be extracted. ``added``: files to put
    into the archive besides, by their paths; none of them is there.
    """
    walk = _Walk(source if source.is_dir() else source.parent, max_files, added or {})
    with suppress(_TooMany):
        if source.is_dir():
            walk.enter("", ())
        else:
            walk.take_named(source.name)
        walk.add()
    found = walk.found
    found.mistakes = [*walk.problems(), *too_large(found.size_bytes, max_bytes), *mistakes_in(found.entries)]
    return found


def too_large(size_bytes: int, max_bytes: int) -> list[Mistake]:
    """The mistake that the files do not fit onto the storage volume; empty if they fit."""
    if size_bytes <= max_bytes:
        return []
    detail = f"It unpacks to {format_size(size_bytes)}; the storage volume has {format_size(max_bytes)}."
    return [Mistake("size", "fail", detail, "Make it smaller, or name the volume's size with --storage.")]


class _TooMany(Exception):
    """More files than an archive may hold: the walk ends."""


class _Walk:
    def __init__(self, directory: Path, max_files: int, added: Mapping[str, bytes]) -> None:
        self._root = os.path.realpath(directory)
        self._max_files = max_files
        self._names_left = NAMES_BYTES
        self._wrong: defaultdict[str, list[str]] = defaultdict(list)  # paths, by what is wrong with them
        self._too_many = False
        self.found = Contents(Path(self._root), added)

    def problems(self) -> list[Mistake]:
        """The mistakes that the walk has found."""
        mistakes = []
        for name, paths in self._wrong.items():
            verdict, what, remedy = _PROBLEMS[name]
            mistakes.append(Mistake(name, verdict, f"{what}: {first_names(paths)}.", remedy))  # type: ignore[arg-type]
        if self._too_many:
            detail = f"There are more than {self._max_files} files, or their names are too long together."
            mistakes.append(Mistake("files", "fail", detail, "Put small files together, such as into a zip file."))
        return mistakes

    def take_named(self, name: str) -> None:
        """Add one file of the directory. It may be a link that leads out of it: this very file was named."""
        self._take(name, ())
        self._wrong.pop("outside-links", None)

    def add(self) -> None:
        """Add the files that are not there, and their directories, in their places in the order."""
        present = {entry.name for entry in self.found.entries}
        for name, content in self.found.added.items():
            above = name.rpartition("/")[0]
            if above and above not in present:
                present.add(above)
                self._add(ArchiveEntry(above, "directory", mode=0o755))
            self._add(ArchiveEntry(name, "file", len(content)))
        self.found.entries.sort(key=lambda entry: [os.fsencode(step) for step in entry.name.split("/")])

    def enter(self, directory: str, above: tuple[tuple[int, int], ...]) -> None:
        """Add the content of a directory. ``above``: device and inode number of each directory that it is in."""
        path = os.path.join(self._root, directory)
        try:
            status = os.stat(path)
            if (status.st_dev, status.st_ino) in above:
                self._wrong["endless-links"].append(directory)
                return
            # The order of bytes depends on neither the locale nor the file system.
            names = sorted(os.listdir(path), key=os.fsencode)
        except OSError:
            self._wrong["unreadable"].append(directory or self._root)
            return
        for name in names:
            self._take(f"{directory}/{name}" if directory else name, (*above, (status.st_dev, status.st_ino)))

    def _take(self, name: str, above: tuple[tuple[int, int], ...]) -> None:
        path = os.path.join(self._root, name)
        try:
            status = os.stat(path)
        except OSError:
            self._wrong["broken-links" if os.path.islink(path) else "unreadable"].append(name)
            return
        is_directory = stat.S_ISDIR(status.st_mode)
        if is_left_out(name, is_directory=is_directory):
            self.found.left_out.append(name)
            return
        if not self._is_name(name):
            return
        if os.path.islink(path) and os.path.commonpath([self._root, os.path.realpath(path)]) != self._root:
            self._wrong["outside-links"].append(name)
        if is_directory:
            self._add(ArchiveEntry(name, "directory", mode=0o755))
            self.enter(name, above)
        elif not stat.S_ISREG(status.st_mode):
            self._wrong["special-files"].append(name)
        elif not os.access(path, os.R_OK):
            self._wrong["unreadable"].append(name)
        else:
            mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
            self._add(ArchiveEntry(name, "file", status.st_size, mode))

    def _is_name(self, name: str) -> bool:
        """Whether a path can be extracted everywhere."""
        try:
            length = len(name.encode())
        except UnicodeEncodeError:
            length = _NAME_BYTES + 1
        if length > _NAME_BYTES:
            self._wrong["names"].append(name)
        elif name.count("/") >= DEPTH:
            self._wrong["depth"].append(name)
        else:
            return True
        return False

    def _add(self, entry: ArchiveEntry) -> None:
        self._names_left -= len(entry.name)
        if len(self.found.entries) == self._max_files or self._names_left < 0:
            self._too_many = True
            raise _TooMany
        self.found.entries.append(entry)
