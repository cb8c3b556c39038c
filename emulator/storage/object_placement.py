"""Puts a new object's file in its place: makes its directories, and moves the complete file in one step."""

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
    """Make a directory of a key's path. Raises InvalidKey when an object or a link is there; OSError."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InvalidKey(key, "an object has the name of one of its directories") from None
    if os.path.realpath(directory) != str(directory):
        raise InvalidKey(key, "its path leads through a link")


def move_to(incoming: IncomingFile, bucket_directory: Path, place: Path) -> None:
    """Move the file to its place in a bucket's directory; a file there is replaced. Raises OSError."""
    try:
        incoming.moved_to(place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _move_across(incoming, bucket_directory / RESERVED, place)


def remove_empty(directory: Path) -> None:
    """Remove a directory that contains only empty directories. Otherwise raises OSError, and removes nothing."""
    folders = []
    for folder, _, files in os.walk(directory):
        if files or any(os.path.islink(os.path.join(folder, name)) for name in os.listdir(folder)):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
        folders.append(folder)
    for folder in reversed(folders):
        os.rmdir(folder)


def _move_across(incoming: IncomingFile, own: Path, place: Path) -> None:
    """Move to a bucket on another disk, through a hidden directory there, so that the object appears in one step."""
    copy = IncomingFile.create(own)
    try:
        shutil.copyfile(incoming.path, copy.path)
        modified = time_of(incoming.path.stat())
        os.utime(copy.path, ns=(modified, modified))
        copy.moved_to(place)
    finally:
        copy.discard()
    incoming.discard()
