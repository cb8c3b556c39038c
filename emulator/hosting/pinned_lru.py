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
        self._entries: dict[str, R] = {}
        self._idle: OrderedDict[str, R] = OrderedDict()  # the one that became so first is the first to leave
        self.used_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[R]:
        return iter(self._entries.values())

    def get(self, target_model: str) -> R | None:
        """The entry of that name, without counting as a use."""
        return self._entries.get(target_model)

    def add(self, entry: R) -> None:
        """Take an entry in; its name must be free. It is idle unless it comes with pins."""
        assert entry.target_model not in self._entries, entry.target_model
        self._entries[entry.target_model] = entry
        self.used_bytes += entry.size_bytes
        if not entry.pins:
            self._idle[entry.target_model] = entry

    def pin(self, target_model: str) -> R | None:
        """Keep the entry of that name until ``unpin``; None if there is none."""
        entry = self._entries.get(target_model)
        if entry is not None:
            if not entry.pins:
                del self._idle[target_model]
            entry.pins += 1
        return entry

    def unpin(self, entry: R) -> None:
        """Release one pin. The entry may have been removed since: then only its count changes."""
        entry.pins -= 1
        if not entry.pins and self._entries.get(entry.target_model) is entry:
            self._idle[entry.target_model] = entry

    def remove(self, entry: R) -> None:
        """Let an entry go, pinned or not."""
        if self._entries.get(entry.target_model) is entry:
            del self._entries[entry.target_model]
            self._idle.pop(entry.target_model, None)
            self.used_bytes -= entry.size_bytes

    def next_idle(self) -> R | None:
        """The least recently used idle entry, which ``pop_idle`` would remove; None if all are pinned."""
        return next(iter(self._idle.values()), None)

    def pop_idle(self) -> R | None:
        """Remove the least recently used idle entry; None if all are pinned."""
        if not self._idle:
            return None
        _, entry = self._idle.popitem(last=False)
        del self._entries[entry.target_model]
        self.used_bytes -= entry.size_bytes
        return entry

    def clear(self) -> list[R]:
        """Remove all, pinned or not, and return them."""
        everything = list(self._entries.values())
        self._entries.clear()
        self._idle.clear()
        self.used_bytes = 0
        return everything


@dataclass(eq=False)
class Flight(Generic[R]):
    """A model on its way, and how many wait for it."""

    outcome: asyncio.Future[R]
    waiting: int = 0
    task: asyncio.Task[None] = field(init=False)


class SingleFlight(Generic[R]):
    """The models on their way to the entries of a PinnedLru. A flight goes on when those who wait for it have left."""

    def __init__(self, entries: PinnedLru[R], fetch: Callable[[str], Awaitable[R]], release: Callable[[R], None]):
        """``fetch`` makes an entry of a name, and raises when it is cancelled; ``release`` takes back a pin of it."""
        self._entries = entries
        self._fetch = fetch
        self._release = release
        self._flights: dict[str, Flight[R]] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._flights)

    def __contains__(self, target_model: str) -> bool:
        return target_model in self._flights

    def begin(self, target_model: str) -> Flight[R]:
        """The flight of that name, which begins if there is none. The entry must not be there already."""
        flight = self._flights.get(target_model)
        if flight is None:
            loop = asyncio.get_running_loop()
            flight = self._flights[target_model] = Flight(loop.create_future())
            flight.outcome.add_done_callback(asyncio.Future.exception)  # noticed, also when no one waits any more
            flight.task = loop.create_task(self._run(target_model, flight))
        return flight

    async def join(self, target_model: str, timeout: float | None = None) -> R | None:
        """The entry, pinned, as soon as it is there; None when ``timeout`` (seconds) passes before.

        Raises what fetching it raised. The entry must not be there already.
        """
        flight = self.begin(target_model)
        flight.waiting += 1
        try:
            await asyncio.wait([flight.outcome], timeout=timeout)
        except asyncio.CancelledError:
            flight.waiting -= 1
            if flight.outcome.done() and not flight.outcome.exception():
                self._release(flight.outcome.result())
            raise
        if not flight.outcome.done():
            flight.waiting -= 1
            return None
        return flight.outcome.result()

    def abandon(self, error: Exception) -> None:
        """Cancel all flights; who waits gets this error."""
        abandoned, self._flights = self._flights, {}
        for flight in abandoned.values():
            flight.task.cancel()
            flight.outcome.set_exception(error)

    async def _run(self, target_model: str, flight: Flight[R]) -> None:
        try:
            entry = await self._fetch(target_model)
        except Exception as error:
            if not flight.outcome.done():  # abandoned: those who waited have the error
                del self._flights[target_model]
                flight.outcome.set_exception(error)
            return
        # One pin for each who waits, and one until all of them have theirs.
        entry.pins = flight.waiting + 1
        del self._flights[target_model]
        self._entries.add(entry)
        flight.outcome.set_result(entry)
        self._release(entry)
