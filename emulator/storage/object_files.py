"""Finds the file of a key. S3's objects and the archives of models are the same files.

Links to directories are not followed. A link to a file is an object, wherever that file is: who made the link wanted
it there, and S3 can make none. Nothing is ever written through a link: a new object takes its place. A bucket itself
may be a link, so that in a directory which may hold buckets (``holds_buckets``) one at the top may lead to a directory.

A key is its file's name letter by letter, also where a file system takes a for A, or two ways to write é for one.
"""

from __future__ import annotations

import errno
import os
import stat
import unicodedata
from pathlib import Path
from typing import BinaryIO

from emulator.open_files import EXHAUSTED
from emulator.storage.errors import InvalidKey, NoSuchKey
from emulator.storage.keys import is_bucket_name, names_of
from emulator.storage.object_records import Version, version_of


def is_bucket(root: Path, name: str) -> bool:
    """Whether ``root`` has a bucket of that name: a directory, or a link to one."""
    return is_bucket_name(name) and (root / name).is_dir() and not is_spelled_otherwise(root, [name])


def existing(directory: Path, key: str, *, holds_buckets: bool = False) -> Path | None:
    """The file or directory that may be this key's, below a directory without links; None if there is none."""
    try:
        names = names_of(key, holds_buckets=holds_buckets)
    except InvalidKey:
        return None
    start, rest = directory, names
    if holds_buckets and len(names) > 1:
        start, rest = Path(os.path.realpath(directory / names[0])), names[1:]
    path = start.joinpath(*rest)
    if os.path.realpath(path.parent) != str(path.parent):
        return None
    if path.is_symlink() and not path.is_file():
        return None
    return path if os.path.lexists(path) and not is_spelled_otherwise(directory, names) else None


def existing_directory(directory: Path, key: str, *, holds_buckets: bool = False) -> Path | None:
    """The directory at a key's place, without links; None if there is none. Where it may be a bucket, a link leads to
    it as to a bucket."""
    if holds_buckets and is_bucket(directory, key):
        return Path(os.path.realpath(directory / key))
    found = existing(directory, key, holds_buckets=holds_buckets)
    return found if found is not None and found.is_dir() else None


def stat_file(directory: Path, key: str, *, holds_buckets: bool = False) -> os.stat_result:
    """The status of the key's file. Raises NoSuchKey."""
    path = None if key.endswith("/") else existing(directory, key, holds_buckets=holds_buckets)
    try:
        found = os.stat(path) if path is not None else None
    except OSError:
        found = None
    if found is None or not stat.S_ISREG(found.st_mode):
        raise NoSuchKey(key)
    return found


def is_object(directory: Path, key: str) -> bool:
    """Whether an object of this key exists."""
    try:
        stat_file(directory, key)
    except NoSuchKey:
        return False
    return True


def open_file(directory: Path, key: str, *, holds_buckets: bool = False) -> BinaryIO:
    """The key's file, for reading. Raises NoSuchKey; OSError when it may not be read, or too many are open."""
    path = None if key.endswith("/") else existing(directory, key, holds_buckets=holds_buckets)
    if path is None:
        raise NoSuchKey(key)
    try:
        file = _opened(path)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, *EXHAUSTED):
            raise
        raise NoSuchKey(key) from None
    if file is None:
        raise NoSuchKey(key)
    return file


def is_spelled_otherwise(directory: Path, names: list[str]) -> bool:
    """Whether the file system treats these names as other names that exist."""
    for name in names:
        if not os.path.lexists(directory / name):
            return False
        others = (directory / other for other in _spellings(name))
        if any(map(os.path.lexists, others)) and name not in os.listdir(directory):
            return True
        directory = directory / name
    return False


def _spellings(name: str) -> set[str]:
    """A form that is equal for names which some file systems do not distinguish."""
    swapped = "".join(other if len(other := letter.swapcase()) == 1 else letter for letter in name)
    return {swapped, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)} - {name}


class KeyPaths:
    """Where the files of many keys of a bucket are: that no link leads to a folder is looked at once.

    For keys that files are known or were listed by, folder markers apart.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = os.path.realpath(directory)
        self._folders: dict[str, bool] = {}

    def version(self, key: str) -> Version | None:
        """The status of the key's file now; None if it does not exist."""
        path = self._path(key)
        try:
            found = os.stat(path) if path is not None else None
        except OSError:
            return None
        return version_of(found) if found is not None and stat.S_ISREG(found.st_mode) else None

    def open(self, key: str) -> BinaryIO | None:
        """The file, for reading. Raises OSError when it may not be read."""
        path = self._path(key)
        try:
            return _opened(path) if path is not None else None
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _path(self, key: str) -> str | None:
        path = f"{self._directory}/{key}"
        folder = path.rpartition("/")[0]
        direct = self._folders.get(folder)
        if direct is None:
            direct = self._folders[folder] = os.path.realpath(folder) == folder
        return path if direct else None


def _opened(path: Path | str) -> BinaryIO | None:
    """The opened file; None for what is not a file. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a named pipe would wait for its writer
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return os.fdopen(descriptor, "rb", buffering=0)
