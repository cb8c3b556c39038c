"""What a load is busy with, moment by moment: of it, each call that waited takes the part that it waited for."""

from __future__ import annotations

from collections.abc import Callable

from emulator.invocation import Step

# What a load is busy with, by the names of steps (see Step), in words that follow "it".
DOING = {
    "wait": "waits for its turn",
    "download": "is being downloaded",
    "extract": "is being extracted",
    "make room": "waits for room: other models have to leave before",
    "load": "is being loaded",
}


class LoadProgress:
    """The steps of one model's way into memory, one after the other without gaps."""

    def __init__(self, container: str, elapsed: Callable[[], float]) -> None:
        self.began = elapsed()
        self._container = container
        self._elapsed = elapsed
        self._steps: list[tuple[str, float]] = [("wait", self.began)]  # each lasts until the next one begins

    def enter(self, name: str) -> None:
        """The step before is over, and this one begins."""
        self._steps.append((name, self._elapsed()))

    def divide(self, name: str, seconds: float) -> None:
        """The step that is going on took only that many seconds: what has followed since is another one."""
        self._steps.append((name, min(self._steps[-1][1] + seconds, self._elapsed())))

    @property
    def doing(self) -> str:
        """What goes on now, in words that follow "it"."""
        return DOING[self._steps[-1][0]]

    def between(self, began: float, ended: float) -> tuple[Step, ...]:
        """The steps within that time."""
        ends = [*(begin for _, begin in self._steps[1:]), ended]
        within = [
            (name, self._container, max(begin, began), min(end, ended))
            for (name, begin), end in zip(self._steps, ends, strict=True)
        ]
        return tuple(step for step in within if step[2] < step[3])
