"""Waits for a started container: checks its health until it is healthy, has ended, or has taken too long."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.02, 0.5  # [ours] between two checks


class Outcome(enum.Enum):
    """How the wait ended."""

    HEALTHY = enum.auto()
    ENDED = enum.auto()
    TIMED_OUT = enum.auto()


@dataclass(frozen=True)
class FirstHealth:
    """How the wait ended, and why."""

    outcome: Outcome
    detail: str = ""  # ENDED: how the container did, in words that follow "it". TIMED_OUT: what was wrong at last


async def first_health(
    ended: asyncio.Future[str], check: Callable[[], Awaitable[str | None]], seconds: float
) -> FirstHealth:
    """Wait until ``check`` finds nothing wrong, the container has ended, or so many ``seconds`` have passed.

    ``ended`` is the result of ``Container.wait``. ``check`` says what is wrong (no answer, or a wrong one), None if
    nothing is.
    """
    clock = asyncio.get_running_loop().time
    deadline, pause = clock() + seconds, FIRST_PAUSE_SECONDS
    while (problem := await check()) is not None:
        await asyncio.wait([ended], timeout=pause)
        if ended.done():
            return FirstHealth(Outcome.ENDED, ended.result())
        if clock() > deadline:
            return FirstHealth(Outcome.TIMED_OUT, problem)
        pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
    return FirstHealth(Outcome.HEALTHY)
