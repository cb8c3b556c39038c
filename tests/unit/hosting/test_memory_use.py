"""What is known of an instance's memory: which unloads leave something behind."""

from __future__ import annotations

import asyncio

import pytest

from emulator.hosting.memory_use import MemoryBudget, MemoryUse
from emulator.limits import Limits

MIB = 2**20
BASE = 50 * MIB


class Memory(MemoryUse):
    """One whose readings are as the test says."""

    def __init__(self) -> None:
        self.used = BASE

        async def used() -> int:
            return self.used

        super().__init__(MemoryBudget(1000 * MIB, used), Limits())
        self.set_base(BASE)

    def load(self, target_model: str, grows: int) -> None:
        """One after the other, each alone."""
        before = self.used
        self.begin_load(0)
        self.used += grows * MIB
        asyncio.run(self.measure_load(target_model, before, self.changes))
        self.end_load(0)

    def unload(self, target_model: str, frees: int, *others: str) -> int:
        before, self.used = self.used, self.used - frees * MIB
        return self.leaked(target_model, before, self.used, others) // MIB


def test_what_is_left_behind_again_and_again_is_a_leak() -> None:
    memory = Memory()
    memory.load("a", 100)
    found = []
    for _ in range(3):
        found.append(memory.unload("a", 10))
        memory.used += 100 * MIB
    assert found == [0, 90, 90]


def test_pages_that_an_allocator_keeps_are_none() -> None:
    memory = Memory()
    memory.load("a", 100)
    # What it keeps after the first unload holds the model when it is loaded again.
    assert [memory.unload("a", 0) for _ in range(3)] == [0, 0, 0]


def test_what_others_take_is_none() -> None:
    memory = Memory()
    memory.load("a", 100)
    assert memory.unload("a", 100) == 0
    memory.load("b", 300)
    memory.used += 100 * MIB
    assert memory.unload("a", 100, "b") == 0


def test_most_of_it_given_back_is_none_though_something_has_grown() -> None:
    memory = Memory()
    memory.load("a", 100)
    assert memory.unload("a", 100) == 0
    memory.used += 180 * MIB  # its own, and what a handler keeps of its calls
    assert memory.unload("a", 60) == 0


def test_beside_a_model_that_was_not_measured_nothing_can_be_said() -> None:
    memory = Memory()
    memory.load("a", 100)
    found = []
    for _ in range(3):
        found.append(memory.unload("a", 0, "unmeasured"))
        memory.used += 100 * MIB
    assert found == [0, 0, 0]


@pytest.mark.parametrize("size", [0, 1, 3])
def test_what_is_small_is_none(size: int) -> None:
    memory = Memory()
    memory.load("a", size)
    found = []
    for _ in range(3):
        found.append(memory.unload("a", 0))
        memory.used += size * MIB
    assert found == [0, 0, 0]
