"""Which file an object's key is, and which keys cannot be one.

A key is the path of its file below the bucket's directory, letter by letter. No key reaches outside:
``.``, ``..`` and empty segments are refused, links to directories are not followed, and a link to a
file counts only while it stays inside of the bucket.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from emulator.service.s3.errors import S3Error, invalid_bucket_name, key_too_long, key_unusable

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
        raise invalid_bucket_name(name, f"The emulator serves something else at /{name}/.")
    if not NEW_BUCKET.fullmatch(name) or ".." in name or ADDRESS.fullmatch(name):
        raise invalid_bucket_name(name)


def is_bucket_name(name: str) -> bool:
    """Whether a directory of this name can be asked for as a bucket."""
    return ANY_BUCKET.fullmatch(name) is not None


def segments(key: str) -> list[str]:
    """The names that lead to the key's file; to its directory, if the key is a folder marker (``dir/``).

    Raises KeyTooLongError or InvalidArgument for keys that cannot be a file.
    """
    size = len(key.encode("utf-8", "surrogatepass"))
    if size > KEY_BYTES:
        raise key_too_long(size, KEY_BYTES)
    names = key.removesuffix("/").split("/")
    for name in names:
        if not name:
            raise key_unusable(key, "a part between slashes is empty")
        if name in (".", ".."):
            raise key_unusable(key, f"{name} is not a name")
        if "\0" in name:
            raise key_unusable(key, "it contains a zero byte")
        if len(name.encode("utf-8", "surrogatepass")) > SEGMENT_BYTES:
            raise key_unusable(key, f"a part between slashes is longer than {SEGMENT_BYTES} bytes")
    if names[0] == RESERVED:
        raise key_unusable(key, f"{RESERVED} is where the emulator keeps its own files")
    return names


def existing(directory: Path, key: str) -> Path | None:
    """The file or directory that may be this key's, below a bucket's directory without links; None if there is none."""
    try:
        names = segments(key)
    except S3Error:
        return None
    path = directory.joinpath(*names)
    if os.path.realpath(path.parent) != str(path.parent):
        return None
    return path if stays_inside(directory, path) else None


def stays_inside(directory: Path, path: Path) -> bool:
    """Whether a path in the bucket is there, and is no link that leads out of it, nor one to a directory."""
    if path.is_symlink():
        target = os.path.realpath(path)
        return target.startswith(f"{directory}{os.sep}") and os.path.isfile(target)
    return os.path.lexists(path)


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
