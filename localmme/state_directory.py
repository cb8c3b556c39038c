"""State directories: where they are, which emulator lives in one, and those that are removed with their emulator."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

from emulator.errors import SetupError
from emulator.private_files import private_opener

DEFAULT_URL = "http://127.0.0.1:8080"  # of an emulator without a name
LOCK = "lock"  # held as long as a process of the emulator lives
RECORD = "emulator.json"
REGISTRY = "registry.db"  # what was created through the API
LOG = "serve.log"  # what a serve without a terminal writes
# In a directory that goes with its emulator: held as long as the program lives that the emulator belongs to.
OWNER = "owner"
CONTAINERS_MARK = "engine"  # tells the emulator that the last one there may have left containers on the Docker Engine
LEFTOVERS_SECONDS = 10.0  # for the worker of a killed emulator, which first removes its containers from the engine
PATIENCE_SECONDS = 0.5  # what takes longer is told
LOOK_SECONDS = 0.02

KEPT_RUNS = 10  # of emulators without a name, whose logs can still be read [ours]

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,62}")


@dataclass(frozen=True)
class Record:
    """What an emulator tells of itself to those who look into its state directory."""

    name: str  # of the directory
    url: str
    pid: int  # of its master: the one to send signals to
    since: str  # ISO 8601, UTC
    region: str
    ends_within_seconds: float  # from SIGTERM to the end, at the longest
    state_directory: str


def base() -> Path:
    """Where the state directories are that are known by name."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "localmme"


def named(name: str) -> Path:
    """The state directory of a name. Raises SetupError for what is none."""
    if not NAME.fullmatch(name):
        raise SetupError(f"{name!r} is not a name: use up to 63 letters, digits, hyphens and underscores.")
    return base() / name


def is_held(lock: Path) -> bool:
    """Whether a living process holds this lock file."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is none, or it is not ours
        return False
    return False


def read(directory: Path) -> Record | None:
    """What is known of the emulator that lives there, or lived there last; None = nothing."""
    try:
        return Record(**json.loads(directory.joinpath(RECORD).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def living(directory: Path) -> Record | None:
    """The emulator that lives there now. None also of one that has not opened its port yet."""
    record = read(directory) if is_held(directory / LOCK) else None
    # The lock may be held by one that is so new that the record is still the last one's.
    return record if record is not None and _exists(record.pid) else None


def wait_for_leftovers(directory: Path) -> None:
    """Return once nothing is left there of an emulator whose master was killed; says on stderr that it waits.

    Returns at once when an emulator lives there: whoever tries to lock the directory is told.
    """
    lock, began, told = directory / LOCK, time.monotonic(), False
    while is_held(lock) and living(directory) is None and time.monotonic() < began + LEFTOVERS_SECONDS:
        if not told and time.monotonic() > began + PATIENCE_SECONDS:
            told = True
            print(
                f"Waiting for what is left of a killed emulator to leave {directory} ...", file=sys.stderr, flush=True
            )
        time.sleep(LOOK_SECONDS)


def all_living() -> list[Record]:
    """The emulators that run now and are known by name, in the order of their names."""
    with contextlib.suppress(OSError):
        found = [living(directory) for directory in sorted(base().iterdir())]
        return [record for record in found if record is not None]
    return []


@contextlib.contextmanager
def lived_in(directory: Path, url: str, region: str, ends_within_seconds: float) -> Iterator[None]:
    """Tell who lives there; afterwards remove the directory if its owner has gone and cannot do so.

    One of the places that are known by name is removed as well if nobody ever lived there, and the start has failed.
    """
    master = os.getpid()
    is_new = directory.parent == base() and not directory.joinpath(RECORD).exists()
    since = datetime.now(timezone.utc).isoformat(timespec="seconds")
    record = Record(directory.name, url, master, since, region, ends_within_seconds, str(directory))
    hidden, log = directory / f".{RECORD}", directory / LOG
    try:
        with open(hidden, "w", opener=private_opener) as file:
            file.write(json.dumps(asdict(record)) + "\n")
        hidden.rename(directory / RECORD)
        if log.exists() and not os.path.samestat(log.stat(), os.fstat(2)):  # of one that was detached, earlier
            log.unlink()
    except OSError as error:
        raise SetupError(f"The state directory {directory} cannot be written to: {error.strerror}.") from None
    try:
        yield
    except BaseException as error:
        failed = not isinstance(error, SystemExit) or error.code
        # Of one that was detached, the error is still to be read from its log there.
        if failed and is_new and os.getpid() == master and not log.exists() and not _keeps_records(directory):
            shutil.rmtree(directory, ignore_errors=True)
        raise
    finally:
        # The worker, a fork, leaves through here as well.
        owner = directory / OWNER
        if os.getpid() == master and owner.exists() and not is_held(owner):
            shutil.rmtree(directory, ignore_errors=True)


def tidy(directory: Path) -> None:
    """Remove what emulators without a name have left beside this directory of another one, but for the latest few.

    What was created through the API is kept, and so is what may have left containers on a Docker Engine.
    """
    if directory.parent != base() or not directory.name.isdecimal():
        return
    runs = [path for path in directory.parent.iterdir() if path.name.isdecimal() and path != directory]
    for old in sorted(runs, key=_last_started, reverse=True)[KEPT_RUNS:]:
        with contextlib.suppress(OSError), old.joinpath(LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody can begin to live there meanwhile
            if not old.joinpath(CONTAINERS_MARK).exists() and not _keeps_records(old):
                shutil.rmtree(old, ignore_errors=True)


def is_there(path: Path, descriptor: int) -> bool:
    """Whether an open file still has that path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _last_started(directory: Path) -> float:
    try:
        return directory.joinpath(RECORD).stat().st_mtime
    except OSError:
        return 0.0


