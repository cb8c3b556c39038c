"""How many calls are admitted, and when."""

from __future__ import annotations

from emulator.services.runtime.throttle import Throttle


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def admitted(throttle: Throttle, calls: int) -> int:
    return sum(throttle.admits() for _ in range(calls))


def test_as_many_calls_as_a_second_has_are_admitted_at_once_and_then_evenly() -> None:
    clock = Clock()
    throttle = Throttle(4, clock)
    assert admitted(throttle, 10) == 4
    clock.seconds = 0.5
    assert admitted(throttle, 10) == 2
    clock.seconds = 60.0
    assert admitted(throttle, 10) == 4


def test_less_than_one_call_a_second_can_be_admitted_as_well() -> None:
    clock = Clock()
    throttle = Throttle(0.5, clock)
    assert admitted(throttle, 3) == 1
    clock.seconds = 1.9
    assert admitted(throttle, 3) == 0
    clock.seconds = 2.0
    assert admitted(throttle, 3) == 1


def test_without_a_limit_all_are_admitted() -> None:
    assert admitted(Throttle(float("inf"), Clock()), 1000) == 1000
