"""The state directories of a user's emulators: named ones, and temporary ones that are removed with their emulator."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from emulator.errors import SetupError
from emulator.private_files import private_opener
from emulator.state_directory import EmulatorRecord, StateDirectory, is_locked

KEPT_RUNS = 10  # state directories of unnamed emulators to keep, for their logs [ours]
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,62}")

# Those known by name


def base() -> Path:
    """The directory of all named state directories."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "localmme"


def named(name: str) -> StateDirectory:
    """The state directory with that name. Raises SetupError for an invalid name."""
    if not NAME.fullmatch(name):
        raise SetupError(f"{name!r} is not a name: use up to 63 letters, digits, hyphens and underscores.")
    return StateDirectory(base() / name)


def of_port(port: int) -> StateDirectory:
    """The state directory of an unnamed emulator, whose name is its port."""
    return StateDirectory(base() / str(port))


def is_known_by_name(directory: StateDirectory) -> bool:
    """Whether other commands can find its emulator by name."""
    return directory.path.parent == base()


def all_known() -> list[StateDirectory]:
    """All named state directories, sorted, whether or not an emulator uses them."""
    try:
        return [StateDirectory(path) for path in sorted(base().iterdir())]
    except OSError:
        return []


def all_living() -> list[EmulatorRecord]:
    """The running emulators with names, sorted."""
    return [record for directory in all_known() if (record := directory.living_emulator()) is not None]


def living_at(url: str) -> EmulatorRecord | None:
    """The running emulator with a name that has this address."""
    wanted = urlsplit(url)
    for record in all_living():
        there = urlsplit(record.url)
        if wanted.port == there.port and wanted.hostname in (there.hostname, "localhost"):
            return record
    return None


def tidy(directory: StateDirectory) -> None:
    """Remove directories of unnamed emulators beside this one, except the latest few.

    What was created through the API is kept, and so is what may have left containers on a Docker Engine.
    """
    if not is_known_by_name(directory) or not directory.path.name.isdecimal():
        return
    runs = [each for each in all_known() if each.path.name.isdecimal() and each.path != directory.path]
    for old in sorted(runs, key=_last_started, reverse=True)[KEPT_RUNS:]:
        with contextlib.suppress(OSError), old.lock.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody can begin to live there meanwhile
            if not old.may_have_containers() and not old.keeps_api_records():
                old.remove()


def _last_started(directory: StateDirectory) -> float:
    try:
        return directory.record_file.stat().st_mtime
    except OSError:
        return 0.0


# Temporary ones


def make_temporary() -> tuple[StateDirectory, IO[str]]:
    """A new directory that is removed with its emulator, and its owner's lock, to be kept open while the owner runs.

    Removes those that were abandoned, when both an emulator and its owner had been killed. Raises SetupError.
    """
    place = Path(tempfile.gettempdir()) / f"localmme-{os.geteuid()}"
    try:
        if not _is_ours(place):
            # Whoever knows the name may have taken it, or made it a link to what is not to be removed.
            directory = StateDirectory(Path(tempfile.mkdtemp(prefix="localmme-")))
            return directory, _lock_as_owner(directory)
        with alone_in(place):
            directory = _take_abandoned(place) or StateDirectory(Path(tempfile.mkdtemp(dir=place, prefix="")))
            return directory, _lock_as_owner(directory)
    except OSError as error:
        raise SetupError(
            f"No directory can be made in {place}: {error.strerror}. Name a state directory, or set TMPDIR."
        ) from None


def _lock_as_owner(directory: StateDirectory) -> IO[str]:
    """The lock of the program that owns a temporary directory."""
    owner = open(directory.owner_lock, "w", opener=private_opener)  # noqa: SIM115
    fcntl.flock(owner, fcntl.LOCK_EX)
    return owner


def _is_ours(place: Path) -> bool:
    """Whether it is this user's own directory, private from now on. Raises OSError when there can be none."""
    with contextlib.suppress(FileExistsError):
        place.mkdir(0o700)
    # Looked at by a descriptor, which a link that takes its place cannot change.
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            return False
        os.fchmod(descriptor, 0o700)
        return True
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def alone_in(place: Path) -> Iterator[None]:
    """Have a directory to oneself: between being made and being locked, a new one in it looks abandoned."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _take_abandoned(place: Path) -> StateDirectory | None:
    """Remove what was abandoned there. A directory whose containers are left is emptied and returned; else None.

    An emulator looks for what is left of the containers of its own directory.
    """
    marked = []
    for directory in map(StateDirectory, place.iterdir()):
        if is_locked(directory.owner_lock) or directory.is_in_use():
            continue
        if directory.may_have_containers():
            marked.append(directory)
        else:
            directory.remove()
    if not marked:
        return None
    taken = marked[0]
    for path in taken.path.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path not in (taken.lock, taken.engine_mark):
            path.unlink()
    return taken
