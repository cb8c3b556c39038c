"""The rules for names of buckets and keys, and the path from a bucket to a key's file.

A key is the path of its file below the bucket's directory, letter by letter. No key leads outside: ``.``, ``..`` and
empty parts between slashes are refused. What links are is in object_files.
"""

from __future__ import annotations

import re

from emulator.storage.errors import InvalidBucketName, InvalidKey, KeyTooLong, NameTooLong

KEY_BYTES = 1024  # [api] of a key in UTF-8
NAME_BYTES = 255  # what file systems hold as one name
RESERVED = ".localmme"  # the store's own files: beside the buckets, or at the top of one on a disk of its own

# [api] the rules for new buckets in all regions
NEW_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
# All that SDKs are willing to ask for, except that none begins with a dot: as a directory, .. would be the one above.
# New buckets have stricter names; old ones, those of other servers and directories made by hand may not.
BUCKET = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}")
# Paths of the emulator's other services: a bucket of such a name would be ambiguous.
TAKEN = {"endpoints"}
ARCHIVE = ".tar.gz"  # a directory of such a name is served as that model's archive, and may not be one of two


def is_bucket_name(name: str) -> bool:
    """Whether a directory with this name can be a bucket."""
    return BUCKET.fullmatch(name) is not None


def check_new_bucket(name: str) -> None:
    """Raises InvalidBucketName unless S3 and this emulator allow a bucket of this name."""
    if name in TAKEN:
        raise InvalidBucketName(name, f"The emulator serves something else at /{name}/.")
    if name.endswith(ARCHIVE):
        raise InvalidBucketName(name, f"A directory NAME{ARCHIVE} stands for a model's archive.")
    if not NEW_BUCKET.fullmatch(name) or ".." in name or ADDRESS.fullmatch(name):
        raise InvalidBucketName(name)


def can_be_created(bucket: str) -> bool:
    """Whether S3 and this emulator allow a new bucket of this name."""
    try:
        check_new_bucket(bucket)
    except InvalidBucketName:
        return False
    return True


def names_of(key: str, *, holds_buckets: bool = False) -> list[str]:
    """The names that lead to the key's file; to its directory, if the key is a folder marker (``dir/``).

    ``holds_buckets``: the first name may be a bucket's. Raises InvalidKey for keys that cannot be a file here.
    """
    names = path_names(key.removesuffix("/"))
    if RESERVED in names[: 2 if holds_buckets else 1]:
        raise InvalidKey(key, f"{RESERVED} is where the emulator keeps its own files")
    return names


def path_names(key: str) -> list[str]:
    """The names of files between the slashes of a key, wherever they are. Raises InvalidKey."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise InvalidKey(key, "it is not UTF-8") from None
    if size > KEY_BYTES:
        raise KeyTooLong(key, f"it is longer than {KEY_BYTES} bytes", size, KEY_BYTES)
    names = key.split("/")
    for name in names:
        if not name:
            raise InvalidKey(key, "a part between slashes is empty")
        if name in (".", ".."):
            raise InvalidKey(key, f"a part between slashes is {name!r}")
        if "\0" in name:
            raise InvalidKey(key, "it contains a zero byte")
        if len(name.encode()) > NAME_BYTES:
            raise NameTooLong(key, f"a part between slashes is longer than {NAME_BYTES} bytes")
    return names
