"""Waiting no longer than so long, for who may be cancelled meanwhile.

``asyncio.wait_for`` loses a cancellation that comes while what it waits for ends, on Python 3.10 and 3.11: who was
cancelled once, as a deleted endpoint's supervision is, would go on for ever. ``asyncio.timeout`` is not in 3.10.
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
    """What it returns, or raises. Raises asyncio.TimeoutError when that takes longer: then it has been cancelled.

    A caller who is cancelled meanwhile always gets its CancelledError, and the awaitable is cancelled with it, even
    if it has just ended: who makes something that has to be closed must not rely on the result alone.
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
