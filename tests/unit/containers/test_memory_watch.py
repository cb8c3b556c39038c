"""When a container of processes loses one because it uses too much memory, and which one."""

from __future__ import annotations

import mmap
import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

import psutil
import pytest

from emulator.containers.memory_limit import WATCH, MemoryLimit
from emulator.containers.process import tree
from emulator.containers.process.kept_process import BLAMED_SECONDS, KeptProcess
from emulator.containers.process.memory_watch import COUNT_SECONDS, IDLE_FOR_EACH_LOOK, LOOK_SECONDS, MemoryWatch
from emulator.containers.process.tree import Process, Tree

MAIN, WORKER, IMPORTS = (Process(pid, 0) for pid in (10, 11, 12))


class FakeTree(Tree):
    """Processes that use what the test says."""

    def __init__(self, resident: dict[Process, int], shares: dict[Process, int] | None = None) -> None:
        super().__init__(group=MAIN.pid)
        self.sizes, self.shares = resident, shares
        self.counted = 0  # how often shared pages were counted

    def resident(self) -> dict[Process, int]:
        return self.sizes

    def memory_by_process(self) -> dict[Process, int]:
        self.counted += 1
        return self.sizes if self.shares is None else self.shares


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The processes that got SIGKILL."""
    killed: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append(pid) if number == signal.SIGKILL else None)
    return killed


@pytest.mark.parametrize(
    ("resident", "shares", "victim"),
    [
        ({MAIN: 40, WORKER: 60}, None, None),
        ({MAIN: 40, WORKER: 61}, None, WORKER),
        ({MAIN: 61, WORKER: 40}, None, MAIN),
        ({MAIN: 80, WORKER: 80}, {MAIN: 50, WORKER: 50}, None),  # they share it
        ({MAIN: 20, WORKER: 85, IMPORTS: 90}, {MAIN: 20, WORKER: 50, IMPORTS: 45}, WORKER),  # what it has alone counts
        ({}, None, None),
    ],
)
def test_what_passes_the_limit_loses_its_largest_process(
    killed: list[int], resident: dict[Process, int], shares: dict[Process, int] | None, victim: Process | None
) -> None:
    assert MemoryWatch(FakeTree(resident, shares), 100).look() == (victim is not None)
    assert killed == ([] if victim is None else [victim.pid])


def test_shared_pages_are_counted_only_if_that_can_make_a_difference(killed: list[int]) -> None:
    processes = FakeTree({MAIN: 40, WORKER: 60})
    MemoryWatch(processes, 100).look()
    assert processes.counted == 0


def test_shared_pages_are_counted_again_only_when_enough_has_come_or_some_time_has_passed(
    killed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    processes = FakeTree({MAIN: 80, WORKER: 80}, {MAIN: 45, WORKER: 45})
    watch = MemoryWatch(processes, 100)
    assert watch.count() == 90  # as is asked for before a load
    processes.sizes = {MAIN: 80, WORKER: 90}
    assert [watch.look(), watch.look(), processes.counted] == [0, 0, 1]
    now += COUNT_SECONDS + 1
    assert [watch.look(), watch.look(), processes.counted] == [0, 0, 2]
    processes.sizes, processes.shares = {MAIN: 80, WORKER: 101}, {MAIN: 45, WORKER: 66}
    assert [watch.look(), processes.counted] == [1, 3]
    assert killed == [WORKER.pid]


def test_who_counts_what_is_in_use_sees_to_the_limit(killed: list[int]) -> None:
    watch = MemoryWatch(FakeTree({MAIN: 40, WORKER: 61}), 100)
    assert (watch.count(), watch.kills, killed) == (101, 1, [WORKER.pid])


def test_the_next_one_is_killed_when_the_memory_of_the_last_one_is_free(killed: list[int]) -> None:
    processes = FakeTree({MAIN: 90, WORKER: 200, IMPORTS: 80})
    watch = MemoryWatch(processes, 100)
    assert [watch.look(), watch.look()] == [1, 1]
    processes.sizes = {MAIN: 90, WORKER: 0, IMPORTS: 80}  # it has ended, and nobody has taken its exit code
    assert watch.look() == 2
    processes.sizes = {IMPORTS: 80}
    assert watch.look() == 2
    assert killed == [WORKER.pid, MAIN.pid]


def test_another_process_that_gets_the_id_of_the_last_one_does_not_switch_the_limit_off(killed: list[int]) -> None:
    processes = FakeTree({MAIN: 90, WORKER: 200})
    watch = MemoryWatch(processes, 100)
    watch.look()
    processes.sizes = {MAIN: 90, Process(WORKER.pid, 1): 200}
    assert watch.look() == 2
    assert killed == [WORKER.pid, WORKER.pid]


def test_a_process_that_ends_while_it_is_measured_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ending(psutil.Process):
        def memory_full_info(self) -> NoReturn:
            raise psutil.AccessDenied(self.pid)

        def memory_info(self) -> NoReturn:
            raise psutil.NoSuchProcess(self.pid)

    monkeypatch.setattr(tree, "_bytes_of", lambda *_: {}[0])
    monkeypatch.setattr(tree, "_processes_below", lambda: {Process(os.getpid(), 0): 1})
    monkeypatch.setattr(psutil, "Process", Ending)
    assert Tree(os.getpid()).memory_by_process() == {}


def test_pages_of_files_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel takes them back when memory runs short. (Elsewhere than on Linux they cannot be told apart.)"""
    size = 64 << 20
    monkeypatch.setattr(tree, "_processes_below", lambda: {Process(os.getpid(), 0): 1 << 50})
    with open(tmp_path / "weights", "w+b") as file:
        file.truncate(size)
        mapped = mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ)
    processes = Tree(os.getpid())
    used = [sum(processes.resident().values()), processes.memory()]
    assert not any(mapped[::4096])
    more = [sum(processes.resident().values()) - used[0], processes.memory() - used[1]]
    assert sys.platform != "linux" or (max(more) < size / 2 and used[0] < 1 << 50)


def test_a_process_that_has_just_ended_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: int) -> None:
        raise ProcessLookupError

    monkeypatch.setattr(os, "kill", gone)
    assert MemoryWatch(FakeTree({MAIN: 101}), 100).look() == 0


@pytest.mark.parametrize(("took", "pause"), [(0.0, LOOK_SECONDS), (1.0, IDLE_FOR_EACH_LOOK)])
def test_looks_leave_the_processor_to_the_container(monkeypatch: pytest.MonkeyPatch, took: float, pause: float) -> None:
    times = iter([1000.0, 1000.0 + took])
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    watch = MemoryWatch(FakeTree({}), 100)
    watch.look()
    assert watch.next_look == 1000.0 + took + pause


@pytest.mark.parametrize(
    ("killed", "ago", "words"),
    [
        (MAIN, 0, "ran out of memory: localmme killed it at 100 B (signal SIGKILL)"),
        (WORKER, 0, "ended with signal SIGKILL, after localmme killed a process of it at 100 B of memory"),
        (WORKER, BLAMED_SECONDS, "ended with signal SIGKILL"),
    ],
)
def test_only_a_kill_of_the_main_process_or_one_just_before_is_why_a_container_ended(
    killed: Process, ago: float, words: str
) -> None:
    process = KeptProcess.__new__(KeptProcess)
    process.memory_limit, process._main_pid = MemoryLimit(100, WATCH), MAIN.pid
    process._kills, process._killed, process._killed_at = 1, killed.pid, time.monotonic() - ago
    assert process.describe_end(-signal.SIGKILL) == words
