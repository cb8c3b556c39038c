"""The wait for a container's first health ends in one of three ways."""

from __future__ import annotations

import asyncio

from emulator.containers.health import FirstHealth, Outcome, first_health
from tests.support.virtual_time import in_virtual_time

LONG = 60.0  # seconds


def waited(*problems: str | None, seconds: float = LONG, ends_at_check: int = 0) -> tuple[FirstHealth, int]:
    """How the wait ends with checks that say this, the last again and again; and how many there were."""

    async def scenario() -> tuple[FirstHealth, int]:
        ended = asyncio.get_running_loop().create_future()
        count = 0

        async def check() -> str | None:
            nonlocal count
            count += 1
            if count == ends_at_check:
                ended.set_result("ended with exit code 3")
            return problems[min(count, len(problems)) - 1]

        return await first_health(ended, check, seconds), count

    return in_virtual_time(scenario())


def test_a_container_is_healthy_when_nothing_is_wrong_with_it() -> None:
    assert waited(None) == (FirstHealth(Outcome.HEALTHY), 1)
    assert waited("no answer", "500", None) == (FirstHealth(Outcome.HEALTHY), 3)


def test_one_that_ends_is_not_waited_for() -> None:
    assert waited("no answer", ends_at_check=2) == (FirstHealth(Outcome.ENDED, "ended with exit code 3"), 2)


def test_one_that_is_healthy_and_ends_at_once_was_healthy() -> None:
    assert waited("no answer", None, ends_at_check=2)[0].outcome is Outcome.HEALTHY


def test_at_the_end_of_the_time_the_last_problem_is_reported() -> None:
    assert waited("no answer", "500 busy", seconds=5.0)[0] == FirstHealth(Outcome.TIMED_OUT, "500 busy")


def test_it_is_checked_once_however_short_the_time_is() -> None:
    assert waited(None, seconds=0.0) == (FirstHealth(Outcome.HEALTHY), 1)
    assert waited("500", seconds=0.0)[0].outcome is Outcome.TIMED_OUT
