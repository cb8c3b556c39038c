"""Directories and files that no other user of the machine may read or change, whatever the umask."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from emulator.errors import SetupError

OTHERS = 0o077


def private_directory(path: Path) -> None:
    """Make a directory for this user alone, with those above it that are missing; one that is there becomes that.

    Raises OSError, and SetupError for one that others could put things into: it belongs to somebody else, somebody
    else's symbolic link leads to it, or it is shared by everybody, as /tmp is.
    """
    for missing in reversed([each for each in (path, *path.parents) if not os.path.lexists(each)]):
        missing.mkdir(0o700, exist_ok=True)
    link, found = os.lstat(path), os.stat(path)
    if found.st_uid != os.geteuid() or (stat.S_ISLNK(link.st_mode) and link.st_uid not in (0, os.geteuid())):
        raise SetupError(
            f"{path} belongs to another user of this machine, who could read and change what is kept there. "
            "Name another directory, or make it yours."
        )
    if found.st_mode & stat.S_ISVTX:
        raise SetupError(f"{path} is a directory that users share. Name one in it that is yours: {path}/localmme.")
    _tighten(path, found.st_mode, 0o700)


def make_private(path: Path) -> None:
    """The same for a directory inside one that users may share: it is left as it is if it belongs to somebody else."""
    path.mkdir(0o700, parents=True, exist_ok=True)
    found = os.lstat(path)
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
        _tighten(path, found.st_mode, 0o700)


def private_file(path: Path) -> None:
    """See to it that there is a file, which others may not open. Raises OSError."""
    descriptor = private_opener(str(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    os.close(descriptor)


def private_opener(path: str, flags: int) -> int:
    """For ``open(path, mode, opener=private_opener)``. A file that is there, and is this user's, becomes private."""
    descriptor = os.open(path, flags, 0o600)
    found = os.fstat(descriptor)
    if found.st_uid == os.geteuid() and stat.S_ISREG(found.st_mode) and found.st_mode & OTHERS:
        os.fchmod(descriptor, 0o600)
    return descriptor


def _tighten(path: Path, mode: int, wanted: int) -> None:
    if stat.S_IMODE(mode) & (OTHERS | wanted) != wanted:
        os.chmod(path, stat.S_IMODE(mode) & ~OTHERS | wanted)
