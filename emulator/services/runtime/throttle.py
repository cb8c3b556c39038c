"""Limits the calls per second. AWS's quotas are for an account and a region; here it is one number."""

from __future__ import annotations

import math
from collections.abc import Callable


class Throttle:
    """A bucket of tokens, one for each call: it holds those of a second, and fills up evenly."""

    def __init__(self, calls_per_second: float, clock: Callable[[], float]) -> None:
        """``clock`` tells seconds. An infinite number of calls lets all of them through."""
        self._per_second = calls_per_second
        self._most = max(1.0, calls_per_second)
        self._tokens = self._most
        self._clock = clock
        self._filled = clock()

    def admits(self) -> bool:
        """Whether a call may go on; it has taken its token then."""
        if self._per_second == math.inf:
            return True
        now = self._clock()
        self._tokens = min(self._most, self._tokens + (now - self._filled) * self._per_second)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
