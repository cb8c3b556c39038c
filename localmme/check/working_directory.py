"""The directory of one run of the checks; directories of killed runs are removed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from emulator.containers.docker.leftovers import is_abandoned
from emulator.errors import SetupError
from emulator.private_files import private_directory
from emulator.state_directory import StateDirectory
from localmme.state_directories import alone_in, base


@dataclass(frozen=True)
class WorkingDirectory:
    path: Path
    left_containers: bool  # a killed run may have left some on the Docker Engine


@contextmanager
def working_directory() -> Iterator[WorkingDirectory]:
    """A new directory, locked for as long as this process lives, and deleted afterwards. Raises SetupError."""
    checks = base() / ".checks"  # not a valid name of an emulator
    try:
        private_directory(checks)
        with alone_in(checks):
            left_containers = _sweep(checks)
            # Not for the owner alone: an image, in which it is mounted, may run as any user.
            directory = Path(tempfile.mkdtemp(prefix="check-", dir=checks))
            directory.chmod(0o755)
            lock = os.open(StateDirectory(directory).lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        raise SetupError(f"{checks} cannot be written to: {error.strerror}. Name another by XDG_STATE_HOME.") from None
    try:
        yield WorkingDirectory(directory, left_containers)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


def _sweep(checks: Path) -> bool:
    """Delete the directories of killed runs; whether one of them had containers on an engine."""
    left_containers = False
    for directory in checks.glob("check-*"):
        if is_abandoned(directory, ""):
            left_containers = left_containers or StateDirectory(directory).may_have_containers()
            shutil.rmtree(directory, ignore_errors=True)
    return left_containers
