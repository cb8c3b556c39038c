"""Waiting for what happens at a moment of its own: polled, and never for a fixed time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE = 60.0  # seconds: what takes longer on a busy machine never happens


def eventually(check: Callable[[], T | None], seconds: float = PATIENCE, what: str = "") -> T:
    """Poll until ``check`` returns something true; its value."""
    deadline, pause = time.monotonic() + seconds, 0.02
    while not (value := check()):
        assert time.monotonic() < deadline, f"never happened: {what or check}"
        time.sleep(pause)
        pause = min(1.2 * pause, 0.1)  # to look costs the time of a processor that what is waited for needs
    return value


async def turns(count: int = 10) -> None:
    """Let what is ready happen, and what follows upon it: so many turns of the event loop, however late it is."""
    for _ in range(count):
        await asyncio.sleep(0.001)


async def until(check: Callable[[], T | None], seconds: float = PATIENCE, what: str = "") -> T:
    """``eventually`` on the event loop, which goes on meanwhile."""
    deadline = time.monotonic() + seconds
    while not (value := check()):
        assert time.monotonic() < deadline, f"never happened: {what or check}"
        await asyncio.sleep(0.001)
    return value