def _keeps_records(directory: Path) -> bool:
    """Whether something created through the API is kept there, or may be."""
    file = directory / REGISTRY
    if not file.exists():
        return False
    try:
        with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
            return database.execute("SELECT count(*) FROM records").fetchone()[0] > 0
    except sqlite3.Error:
        return True


def temporary() -> tuple[Path, IO[str]]:
    """A new directory that goes with its emulator, and its owner's lock: to be kept open as long as there is an owner.

    Removes those that were abandoned, when both an emulator and its owner had been killed. Raises SetupError.
    """
    place = Path(tempfile.gettempdir()) / f"localmme-{os.geteuid()}"
    try:
        if not _is_ours(place):
            # Whoever knows the name may have taken it, or made it a link to what is not to be removed.
            directory = Path(tempfile.mkdtemp(prefix="localmme-"))
            return directory, _owned(directory)
        with _alone_in(place):
            directory = _take_abandoned(place) or Path(tempfile.mkdtemp(dir=place, prefix=""))
            return directory, _owned(directory)
    except OSError as error:
        raise SetupError(
            f"No directory can be made in {place}: {error.strerror}. Name a state directory, or set TMPDIR."
        ) from None


def _owned(directory: Path) -> IO[str]:
    """The lock of its owner."""
    owner = open(directory / OWNER, "w", opener=private_opener)  # noqa: SIM115
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
def _alone_in(place: Path) -> Iterator[None]:
    # Between being made and being locked, a new directory looks abandoned.
    descriptor = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _take_abandoned(place: Path) -> Path | None:
    """Remove what was abandoned there, but for a directory whose containers are left: that one, empty, or None.

    An emulator looks for what is left of the containers of its own directory.
    """
    marked = []
    for directory in place.iterdir():
        if is_held(directory / OWNER) or is_held(directory / LOCK):
            continue
        if directory.joinpath(CONTAINERS_MARK).exists():
            marked.append(directory)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    if not marked:
        return None
    for path in marked[0].iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name not in (LOCK, CONTAINERS_MARK):
            path.unlink()
    return marked[0]


def _exists(pid: int) -> bool:
    """Whether it runs; not if it has ended, and its parent has not looked yet."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
