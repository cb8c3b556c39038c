"""Waiting with a time limit, for callers that may be cancelled while they wait.

On Python 3.10 and 3.11, ``asyncio.wait_for`` loses a cancellation that comes while the awaited task ends: the
supervision of a deleted endpoint would never end. Python 3.10 has no ``asyncio.timeout``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")
# [ours] How often a late event loop turns once more before what it waited for is given up: timers come before what has
# arrived meanwhile, and a connection that was accepted in time takes some turns until it is one.
TURNS = 5


async def in_time(awaitable: Awaitable[T], seconds: float) -> T:
    """The awaitable's result. Raises what it raises, and asyncio.TimeoutError, after cancelling it, if it takes longer.

    A caller that is cancelled meanwhile always gets its CancelledError, and the awaitable is cancelled too, even if it
    has just ended. So an awaitable that opens something must not rely on its result being used to close it.
    """
    task = asyncio.ensure_future(awaitable)
    try:
        await asyncio.wait([task], timeout=seconds)
        for _ in range(TURNS):
            if not task.done():
                await asyncio.sleep(0)
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
    if task.cancelled():
        raise asyncio.TimeoutError
    return task.result()
