"""Runs coroutines concurrently, ends tasks, and waits for invocations to end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, Protocol

PAUSE_SECONDS = 0.02


class HasInFlight(Protocol):
    """Takes invocations."""

    in_flight: int  # invocations under way


async def gather_or_cancel(coroutines: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run them concurrently. When one raises, the others are cancelled and waited for, and its exception is raised."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.gather(*tasks)
    finally:
        await cancel(tasks)


async def cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel those that have not ended; return when all have."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def drained(things: Iterable[HasInFlight], seconds: float) -> None:
    """Return once none of them has invocations under way, or after that many seconds."""
    things = list(things)
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    while any(thing.in_flight for thing in things) and clock() < deadline:
        await asyncio.sleep(PAUSE_SECONDS)
