"""Waiting for what happens at a moment of its own: polled, and never for a fixed time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(check: Callable[[], T | None], seconds: float = 20.0, what: str = "") -> T:
    """Poll until ``check`` returns something true; its value."""
    deadline, pause = time.monotonic() + seconds, 0.02
    while not (value := check()):
        assert time.monotonic() < deadline, f"never happened: {what or check}"
        time.sleep(pause)
        pause = min(1.2 * pause, 0.1)  # to look costs the time of a processor that what is waited for needs
    return value


async def until(check: Callable[[], T | None], seconds: float = 20.0, what: str = "") -> T:
    """``eventually`` on the event loop, which goes on meanwhile."""
    deadline = time.monotonic() + seconds
    while not (value := check()):
        assert time.monotonic() < deadline, f"never happened: {what or check}"
        await asyncio.sleep(0.001)
    return value
