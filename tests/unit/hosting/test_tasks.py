"""Coroutines that run at once, and invocations that are waited for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from emulator.hosting.tasks import PAUSE_SECONDS, drained, gather_or_cancel
from tests.support.virtual_time import in_virtual_time


class Steps:
    """What coroutines have done."""

    def __init__(self) -> None:
        self.done: list[str] = []

    async def step(self, name: str, seconds: float, error: Exception | None = None) -> None:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            await asyncio.sleep(1)  # to tidy up
            self.done.append(f"{name} cancelled")
            raise
        if error is not None:
            raise error
        self.done.append(name)


def test_all_run_at_once() -> None:
    steps = Steps()

    async def main() -> float:
        await gather_or_cancel([steps.step("slow", 3), steps.step("fast", 1)])
        return asyncio.get_running_loop().time()

    assert in_virtual_time(main()) == 3
    assert steps.done == ["fast", "slow"]


def test_of_none_it_returns() -> None:
    in_virtual_time(gather_or_cancel([]))


def test_when_one_raises_the_others_are_cancelled_and_waited_for() -> None:
    steps = Steps()

    async def main() -> None:
        with pytest.raises(ValueError, match="second"):
            await gather_or_cancel(
                [steps.step("first", 1), steps.step("second", 2, ValueError("second")), steps.step("third", 3)]
            )
        assert steps.done == ["first", "third cancelled"]

    in_virtual_time(main())


def test_when_the_caller_is_cancelled_all_are_cancelled_and_waited_for() -> None:
    steps = Steps()

    async def main() -> None:
        caller = asyncio.ensure_future(gather_or_cancel([steps.step("first", 2), steps.step("second", 3)]))
        await asyncio.sleep(1)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert steps.done == ["first cancelled", "second cancelled"]

    in_virtual_time(main())


@dataclass
class Thing:
    in_flight: int = 0


@pytest.mark.parametrize(
    "end_at, waited",
    [([], 0), ([0.0], 0), ([1.0], 1), ([1.0, 3.0], 3), ([3.0, 99.0], 5)],
    ids=["nobody", "idle", "one", "two", "one that does not end"],
)
def test_invocations_under_way_are_waited_for_but_not_for_ever(end_at: list[float], waited: float) -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        things = [Thing(1 if end else 0) for end in end_at]
        for thing, end in zip(things, end_at):
            loop.call_later(end, setattr, thing, "in_flight", 0)
        await drained(iter(things), seconds=5)
        return loop.time()

    assert waited <= in_virtual_time(main()) <= waited + PAUSE_SECONDS * 1.01
