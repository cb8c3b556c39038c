"""Waiting for what happens at a moment of its own: polled, and never for a fixed time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(check: Callable[[], T | None], seconds: float = 20.0, what: str = "") -> T:
    """Poll until ``check`` returns something true; its value."""
    deadline = time.monotonic() + seconds
    while not (value := check()):
        assert time.monotonic() < deadline, f"never happened: {what or check}"
        time.sleep(0.02)
    return value


async def until(check: Callable[[], T | None], seconds: float = 20.0, what: str = "") -> T:
    """``eventually`` on the event loop, which goes on meanwhile."""
    deadline = time.monotonic() + seconds
    while not (value := check()):
        assert time.monotonic() < deadline, f"never happened: {what or check}"
        await asyncio.sleep(0.001)
    return value
