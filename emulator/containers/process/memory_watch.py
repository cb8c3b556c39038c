"""Holds a process tree to a limit of memory where no kernel does: what passes it loses its largest process."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from emulator.containers.process.tree import Process, Tree

LOOK_SECONDS = 0.5  # [ours] between looks, so that the kill comes within a second
IDLE_FOR_EACH_LOOK = 4  # [ours] times as long as a look takes, if that is more: to count shared pages is slow


class MemoryWatch:
    """Kills one process at a time, the largest, as the kernel does in a container.

    Of shared pages, each process has its share. So, unlike the kernel's choice, it is never a process that has only
    imported what its many forks use.
    """

    def __init__(self, tree: Tree, limit: int) -> None:
        """``limit`` is in bytes, for all processes together."""
        self.next_look = 0.0  # on the monotonic clock
        self._tree, self._limit = tree, limit
        self.kills = 0  # so far
        self.last_killed: Process | None = None

    def look(self) -> int:
        """Kill a process if the limit is passed; how many it has been so far."""
        began = time.monotonic()
        self._kill_if_passed()
        now = time.monotonic()
        self.next_look = now + max(LOOK_SECONDS, IDLE_FOR_EACH_LOOK * (now - began))
        return self.kills

    def _kill_if_passed(self) -> None:
        resident = self._tree.resident()
        # A large process has its memory for a while after its kill.
        if self.last_killed is not None and resident.get(self.last_killed):
            return
        if sum(resident.values()) <= self._limit:
            return
        by_process = self._tree.memory_by_process()
        if sum(by_process.values()) <= self._limit:
            return
        self.last_killed = max(by_process, key=lambda process: by_process[process])
        with contextlib.suppress(OSError):  # it has just ended
            os.kill(self.last_killed.pid, signal.SIGKILL)
            self.kills += 1
