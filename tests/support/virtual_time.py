"""An event loop on which nobody waits: it jumps to the next timer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from emulator.clock import Clock

T = TypeVar("T")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Time passes only when nothing is left to do, and then as much as it takes to the next timer.

    What is meant for a thread is done at once, so that two runs of the same program are the same. It fails when
    everything waits for everything.
    """

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        select = self._selector.select  # type: ignore[attr-defined]

        def skip(timeout: float | None) -> Any:
            assert timeout is not None, "everyone waits, and nothing will ever happen"
            self._now += timeout
            return select(0)

        self._selector.select = skip  # type: ignore[attr-defined]

    def time(self) -> float:
        return self._now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        outcome = self.create_future()
        try:
            outcome.set_result(func(*args))
        except Exception as error:
            outcome.set_exception(error)
        return outcome

    def clock(self) -> Clock:
        """The time of this loop; it began in 1970."""
        return Clock(now=self.time, elapsed=self.time)

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """What a coroutine returns. Then the loop is closed, and what is left on it cancelled."""
        try:
            return self.run_until_complete(main)
        finally:
            left = asyncio.all_tasks(self)
            for task in left:
                task.cancel()
            if left:
                self.run_until_complete(asyncio.wait(left))
            self.close()


def in_virtual_time(main: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns, run on a loop of its own."""
    return VirtualTimeLoop().run(main)
