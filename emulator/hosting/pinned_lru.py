"""Models that take up room somewhere: pinned ones stay, idle ones leave least recently used first.

And those on their way there: each comes once, however many wait for it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar


@dataclass(eq=False)
class PinnedEntry:
    """One model in one place. ``pins`` counts those who need it there."""

    target_model: str
    size_bytes: int
    pins: int = 0


R = TypeVar("R", bound=PinnedEntry)


class PinnedLru(Generic[R]):
    """The models in one place (a container's memory, a storage volume).

    A model counts as used until its last pin is released: from then on it is idle, and the one that
    has been idle longest is the first to leave.
    """

    def __init__(self) -> None:
        self._all: dict[str, R] = {}
        self._idle: OrderedDict[str, R] = OrderedDict()  # the one that became so first is the first to leave
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
        _, resident = self._idle.popitem(last=False)
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


@dataclass(eq=False)
class Flight(Generic[R]):
    """A model on its way, and how many wait for it."""

    outcome: asyncio.Future[R]
    waiting: int = 0
    task: asyncio.Task[None] = field(init=False)


class SingleFlight(Generic[R]):
    """The models on their way to join some residents. Each goes on coming when those who wait for it have left."""

    def __init__(self, residents: PinnedLru[R], bring: Callable[[str], Awaitable[R]], release: Callable[[R], None]):
        """``bring`` makes a resident of a name, and raises when it is cancelled; ``release`` takes back a pin of it."""
        self._residents = residents
        self._bring = bring
        self._release = release
        self._all: dict[str, Flight[R]] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __contains__(self, target_model: str) -> bool:
        return target_model in self._all

    async def join(self, target_model: str, timeout: float | None = None) -> R | None:
        """The resident, pinned, as soon as it is there; None when ``timeout`` (seconds) passes before.

        Raises what bringing it raised. The resident must not be there already.
        """
        loop = asyncio.get_running_loop()
        arrival = self._all.get(target_model)
        if arrival is None:
            arrival = self._all[target_model] = Flight(loop.create_future())
            arrival.outcome.add_done_callback(asyncio.Future.exception)  # noticed, also when no one waits any more
            arrival.task = loop.create_task(self._run(target_model, arrival))
        arrival.waiting += 1
        try:
            await asyncio.wait([arrival.outcome], timeout=timeout)
        except asyncio.CancelledError:
            arrival.waiting -= 1
            if arrival.outcome.done() and not arrival.outcome.exception():
                self._release(arrival.outcome.result())
            raise
        if not arrival.outcome.done():
            arrival.waiting -= 1
            return None
        return arrival.outcome.result()

    def abandon(self, error: Exception) -> None:
        """Let none of them come; who waits gets this error."""
        abandoned, self._all = self._all, {}
        for arrival in abandoned.values():
            arrival.task.cancel()
            arrival.outcome.set_exception(error)

    async def _run(self, target_model: str, arrival: Flight[R]) -> None:
        try:
            resident = await self._bring(target_model)
        except Exception as error:
            if not arrival.outcome.done():  # abandoned: whoever waited has been told
                del self._all[target_model]
                arrival.outcome.set_exception(error)
            return
        # One pin for each who waits, and one until all of them have theirs.
        resident.pins = arrival.waiting + 1
        del self._all[target_model]
        self._residents.add(resident)
        arrival.outcome.set_result(resident)
        self._release(resident)
