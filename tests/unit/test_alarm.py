"""The timer of exchanges and connections: set anew all the time, and hardly ever going off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from emulator.alarm import Alarm
from tests.support.virtual_time import VirtualTimeLoop, in_virtual_time

Steps = Callable[[Alarm], Awaitable[None]]


async def pass_to(when: float) -> None:
    await asyncio.sleep(when - asyncio.get_running_loop().time())


async def set_once(alarm: Alarm) -> None:
    alarm.set(3)


async def put_off(alarm: Alarm) -> None:
    alarm.set(3)
    await pass_to(2)
    alarm.set(7)


async def put_off_in_steps(alarm: Alarm) -> None:
    for when in range(1, 10):
        await pass_to(when - 1.5)
        alarm.set(when)


async def brought_forward(alarm: Alarm) -> None:
    alarm.set(9)
    await pass_to(2)
    alarm.set(4)


async def cleared(alarm: Alarm) -> None:
    alarm.set(3)
    alarm.clear()


async def set_again_after_it_was_cleared(alarm: Alarm) -> None:
    alarm.set(3)
    alarm.clear()
    await pass_to(2)
    alarm.set(5)


async def set_again_after_it_rang(alarm: Alarm) -> None:
    alarm.set(3)
    await pass_to(4)
    alarm.set(6)


async def set_to_a_time_that_has_passed(alarm: Alarm) -> None:
    await pass_to(5)
    alarm.set(2)


async def closed(alarm: Alarm) -> None:
    alarm.set(3)
    alarm.close()
    alarm.close()


@pytest.mark.parametrize(
    "steps, rings",
    [
        (set_once, [3]),
        (put_off, [7]),
        (put_off_in_steps, [9]),
        (brought_forward, [4]),
        (cleared, []),
        (set_again_after_it_was_cleared, [5]),
        (set_again_after_it_rang, [3, 6]),
        (set_to_a_time_that_has_passed, [5]),
        (closed, []),
    ],
)
def test_it_rings_at_the_time_that_was_set_last(steps: Steps, rings: list[float]) -> None:
    async def main() -> list[float]:
        rung: list[float] = []
        alarm = Alarm(lambda: rung.append(asyncio.get_running_loop().time()))
        await steps(alarm)
        await pass_to(100)
        return rung

    assert in_virtual_time(main()) == rings


def test_it_is_one_timer_however_often_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = VirtualTimeLoop()
    timers: list[asyncio.TimerHandle] = []
    call_at = loop.call_at

    def recorded(*arguments: Any) -> asyncio.TimerHandle:
        timers.append(call_at(*arguments))
        return timers[-1]

    async def main() -> None:
        monkeypatch.setattr(loop, "call_at", recorded)
        alarm = Alarm(lambda: None)
        for when in range(10, 1000):
            alarm.set(when)
            alarm.clear()
        assert [timer.when() for timer in timers] == [10]
        alarm.close()
        assert timers[0].cancelled()

    loop.run(main())
