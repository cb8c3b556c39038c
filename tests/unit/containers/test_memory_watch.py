"""When a container of processes loses one because it uses too much memory, and which one."""

from __future__ import annotations

import os
import signal
import time

import pytest

from emulator.containers.process.memory_watch import IDLE_FOR_EACH_LOOK, LOOK_SECONDS, MemoryWatch
from emulator.containers.process.tree import Tree

MAIN, WORKER, IMPORTS = 10, 11, 12


class FakeTree(Tree):
    """Processes that use what the test says."""

    def __init__(self, resident: dict[int, int], shares: dict[int, int] | None = None) -> None:
        super().__init__(group=MAIN)
        self.sizes, self.shares = resident, shares
        self.counted = 0  # how often shared pages were counted

    def resident(self) -> dict[int, int]:
        return self.sizes

    def memory_by_process(self) -> dict[int, int]:
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
    killed: list[int], resident: dict[int, int], shares: dict[int, int] | None, victim: int | None
) -> None:
    assert MemoryWatch(FakeTree(resident, shares), 100).look() == (victim is not None)
    assert killed == ([] if victim is None else [victim])


def test_shared_pages_are_counted_only_if_that_can_make_a_difference(killed: list[int]) -> None:
    tree = FakeTree({MAIN: 40, WORKER: 60})
    MemoryWatch(tree, 100).look()
    assert tree.counted == 0


def test_the_next_one_is_killed_when_the_memory_of_the_last_one_is_free(killed: list[int]) -> None:
    tree = FakeTree({MAIN: 90, WORKER: 200, IMPORTS: 80})
    watch = MemoryWatch(tree, 100)
    assert [watch.look(), watch.look()] == [1, 1]
    tree.sizes = {MAIN: 90, WORKER: 0, IMPORTS: 80}  # it has ended, and nobody has taken its exit code
    assert watch.look() == 2
    tree.sizes = {IMPORTS: 80}
    assert watch.look() == 2
    assert killed == [WORKER, MAIN]


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
