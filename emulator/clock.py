"""The one clock that hosting reads. A simulation can pass in another one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """The machine's time, unless other functions are passed in. Both return seconds.

    Waiting uses the event loop's time. Durations that users see are measured here, as uvloop counts whole milliseconds.
    """

    now: Callable[[], float] = time.time  # since 1970
    elapsed: Callable[[], float] = time.perf_counter  # since a moment that stays the same
