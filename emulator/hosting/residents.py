"""Models that take up room somewhere: pinned ones stay, idle ones leave least recently used first."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from cachetools import LRUCache


@dataclass(eq=False)
class Resident:
    """One model in one place. ``pins`` counts those who need it there."""

    target_model: str
    size_bytes: int
    pins: int = 0


R = TypeVar("R", bound=Resident)


class Residents(Generic[R]):
    """The models in one place (a container's memory, a storage volume).

    A model counts as used until its last pin is released: from then on it is idle, and the one that
    has been idle longest is the first to leave.
    """

    def __init__(self) -> None:
        self._all: dict[str, R] = {}
        # Only idle residents are in here, so that what the policy picks may always leave.
        self._idle: LRUCache[str, R] = LRUCache(math.inf)
        self.used_bytes = 0

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[R]:
        return iter(self._all.values())

    def get(self, target_model: str) -> R | None:
        """The resident of that name, without counting as a use."""
        return self._all.get(target_model)

    def add(self, resident: R) -> None:
        """Take a resident in; its name must be free. It is idle unless it comes with pins."""
        assert resident.target_model not in self._all, resident.target_model
        self._all[resident.target_model] = resident
        self.used_bytes += resident.size_bytes
        if not resident.pins:
            self._idle[resident.target_model] = resident

    def pin(self, target_model: str) -> R | None:
        """Keep the resident of that name until ``unpin``; None if there is none."""
        resident = self._all.get(target_model)
        if resident is not None:
            if not resident.pins:
                del self._idle[target_model]
            resident.pins += 1
        return resident

    def unpin(self, resident: R) -> None:
        """Release one pin. The resident may have been removed since: then only its count changes."""
        resident.pins -= 1
        if not resident.pins and self._all.get(resident.target_model) is resident:
            self._idle[resident.target_model] = resident

    def remove(self, resident: R) -> None:
        """Let a resident go, pinned or not."""
        if self._all.get(resident.target_model) is resident:
            del self._all[resident.target_model]
            self._idle.pop(resident.target_model, None)
            self.used_bytes -= resident.size_bytes

    def pop_idle(self) -> R | None:
        """Remove the least recently used idle resident; None if all are pinned."""
        if not self._idle:
            return None
        _, resident = self._idle.popitem()
        del self._all[resident.target_model]
        self.used_bytes -= resident.size_bytes
        return resident

    def clear(self) -> list[R]:
        """Remove all, pinned or not, and return them."""
        everyone = list(self._all.values())
        self._all.clear()
        self._idle.clear()
        self.used_bytes = 0
        return everyone
