"""Several things at once, of which none goes on when one has failed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any


async def together(things: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do them all at the same time. When one raises, the others are cancelled, waited for, and that is raised."""
    tasks = [asyncio.ensure_future(thing) for thing in things]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
