"""What is done to several things at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, Protocol

PAUSE_SECONDS = 0.02


class Busy(Protocol):
    """What may have invocations under way."""

    in_flight: int


async def together(things: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do them all at the same time. When one raises, the others are cancelled, waited for, and that is raised."""
    tasks = [asyncio.ensure_future(thing) for thing in things]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def drained(things: Iterable[Busy], seconds: float) -> None:
    """Return once none of them has invocations under way, or after that many seconds."""
    things = list(things)
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    while any(thing.in_flight for thing in things) and clock() < deadline:
        await asyncio.sleep(PAUSE_SECONDS)
