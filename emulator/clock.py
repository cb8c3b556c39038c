"""The one clock that hosting reads, so that a simulation can hand in another."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """The machine's time, unless something else is handed in. Both functions return seconds.

    What waits, waits by the event loop's time. Durations that users see are measured here: uvloop counts in whole
    milliseconds.
    """

    now: Callable[[], float] = time.time  # since 1970
    elapsed: Callable[[], float] = time.perf_counter  # since a moment that stays the same
