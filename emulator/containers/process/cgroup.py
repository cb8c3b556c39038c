"""A cgroup for a container of processes, where the kernel lets this user make one: it holds them to their memory.

That takes version 2, and one of

- a cgroup of this process's own that systemd has delegated (``Delegate=yes``), or one below such a cgroup. Only one
  without processes can limit those below it, so the processes of the former are moved into a new one.
- root. Then it is beside this process's own, unless that one is limited: nobody is to get around a limit by this.

Whoever removes a cgroup has to be alive: those of killed keepers are removed by later ones.
"""

from __future__ import annotations

import contextlib
import os
import time

ROOT = "/sys/fs/cgroup"
OWN = "/proc/self/cgroup"
PREFIX = "localmme-"
LEFT_OVER_SECONDS = 60.0  # [ours] of age; one that is new may be empty because its container has yet to start
LOOK_SECONDS = 0.5  # [ours] between looks whether the kernel has killed a process
TRIES = 20  # [ours] to move processes that fork meanwhile


class Cgroup:
    """A cgroup in which processes together use no more memory than its limit: the kernel kills one that wants more."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.next_look = 0.0  # on the monotonic clock
        self.kills = 0  # so far

    @classmethod
    def make(cls, memory_bytes: int) -> Cgroup | None:
        """An empty one with this limit; None where there can be none."""
        parent = _parent()
        if parent is None:
            return None
        _remove_left_over(parent)
        cgroup = cls(f"{parent}/{PREFIX}{os.urandom(8).hex()}")
        try:
            os.mkdir(cgroup.directory)
            _write(f"{cgroup.directory}/memory.max", str(memory_bytes))
            with contextlib.suppress(FileNotFoundError):  # a kernel without swap
                _write(f"{cgroup.directory}/memory.swap.max", "0")
            if cgroup._can_be_joined():
                return cgroup
        except OSError:
            pass
        cgroup.remove()
        return None

    def join(self) -> None:
        """Put this process into it. Raises OSError."""
        _write(f"{self.directory}/cgroup.procs", "0")

    def look(self) -> int:
        """How many processes the kernel has killed in it so far."""
        self.next_look = time.monotonic() + LOOK_SECONDS
        with contextlib.suppress(OSError):
            events = dict(line.split() for line in _read(f"{self.directory}/memory.events").splitlines())
            self.kills = int(events.get("oom_kill", 0))
        return self.kills

    def remove(self) -> None:
        """Remove it, if it has no processes any more."""
        with contextlib.suppress(OSError):
            os.rmdir(self.directory)

    def _can_be_joined(self) -> bool:
        pid = os.fork()
        if pid == 0:
            try:
                self.join()
                os._exit(0)
            finally:
                os._exit(1)
        return os.waitpid(pid, 0)[1] == 0


def _parent() -> str | None:
    """The cgroup to make others in."""
    own = _own()
    if own is None:
        return None
    try:
        if _is_delegated(own) and "memory" in _read(f"{own}/cgroup.controllers").split():
            return own if _has_made_room(own) else None
        parent = own if own == ROOT else os.path.dirname(own)
        ours = _is_delegated(parent) or (os.geteuid() == 0 and not _is_limited(own))
        if ours and "memory" in _read(f"{parent}/cgroup.subtree_control").split():
            return parent
    except OSError:
        pass
    return None


def _own() -> str | None:
    """The directory of this process's cgroup; None without version 2, or with version 1 beside it."""
    if not os.path.exists(f"{ROOT}/cgroup.controllers"):
        return None
    with contextlib.suppress(OSError):
        for line in _read(OWN).splitlines():
            if line.startswith("0::/"):
                return f"{ROOT}/{line[4:]}".rstrip("/")
    return None


def _is_delegated(cgroup: str) -> bool:
    """Whether systemd leaves this cgroup, and all below it, to the processes that it has started in it."""
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(cgroup, name) == b"1":
                return cgroup != ROOT and os.access(f"{cgroup}/cgroup.procs", os.W_OK)
    return False


def _is_limited(cgroup: str) -> bool:
    try:
        return _read(f"{cgroup}/memory.max").strip() != "max"
    except FileNotFoundError:  # the root of all has no limit
        return False


def _has_made_room(cgroup: str) -> bool:
    """Move the processes of a delegated cgroup into one below it, so that it can limit others."""
    leaf = f"{cgroup}/{PREFIX}itself"
    for _ in range(TRIES):
        try:
            os.makedirs(leaf, exist_ok=True)
            for pid in _read(f"{cgroup}/cgroup.procs").split():
                with contextlib.suppress(ProcessLookupError):  # it has ended
                    _write(f"{leaf}/cgroup.procs", pid)
            _write(f"{cgroup}/cgroup.subtree_control", "+memory")
            return True
        except OSError:  # such as EBUSY: a process has been forked meanwhile
            continue
    return False


def _remove_left_over(parent: str) -> None:
    for name in os.listdir(parent):
        if name.startswith(PREFIX):
            with contextlib.suppress(OSError):  # it is in use
                if os.stat(f"{parent}/{name}").st_mtime < time.time() - LEFT_OVER_SECONDS:
                    os.rmdir(f"{parent}/{name}")


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)  # never to be created: what is missing is not offered by the kernel
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
