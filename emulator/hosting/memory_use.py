"""The memory of an instance as its loads see it: the budget, what each model takes, what an unload does not free."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from emulator.limits import Limits

# [ours] A smaller model's is lost in what a container needs for itself.
SMALLEST_LEAK_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class MemoryBudget:
    """How much memory a container may take, and how its use is read."""

    budget_bytes: int
    used: Callable[[], Awaitable[int]]  # bytes in use now
    max_models: int | None = None  # more than that many are never loaded, whatever the memory
    fraction: Callable[[], float] = lambda: 1.0  # how much of it there is now


class MemoryUse:
    """What is known of the memory while one run of a container loads and unloads."""

    def __init__(self, budget: MemoryBudget, limits: Limits) -> None:
        self.read = budget.used
        self.loading = 0  # loads for which room has been made
        self.changes = 0  # counts the beginning and the end of each load and unload: whether they disturb a reading
        self._budget = budget
        self._watermark_bytes = budget.budget_bytes * limits.memory_watermark
        self._first_guess = int(budget.budget_bytes * limits.memory_guess)
        self._reserved = 0  # bytes that the loads are expected to take
        self._base_bytes = 0  # in use when no model was loaded
        self._footprints: dict[str, int] = {}  # bytes of memory that a model took when it was measured
        self._unexplained: dict[str, int] = {}  # bytes in use after a model's last unload that no model explains

    def begin_load(self, expected: int) -> None:
        """Room has been made for a model that is expected to take so many bytes."""
        self.loading += 1
        self.changes += 1
        self._reserved += expected

    def end_load(self, expected: int) -> None:
        self.loading -= 1
        self.changes += 1
        self._reserved -= expected

    def set_base(self, used: int) -> None:
        """So many bytes are in use without any model."""
        self._base_bytes = used

    def reason_to_unload(self, wanted: int, present: int) -> str | None:
        """Why a model has to go before one more takes memory use to ``wanted`` bytes; None if none has to.

        ``present`` counts those in memory, and on their way in or out.
        """
        if not present:
            return None
        if self._budget.max_models is not None and present >= self._budget.max_models:
            return f"{self._budget.max_models} models are loaded, the most that are allowed"
        fraction = self._budget.fraction()
        if wanted + self._reserved > self._watermark_bytes * fraction:
            return "memory pressure" if fraction == 1 else "memory pressure, as a fault makes memory scarce"
        return None

    def footprint(self, target_model: str) -> int | None:
        """Bytes of memory that a model took when it was loaded alone; None = it was not measured."""
        return self._footprints.get(target_model)

    def expected(self, used: int, models: int) -> int:
        """What a model that was not measured may take, with so many bytes in use, and models in memory.

        As much as each of those did on average.
        """
        return max(0, used - self._base_bytes) // models if models else self._first_guess

    async def measure_load(self, target_model: str, before: int, changes: int) -> int | None:
        """Measure what a model took, if it was loaded alone for the first time; bytes in use now, if they were read.

        ``before`` are bytes in use before the load, ``changes`` were counted then.
        """
        if target_model in self._footprints or self.loading != 1 or self.changes != changes:
            return None
        after = await self.read()
        if self.changes == changes:
            self._footprints[target_model] = max(after - before, 0)
        return after

    def forget(self, target_model: str) -> None:
        """What was measured was not the model."""
        self._footprints.pop(target_model, None)

    def leaked(self, target_model: str, before: int, after: int, others: Iterable[str]) -> int:
        """Bytes that a model left behind when it was unloaded, and nothing else was; 0 = no leak is seen.

        ``before`` and ``after`` are bytes in use then, ``others`` the models that stay. [ours] It is a leak when the
        unload freed less than half of what the model takes, and the memory that no model explains has grown by more
        than half of that since the model's unload before. After the first unload it is none yet: allocators keep freed
        pages, to fill them at the next load.
        """
        takes = self._footprints.get(target_model, 0)
        sizes = [self._footprints.get(other) for other in others]
        if takes < SMALLEST_LEAK_BYTES or None in sizes:
            self._unexplained.pop(target_model, None)
            return 0
        unexplained = after - self._base_bytes - sum(size for size in sizes if size is not None)
        grown = unexplained - self._unexplained.get(target_model, unexplained)
        self._unexplained[target_model] = unexplained
        return grown if before - after < takes / 2 < grown else 0
