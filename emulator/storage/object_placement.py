"""A new object goes to its place on the disk: its directories are made, and its file is there at once and whole."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from emulator.storage.errors import InvalidKey
from emulator.storage.incoming_file import IncomingFile
from emulator.storage.keys import RESERVED
from emulator.storage.object_records import time_of


def make_directory(key: str, directory: Path) -> None:
    """A directory that a key leads through. Raises InvalidKey when that is an object, or a link; OSError."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InvalidKey(key, "an object has the name of one of its directories") from None
    if os.path.realpath(directory) != str(directory):
        raise InvalidKey(key, "its path leads through a link")


def move_to(incoming: IncomingFile, bucket_directory: Path, place: Path) -> None:
    """The file is at its place in a bucket's directory, and replaces what was there. Raises OSError."""
    try:
        incoming.moved_to(place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _move_across(incoming, bucket_directory / RESERVED, place)


def remove_empty(directory: Path) -> None:
    """Remove a directory that holds nothing but empty directories. Raises OSError, and removes nothing, if it does."""
    folders = []
    for folder, _, files in os.walk(directory):
        if files or any(os.path.islink(os.path.join(folder, name)) for name in os.listdir(folder)):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
        folders.append(folder)
    for folder in reversed(folders):
        os.rmdir(folder)


def _move_across(incoming: IncomingFile, own: Path, place: Path) -> None:
    """To a bucket on another disk: by way of a hidden directory there, so that the object is there at once."""
    copy = IncomingFile.create(own)
    try:
        shutil.copyfile(incoming.path, copy.path)
        modified = time_of(incoming.path.stat())
        os.utime(copy.path, ns=(modified, modified))
        copy.moved_to(place)
    finally:
        copy.discard()
    incoming.discard()
