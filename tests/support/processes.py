"""Processes that tests look at: whether they run, what they use; and ports for them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

import psutil

from emulator.containers.process.ports import PortRange
from tests.support.waiting import PATIENCE, eventually


def runs(process: psutil.Process) -> bool:
    """Whether a process has not ended; one that has may still wait for whoever has inherited it to notice."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def named(processes: Iterable[psutil.Process], name: str) -> list[psutil.Process]:
    """Those of that name; some of the others may have ended meanwhile, which have none any more."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.name() == name:
                found.append(process)
    return found


def wait_until_ended(processes: Iterable[psutil.Process], seconds: float = PATIENCE) -> None:
    """Wait until none of these processes runs."""
    eventually(lambda: not any(map(runs, processes)), seconds, "the processes have ended")


def open_files_and_threads(process: psutil.Process) -> tuple[int, int]:
    """How many files and threads a process has."""
    return len(os.listdir(f"/proc/{process.pid}/fd")), process.num_threads()


class Growth:
    """By how much more memory a process has than when it was first looked at, at most."""

    def __init__(self) -> None:
        self.bytes = 0


@contextmanager
def most_memory(process: psutil.Process) -> Iterator[Growth]:
    """Watch a process; look at the growth afterwards."""
    growth, before, done = Growth(), process.memory_info().rss, threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            growth.bytes = max(growth.bytes, process.memory_info().rss - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield growth
    finally:
        done.set()
        watcher.join()


_held: list[PortRange] = []


def free_port() -> int:
    """A port that nobody listens at, nor gets by chance as long as this process runs."""
    _held.append(PortRange.bind("127.0.0.1"))
    return _held[-1].port
