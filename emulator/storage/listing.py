"""A bucket's keys in S3's order, which is that of their UTF-8 bytes, and pages of them."""

from __future__ import annotations

import os
import stat
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cachetools import LRUCache

from emulator.open_files import EXHAUSTED
from emulator.storage.errors import InvalidKey
from emulator.storage.keys import KEY_BYTES, RESERVED, names_of
from emulator.storage.object_records import ObjectAttributes, Version, version_of

KEPT_NAMES = 2000  # fewest names of a directory that are cached: two pages
KEPT_DIRECTORIES = 4
SETTLED_NS = 2_000_000_000  # a file system's times may be that coarse


@dataclass(frozen=True)
class ListedObject:
    """One object in a listing."""

    key: str
    version: Version
    attributes: ObjectAttributes | None = None  # known already, of an object that only real S3 has


@dataclass
class ListingPage:
    """What one call lists; ``last`` is the last key or common prefix of it, None if nothing follows."""

    objects: list[ListedObject] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    last: str | None = None


class DirectoryNames:
    """Caches the names in large directories from one page of a listing to the next, while none is added or removed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: LRUCache[str, tuple[tuple[int, ...], list[str]]] = LRUCache(KEPT_DIRECTORIES)

    def get(self, directory: str) -> list[str] | None:
        """Raises OSError when there is no such directory."""
        with self._lock:
            state, names = self._kept.get(directory, ((), []))
        return names if state and state == _state(directory) else None

    def keep(self, directory: str, state: tuple[int, ...], names: list[str]) -> None:
        """``state`` was read before the names. Not cached if it is recent: the next change may have the same time."""
        if len(names) >= KEPT_NAMES and time.time_ns() - state[0] > SETTLED_NS:
            with self._lock:
                self._kept[directory] = (state, names)


def _state(directory: str) -> tuple[int, ...]:
    found = os.stat(directory)
    return found.st_mtime_ns, found.st_ino, found.st_dev


def _no_marker(_: str) -> Version | None:
    return None


class KeyTree:
    """The keys of a directory, for one listing: each directory is read once. What links are is in object_files."""

    def __init__(
        self,
        directory: Path,
        marker: Callable[[str], Version | None] = _no_marker,
        directory_names: DirectoryNames | None = None,
        *,
        hidden: bool = True,
        holds_buckets: bool = False,
    ) -> None:
        """``marker`` returns the version of a folder marker (``dir/``), None if there is none.

        ``hidden``: also names that begin with a dot. ``holds_buckets``: a link at the top may be a bucket.
        """
        self._directory = directory
        self._marker = marker
        self._directory_names = directory_names or DirectoryNames()
        self._hidden = hidden
        self._holds_buckets = holds_buckets
        self._scanned: dict[str, list[str]] = {}

    def keys(self, prefix: str, after: str, skip: str = "") -> Iterator[ListedObject]:
        """The keys with the prefix that sort after ``after``, in order, without those that start with ``skip``."""
        folder = prefix[: prefix.rfind("/") + 1]
        if folder:
            try:
                names = names_of(folder, holds_buckets=self._holds_buckets)
            except InvalidKey:  # no file can have such a prefix
                return
            path = self._directory.joinpath(*names)
            if os.path.realpath(path) != str(path):
                return
            version = self._marker(folder) if folder == prefix and folder > after else None
            if version and not (skip and folder.startswith(skip)):
                yield ListedObject(folder, version)
        yield from self._below(folder, prefix, after, skip)

    def _below(self, folder: str, prefix: str, after: str, skip: str) -> Iterator[ListedObject]:
        entries = self._entries(folder)
        # No key before these can have the prefix, or come after the last one of the page before.
        firsts = [bound[len(folder) :].partition("/")[0] for bound in (prefix, after) if bound.startswith(folder)]
        for position in range(bisect_left(entries, max(firsts, default="")), len(entries)):
            name = entries[position]
            key = folder + name
            if not key.startswith(prefix) and not prefix.startswith(key):
                if key > prefix:
                    return
                continue
            if skip and key.startswith(skip):
                continue
            if not name.endswith("/"):
                if key > after:
                    try:
                        found = os.stat(f"{self._directory}/{key}")
                    except OSError:  # deleted since, or a link that leads nowhere
                        continue
                    if stat.S_ISREG(found.st_mode):  # a link to a directory is not followed
                        yield ListedObject(key, version_of(found))
            elif key > after or after.startswith(key):
                version = self._marker(key) if key > after and key.startswith(prefix) else None
                if version:
                    yield ListedObject(key, version)
                yield from self._below(key, prefix, after, skip)

    def _entries(self, folder: str) -> list[str]:
        """The names in a directory, in the order of the keys: that of a directory ends with a slash."""
        scanned = self._scanned.get(folder)
        if scanned is None:
            try:
                scanned = self._read(folder)
            except OSError as error:  # deleted since, or not readable
                if error.errno in EXHAUSTED:
                    raise
                scanned = []
            self._scanned[folder] = scanned
        return scanned

    def _read(self, folder: str) -> list[str]:
        directory = f"{self._directory}/{folder}"
        kept = self._directory_names.get(directory)
        if kept is not None:
            return kept
        state = _state(directory)
        with os.scandir(directory) as entries:
            names = sorted(filter(None, (self._name(folder, entry) for entry in entries)))
        self._directory_names.keep(directory, state, names)
        return names

    def _name(self, folder: str, entry: os.DirEntry[str]) -> str:
        """The name as in the key; empty for what is not an object."""
        name = entry.name
        if name.startswith(".") and not self._hidden:
            return ""
        if name == RESERVED and folder.count("/") <= self._holds_buckets:
            return ""
        try:
            if len((folder + name).encode()) > KEY_BYTES:
                return ""
        except UnicodeEncodeError:  # not UTF-8, so in no key
            return ""
        if entry.is_symlink() and not (self._holds_buckets and not folder and entry.is_dir()):
            return name  # whatever it leads to when its turn comes
        if entry.is_dir():
            return name + "/"
        return name if entry.is_file() else ""


def list_page(tree: KeyTree, prefix: str, delimiter: str, after: str, limit: int) -> ListingPage:
    """At most ``limit`` keys and common prefixes that sort after ``after``, as S3 defines them. [api]

    The common prefix of ``after`` itself sorts before it, and with it go all its keys. [reports]
    """
    result, last = ListingPage(), ""
    keys = tree.keys(prefix, after, _common_prefix(after, prefix, delimiter) if after.startswith(prefix) else "")
    while True:
        found = next(keys, None)
        if found is None:
            return result
        if len(result.objects) + len(result.prefixes) == limit:
            result.last = last
            return result
        common = _common_prefix(found.key, prefix, delimiter)
        last = common or found.key
        if common:
            result.prefixes.append(common)
            keys = tree.keys(prefix, common, skip=common)  # all other keys with it are in it as well
        else:
            result.objects.append(found)


def _common_prefix(key: str, prefix: str, delimiter: str) -> str:
    """The common prefix that a key with ``prefix`` is listed as; empty if it is listed itself."""
    end = key.find(delimiter, len(prefix)) if delimiter else -1
    return key[: end + len(delimiter)] if end >= 0 else ""


def merged(first: ListingPage, second: ListingPage, limit: int) -> ListingPage:
    """A page of what both list after the same key, each up to ``limit``; of one key, what ``first`` has.

    Where one of them is truncated, the other has names after its last one, which are for the next page.
    """
    objects = {one.key: one for page in (second, first) for one in page.objects}
    prefixes = {*first.prefixes, *second.prefixes}
    ends = [page.last for page in (first, second) if page.last is not None]
    names = sorted({*objects, *prefixes})
    listed = [name for name in names if not ends or name <= min(ends)][:limit]
    result = ListingPage(
        [objects[name] for name in listed if name not in prefixes], [name for name in listed if name in prefixes]
    )
    if len(names) > limit or ends:
        result.last = listed[-1] if listed else None
    return result
