"""Which file an object's key is, and which keys cannot be one.

A key is the path of its file below the bucket's directory, letter by letter. No key leads outside by itself:
``.``, ``..`` and empty segments are refused, and links to directories are not followed. A link to a file is an
object, wherever that file is: who made the link wanted it there, and S3 can make none. Nothing is ever written
through a link: a new object takes its place.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

from emulator.storage.errors import InvalidBucketName, InvalidKey, KeyTooLong, NameTooLong
from emulator.storage.object_records import Version, version_of

KEY_BYTES = 1024  # [api] of a key in UTF-8
SEGMENT_BYTES = 255  # what file systems hold as one name
RESERVED = ".localmme"  # the store's own files: beside the buckets, or at the top of one on a disk of its own

# [api] the rules for new buckets in all regions
NEW_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
# Directories made by hand: all that SDKs are willing to ask for.
ANY_BUCKET = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}")
# Paths of the emulator's other services, which a bucket of that name could not be told from.
TAKEN = {"endpoints"}


def check_new_bucket(name: str) -> None:
    """Raise InvalidBucketName unless S3, and this emulator, let a bucket have this name."""
    if name in TAKEN:
        raise InvalidBucketName(name, f"The emulator serves something else at /{name}/.")
    if not NEW_BUCKET.fullmatch(name) or ".." in name or ADDRESS.fullmatch(name):
        raise InvalidBucketName(name)


def is_bucket(root: Path, name: str) -> bool:
    """Whether there is a bucket of that name below ``root``: a directory, or a link to one."""
    return ANY_BUCKET.fullmatch(name) is not None and (root / name).is_dir()


def segments(key: str) -> list[str]:
    """The names that lead to the key's file; to its directory, if the key is a folder marker (``dir/``).

    Raises InvalidKey for keys that cannot be a file.
    """
    size = len(key.encode("utf-8", "surrogatepass"))
    if size > KEY_BYTES:
        raise KeyTooLong(key, f"it is longer than {KEY_BYTES} bytes", size, KEY_BYTES)
    names = key.removesuffix("/").split("/")
    for name in names:
        if not name:
            raise InvalidKey(key, "a part between slashes is empty")
        if name in (".", ".."):
            raise InvalidKey(key, f"{name} is not a name")
        if "\0" in name:
            raise InvalidKey(key, "it contains a zero byte")
        if len(name.encode("utf-8", "surrogatepass")) > SEGMENT_BYTES:
            raise NameTooLong(key, f"a part between slashes is longer than {SEGMENT_BYTES} bytes")
    if names[0] == RESERVED:
        raise InvalidKey(key, f"{RESERVED} is where the emulator keeps its own files")
    return names


def existing(directory: Path, key: str) -> Path | None:
    """The file or directory that may be this key's, below a bucket's directory without links; None if there is none."""
    try:
        names = segments(key)
    except InvalidKey:
        return None
    path = directory.joinpath(*names)
    if os.path.realpath(path.parent) != str(path.parent):
        return None
    if path.is_symlink() and not path.is_file():
        return None
    return path if os.path.lexists(path) else None


class KeyPaths:
    """Where the files of many keys of a bucket are: that no link leads to a folder is looked at once.

    For keys that files are known or were listed by, folder markers apart.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = os.path.realpath(directory)
        self._folders: dict[str, bool] = {}

    def version(self, key: str) -> Version | None:
        """Of the file that is there now; None if there is none."""
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
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK) if path else -1  # a pipe would wait for its writer
        except (FileNotFoundError, NotADirectoryError):
            return None
        if descriptor >= 0 and not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            return None
        return os.fdopen(descriptor, "rb", buffering=0) if descriptor >= 0 else None

    def _path(self, key: str) -> str | None:
        path = f"{self._directory}/{key}"
        folder = path.rpartition("/")[0]
        direct = self._folders.get(folder)
        if direct is None:
            direct = self._folders[folder] = os.path.realpath(folder) == folder
        return path if direct else None


def is_spelled_so(directory: Path, key: str) -> bool:
    """Whether the names on the disk are the key's letter by letter, where a file system takes a for A."""
    for name in segments(key):
        try:
            if name not in os.listdir(directory):
                return False
        except OSError:
            return False
        directory = directory / name
    return True
