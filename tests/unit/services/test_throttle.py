"""How many calls are admitted, and when."""

from __future__ import annotations

import pytest

from emulator.services.runtime.throttle import Throttle


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.mark.parametrize(
    "per_second, steps",
    [
        (4, [(0.0, 4), (0.5, 2), (60.0, 4)]),
        (0.5, [(0.0, 1), (1.9, 0), (2.0, 1)]),
        (float("inf"), [(0.0, 10), (0.0, 10)]),
    ],
)
def test_as_many_calls_as_a_second_has_are_admitted_at_once_and_then_evenly(
    per_second: float, steps: list[tuple[float, int]]
) -> None:
    """Each step is a time, and how many of ten calls are admitted then."""
    clock = Clock()
    throttle = Throttle(per_second, clock)
    for clock.seconds, admitted in steps:
        assert sum(throttle.admits() for _ in range(10)) == admitted
