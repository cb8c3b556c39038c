"""Reads a job's metrics from the lines that its algorithm writes, by the regular expressions of its request.

Such an expression can take as long as it likes on the wrong line. So lines are matched in a thread, by a library that
lets the event loop run meanwhile, and gives up in time.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from emulator.errors import SetupError
from emulator.hosting.tasks import cancel
from emulator.jobs.training_definition import MetricDefinition

MATCH_SECONDS = 1.0  # [ours] for one expression and one line
MOST_LINES_WAITING = 10_000  # [ours] to be matched; those that come then are not
CLOSE_SECONDS = 5.0  # [ours] for the lines that are left when the algorithm has ended: the job's end waits for them


class MetricReader:
    """Takes lines on the event loop, and reports values there."""

    def __init__(
        self,
        definitions: Iterable[MetricDefinition],
        report: Callable[[str, float], None],
        warn: Callable[[str], None],
    ) -> None:
        """``report`` takes each metric's name and value. Raises SetupError for an invalid regular expression."""
        self._expressions = {each.name: compiled(each) for each in definitions}
        self._report, self._warn = report, warn
        self._lines: list[str] = []
        self._reading: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "metrics")
        self._has_warned = False
        self._until = math.inf  # by time.monotonic(): no line is matched later

    def add(self, line: str) -> None:
        """A line that the algorithm has written."""
        if not self._expressions or time.monotonic() > self._until:
            return
        if len(self._lines) >= MOST_LINES_WAITING:
            if not self._has_warned:
                self._has_warned = True
                self._warn("Its lines come faster than its metrics can be read from them: some are not looked at.")
            return
        self._lines.append(line)
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read())

    async def close(self) -> None:
        """Return when all lines so far have been read, or after ``CLOSE_SECONDS``."""
        self._until = time.monotonic() + CLOSE_SECONDS
        if self._reading is not None:
            await self._reading

    async def abandon(self) -> None:
        """Read nothing more. May be called at any time, and twice."""
        self._until = 0.0
        if self._reading is not None:
            await cancel([self._reading])
        self._thread.shutdown(wait=False)

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        while self._lines:
            lines, self._lines = self._lines, []
            values, slow = await loop.run_in_executor(self._thread, self._matches, lines)
            for name, value in values:
                self._report(name, value)
            for name in slow:
                del self._expressions[name]
                self._warn(f"Metric {name} is not read any more: its regular expression takes too long on a line.")
            if time.monotonic() > self._until:
                self._warn("Reading its metrics takes too long: its last lines may not have been looked at.")
                break
        self._reading = None

    def _matches(self, lines: Sequence[str]) -> tuple[list[tuple[str, float]], set[str]]:
        """The metrics' values in these lines, and the metrics whose expressions took too long."""
        values: list[tuple[str, float]] = []
        slow: set[str] = set()
        for line in lines:
            for name, expression in self._expressions.items():
                if time.monotonic() > self._until:
                    return values, slow
                if name in slow:
                    continue
                try:
                    for match in expression.finditer(line, timeout=MATCH_SECONDS, concurrent=True):
                        values += [(name, value) for value in _number(match)]
                except TimeoutError:
                    slow.add(name)
        return values, slow


def compiled(definition: MetricDefinition) -> Any:
    """Its regular expression. Raises SetupError when it is invalid."""
    import regex

    try:
        return regex.compile(definition.regex)
    except regex.error as error:
        raise SetupError(f"is not a regular expression: {error}") from None


def _number(match: Any) -> list[float]:
    """The number in a match's first group, if it is one."""
    try:
        value = float(match[1])
    except (IndexError, TypeError, ValueError):
        return []
    return [value] if math.isfinite(value) else []
