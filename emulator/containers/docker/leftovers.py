"""Labels the containers on an engine with their emulator, so that those of a killed one are found and removed.

A container has no parent process here that could end it when the emulator is killed. So each is labelled with whose it
is, and the next emulator removes those whose emulator has gone. See ``Engine.sweep``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path

import psutil

from emulator.state_directory import StateDirectory

OWNER_LABEL = "localmme.owner"  # the state directory of the emulator
HOST_LABEL = "localmme.host"  # the machine it runs on: an engine may serve several
PID_LABEL = "localmme.pid"  # of its worker
RUN_LABEL = "localmme.run"  # one Engine object


class Ownership:
    """How this emulator's containers are recognized: by their labels, and a mark in its state directory."""

    def __init__(self, owner: Path) -> None:
        """``owner`` is the state directory. Only the methods look at the disk, and so block."""
        self._owner = owner
        self._mark = StateDirectory(owner).engine_mark
        self._run = secrets.token_hex(8)

    @property
    def run_label(self) -> str:
        """``name=value`` of the label that containers of this run have, and no others."""
        return f"{RUN_LABEL}={self._run}"

    @property
    def machine_label(self) -> str:
        """``name=value`` of the label that containers of all emulators of this machine have."""
        return f"{HOST_LABEL}={machine()}"

    def labels(self) -> dict[str, str]:
        """The labels of a container that is created now."""
        own = {OWNER_LABEL: str(self._owner.resolve()), HOST_LABEL: machine(), PID_LABEL: str(os.getpid())}
        return {**own, RUN_LABEL: self._run}

    def is_leftover(self, labels: Mapping[str, str]) -> bool:
        """Whether a container of this machine with those labels is of an emulator that has gone."""
        this_one = self._owner.resolve()
        owner = Path(labels.get(OWNER_LABEL, this_one))
        if owner == this_one:
            return labels.get(RUN_LABEL) != self._run
        return is_abandoned(owner, labels.get(PID_LABEL, ""))

    # The mark

    def mark(self, address: str) -> None:
        """Record that there are containers on the engine at that address. Raises OSError."""
        self._mark.write_text(address + "\n")

    def unmark(self, address: str) -> None:
        """No containers are left on that engine; a mark of another engine stays."""
        with contextlib.suppress(OSError):
            if self._mark.read_text().strip() == address:
                self._mark.unlink()

    def is_marked(self) -> bool:
        """Whether the last emulator of this directory may have left containers behind."""
        return self._mark.exists()


def machine() -> str:
    """What tells this machine from others.

    Containers made from one image may share a machine id, but not a host name.
    """
    with contextlib.suppress(OSError):
        if machine_id := Path("/etc/machine-id").read_text().strip():
            return f"{machine_id}-{socket.gethostname()}"
    return socket.gethostname()


def is_abandoned(owner: Path, pid: str) -> bool:
    """Whether no emulator uses this state directory. False if that is unknown."""
    try:
        with StateDirectory(owner).lock.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # others may look at the same time
    except (FileNotFoundError, NotADirectoryError):
        # Deleted; or where only the emulator sees it, as with a /tmp of its own.
        return not (pid.isdecimal() and psutil.pid_exists(int(pid)))
    except OSError:  # it is held, or not ours to open
        return False
    return True
