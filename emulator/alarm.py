"""A timer that is set often and rarely goes off, such as an exchange's deadline or the end of an idle connection."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


class Alarm:
    """Calls ``ring`` at the time that was set last, on the event loop's clock.

    Setting it mostly only stores the time. The event loop's own timer is left as it is: if it goes off too early, it is
    started again for the rest. To start and cancel a timer for each time took 3 us.
    """

    __slots__ = ("_loop", "_ring", "_running_until", "_timer", "_when")

    def __init__(self, ring: Callable[[], None]) -> None:
        """Must be created on the running event loop."""
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._when = self._running_until = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def set(self, when: float) -> None:
        """Ring at that time, and at no other."""
        self._when = when
        if when < self._running_until:
            self._start()

    def clear(self) -> None:
        """Do not ring, until it is set again."""
        self._when = math.inf

    def close(self) -> None:
        """Do not ring, and cancel the event loop's timer."""
        self._when = self._running_until = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._running_until = self._when
        self._timer = self._loop.call_at(self._when, self._look)

    def _look(self) -> None:
        self._timer, self._running_until = None, math.inf
        if self._when <= self._loop.time():
            self._when = math.inf
            self._ring()
        elif self._when < math.inf:
            self._start()
