"""Holds a process tree to a limit of memory where no kernel does: what passes it loses its largest process."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from emulator.containers.process.tree import Process, Tree

LOOK_SECONDS = 0.5  # [ours] between looks, so that the kill comes within a second
COUNT_SECONDS = 10.0  # [ours] after which shared pages are counted again: one that is written to becomes another's own
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
        self._counted, self._counted_at = 0, 0.0  # bytes in use, and when that was
        self._resident: dict[Process, int] = {}  # at that time
        self.kills = 0  # so far
        self.last_killed: Process | None = None

    def look(self) -> int:
        """Kill a process if the limit is passed; how many it has been so far."""
        began = time.monotonic()
        resident = self._tree.resident()
        grown = sum(max(0, size - self._resident.get(process, 0)) for process, size in resident.items())
        stale = began > self._counted_at + COUNT_SECONDS
        if sum(resident.values()) > self._limit and (stale or self._counted + grown > self._limit):
            self.count()
        now = time.monotonic()
        self.next_look = now + max(LOOK_SECONDS, IDLE_FOR_EACH_LOOK * (now - began))
        return self.kills

    def count(self) -> int:
        """The bytes in use, shared ones once, which takes long; kill a process if that is too much."""
        self._resident, self._counted_at = self._tree.resident(), time.monotonic()
        by_process = self._tree.memory_by_process()
        self._counted = sum(by_process.values())
        # A large process has its memory for a while after its kill.
        if self._counted > self._limit and not (self.last_killed and self._resident.get(self.last_killed)):
            self.last_killed = max(by_process, key=lambda process: by_process[process])
            with contextlib.suppress(OSError):  # it has just ended
                os.kill(self.last_killed.pid, signal.SIGKILL)
                self.kills += 1
        return self._counted
