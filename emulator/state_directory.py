"""An emulator's state directory: every name in it, and which emulator uses it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from emulator.errors import SetupError
from emulator.private_files import private_directory, private_opener

DEFAULT_PORT = 8080
DEFAULT_URL = f"http://127.0.0.1:{DEFAULT_PORT}"  # of an emulator without a name
# For the worker of a killed emulator, which first removes its containers from the Docker Engine. [ours]
LEFTOVERS_SECONDS = 15.0
PATIENCE_SECONDS = 0.5  # a wait that is longer is reported
POLL_SECONDS = 0.02
# Another emulator that starts takes the lock for a moment, to see whether this directory's emulator has gone.
LOCK_SECONDS = 0.2
# [ours] A program that dies ends its emulator by a pipe; its lock may go a moment later, when the machine is busy.
OWNER_SECONDS = 0.5


@dataclass(frozen=True)
class EmulatorRecord:
    """What an emulator writes about itself, for those who look into its state directory."""

    name: str  # of the directory
    url: str
    pid: int  # of its master: the one to send signals to
    since: str  # ISO 8601, UTC
    region: str
    ends_within_seconds: float  # from SIGTERM to the end, at the longest
    state_directory: str

    @property
    def directory(self) -> StateDirectory:
        """The directory that this is the record of."""
        return StateDirectory(Path(self.state_directory))


class StateDirectory:
    """Where an emulator keeps its files. Nothing is read or written before a method is called."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = path / "lock"  # held as long as a process of the emulator lives
        self.record_file = path / "emulator.json"
        self.registry = path / "registry.db"  # what was created through the API
        self.serve_log = path / "serve.log"  # what a serve without a terminal writes
        self.console_token = path / "console-token"  # what a request for an action on the running emulator has to say
        self.container_logs = path / "logs"
        self.recordings = path / "recordings"  # those that were begun from the page
        self.instances = path / "instances"  # the instances' disks, while they are hosted
        self.commands = path / "bin"  # programs that `localmme env` puts in front of others on the PATH
        # In a directory that is removed with its emulator: held as long as the program lives that started it.
        self.owner_lock = path / "owner"
        self.owner_stops = path / "owner-stops"  # made by an owner that stops its emulator
        # There while the emulator may have containers on a Docker Engine, whose address it holds.
        self.engine_mark = path / "engine"

    # Which emulator uses it

    def record(self) -> EmulatorRecord | None:
        """The record of the emulator that uses it, or used it last; None = no emulator has."""
        try:
            return EmulatorRecord(**json.loads(self.record_file.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def is_in_use(self) -> bool:
        """Whether a process of an emulator uses it."""
        return is_locked(self.lock)

    def living_emulator(self) -> EmulatorRecord | None:
        """The emulator that uses it now. None also for one that has not opened its port yet."""
        record = self.record() if self.is_in_use() else None
        # The lock may be held by one that is so new that the record is still the last one's.
        return record if record is not None and _runs(record.pid) else None

    def wait_for_leftovers(self) -> None:
        """Return once nothing is left there of an emulator whose master was killed; says on stderr that it waits.

        Returns at once when an emulator uses it: ``take`` then refuses.
        """
        began, reported = time.monotonic(), False
        while self.is_in_use() and self.living_emulator() is None and time.monotonic() < began + LEFTOVERS_SECONDS:
            if not reported and time.monotonic() > began + PATIENCE_SECONDS:
                reported = True
                print(
                    f"Waiting for what is left of a killed emulator to leave {self.path} ...",
                    file=sys.stderr,
                    flush=True,
                )
            time.sleep(POLL_SECONDS)

    # Living there

    def take(self) -> None:
        """Make the directory, and lock it until the last process of this emulator ends, however it ends.

        Raises SetupError when another emulator uses it, or when it cannot be made or is not private.
        """
        try:
            self._lock()
        except OSError as error:
            raise SetupError(
                f"The state directory {self.path} cannot be used: {error.strerror}. Name another with --state-dir."
            ) from None

    def _lock(self) -> None:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            private_directory(self.path)
            descriptor = os.open(self.lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(descriptor, self.lock):
                    return
                os.close(descriptor)  # another emulator was just tidying up
            except BlockingIOError:
                os.close(descriptor)
                if time.monotonic() > deadline:
                    raise SetupError(
                        f"Another emulator uses the state directory {self.path}. "
                        "Stop it, or name another with --state-dir."
                    ) from None
            time.sleep(LOCK_SECONDS / 20)

    @contextlib.contextmanager
    def occupied(self, url: str, region: str, ends_within_seconds: float, *, discard_failed: bool) -> Iterator[None]:
        """Write the record; afterwards remove the directory if its owner has gone and cannot do so.

        With ``discard_failed``, it is removed as well if nobody ever lived there, and the start has failed. Raises
        SetupError when it cannot be written to.
        """
        is_new = not self.record_file.exists()
        owner_seconds = OWNER_SECONDS
        self._write_record(url, region, ends_within_seconds)
        try:
            yield
        except BaseException as error:
            failed = not isinstance(error, SystemExit) or error.code
            # The error of one that was detached is still to be read from its log there.
            discarded = discard_failed and is_new and not self.serve_log.exists() and not self.keeps_api_records()
            if failed:
                owner_seconds = 0.0  # not the owner's death ended it: the owner waits for the error
                if discarded:
                    self.remove()
            raise
        finally:
            if self.owner_lock.exists() and self._owner_is_gone(owner_seconds):
                self.remove()

    def _owner_is_gone(self, seconds: float) -> bool:
        """Whether the program that owns the directory has died, or does so within that time.

        One that stops its emulator removes the directory itself, and is not waited for.
        """
        deadline = time.monotonic() + seconds
        while is_locked(self.owner_lock):
            if self.owner_stops.exists() or time.monotonic() > deadline:
                return False
            time.sleep(OWNER_SECONDS / 20)
        return True

    def _write_record(self, url: str, region: str, ends_within_seconds: float) -> None:
        since = datetime.now(timezone.utc).isoformat(timespec="seconds")
        record = EmulatorRecord(self.path.name, url, os.getpid(), since, region, ends_within_seconds, str(self.path))
        hidden, log = self.record_file.with_name(f".{self.record_file.name}"), self.serve_log
        try:
            with open(hidden, "w", opener=private_opener) as file:
                file.write(json.dumps(asdict(record)) + "\n")
            hidden.rename(self.record_file)
            if log.exists() and not os.path.samestat(log.stat(), os.fstat(2)):  # of one that was detached, earlier
                log.unlink()
        except OSError as error:
            raise SetupError(f"The state directory {self.path} cannot be written to: {error.strerror}.") from None

    def new_console_token(self) -> str:
        """A secret for this run of the emulator, which is kept there for this user's commands."""
        token = secrets.token_urlsafe(32)
        with open(self.console_token, "w", opener=private_opener) as file:
            file.write(token)
        return token

    # What is kept there

    def may_have_containers(self) -> bool:
        """Whether an emulator that lived there may have left containers on a Docker Engine."""
        return self.engine_mark.exists()

    def keeps_api_records(self) -> bool:
        """Whether something that was created through the API is kept there, or may be."""
        if not self.registry.exists():
            return False
        import sqlite3

        try:
            with contextlib.closing(sqlite3.connect(f"{self.registry.as_uri()}?mode=ro", uri=True)) as database:
                found: bool = database.execute("SELECT count(*) FROM records").fetchone()[0] > 0
                return found
        except sqlite3.Error:
            return True

    def remove(self) -> None:
        """Delete the directory, as far as that is possible."""
        shutil.rmtree(self.path, ignore_errors=True)


def is_locked(file: Path) -> bool:
    """Whether a living process holds the lock on this file. False if there is none, or it may not be opened."""
    try:
        with file.open("rb") as opened:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file still has that path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _runs(pid: int) -> bool:
    """Whether the process runs; not if it has ended, and its parent has not looked yet."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    import psutil

    try:
        found: bool = psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        return found
    except psutil.Error:
        return False
