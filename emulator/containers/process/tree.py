"""All the processes below this one: found, measured, signalled."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import NamedTuple


class Process(NamedTuple):
    """A process, told apart from a later one of the same id."""

    pid: int
    started: float  # on a clock of the system's


class Tree:
    """The processes below this one, which adopts on Linux what loses its parent."""

    def __init__(self, group: int) -> None:
        """``group`` is the process group of the first of them."""
        self._group = group

    def is_empty(self) -> bool:
        return not _processes_below()

    def signal(self, number: int) -> None:
        for process in _processes_below():
            with contextlib.suppress(OSError):
                os.kill(process.pid, number)
        if number == signal.SIGKILL:
            # Where there is no adoption, the group still holds what lost its parent.
            with contextlib.suppress(OSError):
                os.killpg(self._group, number)

    def resident(self) -> dict[Process, int]:
        """The resident bytes of each process: quick, but shared pages count in each of them."""
        return {process: _quick_bytes(process.pid, size) for process, size in _processes_below().items()}

    def memory_by_process(self) -> dict[Process, int]:
        """The bytes of each process: its own pages and its share of the shared ones.

        On Linux without pages of files, which the kernel takes back when memory runs short.
        """
        found = {}
        for each in _processes_below():
            try:
                found[each] = _bytes_of(f"/proc/{each.pid}/smaps_rollup", b"Pss_Anon:", b"Pss_Shmem:")
            except (OSError, KeyError):  # not Linux, or an older one, or it belongs to somebody else, or has just ended
                found |= _slow_bytes(each)
        return found

    def memory(self) -> int:
        """The bytes of all of them."""
        return sum(self.memory_by_process().values())

    def cpu_seconds(self) -> float:
        """Seconds of processor time, also of processes that have ended."""
        import psutil

        own = os.times()
        total = own.children_user + own.children_system
        for process in _processes_below():
            with contextlib.suppress(psutil.Error):
                times = psutil.Process(process.pid).cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total


def _processes_below() -> dict[Process, int]:
    """The resident bytes of all descendants of this process; a process comes after its parent."""
    if sys.platform != "linux":
        import psutil

        found = {}
        for process in psutil.Process().children(recursive=True):
            each = Process(process.pid, process.create_time())
            try:
                found[each] = process.memory_info().rss
            except psutil.Error:  # it has ended, and may not have been waited for
                found[each] = 0
        return found
    # To import psutil takes longer than most containers take to end.
    children: dict[int, dict[Process, int]] = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()  # behind the name, which may contain anything
            process = Process(int(name), int(fields[19]))
            children.setdefault(int(fields[1]), {})[process] = int(fields[21]) * PAGE_BYTES
    found = dict(children.get(os.getpid(), {}))
    for parent in (waiting := list(found)):
        below = children.get(parent.pid, {})
        found |= below
        waiting += below
    return found


def _quick_bytes(pid: int, resident: int) -> int:
    try:
        return _bytes_of(f"/proc/{pid}/status", b"RssAnon:", b"RssShmem:")
    except (OSError, KeyError):  # it has ended, or this is not Linux
        return resident


def _slow_bytes(each: Process) -> dict[Process, int]:
    """What psutil says of a process; empty if it has ended."""
    import psutil

    with contextlib.suppress(psutil.Error):
        process = psutil.Process(each.pid)
        try:
            usage = process.memory_full_info()
            return {each: getattr(usage, "pss", 0) or usage.uss}
        except psutil.AccessDenied:
            return {each: process.memory_info().rss}
    return {}


def _bytes_of(path: str, *names: bytes) -> int:
    """The sum of these fields of a file in /proc. Raises OSError, and KeyError for one that it lacks."""
    with open(path, "rb") as file:
        kilobytes = {words[0]: words[1] for line in file if len(words := line.split()) > 1}
    return sum(int(kilobytes[name]) for name in names) * 1024


PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
