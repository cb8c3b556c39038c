"""Runs the checks one after the other, each in a time box, on a container that is healthy when it begins.

Checks share a container, because starting one takes most of the time. So a failure may have its cause in earlier
checks, such as a model that they left in memory. Therefore a check that fails in a used container is made again in a
fresh one, and the failure in the used one is reported by the check ``long-use``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from emulator.errors import ContainerError, SetupError
from emulator.sizes import format_size
from emulator.timeouts import in_time
from localmme.check.checks import LONG_USE, Check
from localmme.check.container_under_test import END_SECONDS, NotHealthy
from localmme.check.finding import CheckEnded, Finding, Verdict, failed, passed, skipped, warned
from localmme.check.harness import Harness

BOX_SECONDS = 60.0  # for a check of quick models
BOX_LOADS, BOX_STARTS = 20, 3  # plus that many of the slowest loads and starts so far
HEALTH_TRIES = 3
AGAIN_SECONDS = 45.0  # in all, for checks made again; the last may end later
MEASURE_SECONDS = 1.0  # between two measurements of memory, which take some processor time


@dataclass(frozen=True)
class Result:
    """A check with what it found."""

    check: Check
    finding: Finding
    seconds: float
    was_made: bool = True  # False = not tried, as there was no container


@dataclass(frozen=True)
class Incident:
    """A failure in a used container that did not happen in a fresh one."""

    text: str  # a sentence
    is_end: bool  # whether the container ended


class Runner:
    """Makes checks, and reports the beginning and the result of each."""

    def __init__(
        self,
        checks: Sequence[Check],
        harness: Harness,
        begins: Callable[[Check, int], None],
        found: Callable[[Result], None],
    ) -> None:
        """``begins`` gets a check and its number, from 1; ``found`` gets its result."""
        self._checks, self._harness, self._begins, self._found = checks, harness, begins, found
        self.results: list[Result] = []  # so far
        self._unusable = ""  # why no further check can be made
        self._incidents: list[Incident] = []
        self._used_by: list[str] = []  # the checks made in this container
        self._memory: list[tuple[str, int]] = []  # bytes in use, and the check after which that was; "" = none yet
        self._has_failed = False  # whether the last check failed, and so has reported the container's end
        self._measured_at = 0.0  # when memory was last measured
        self._again_seconds = 0.0

    async def run(self) -> None:
        """Make all of them.

        Raises SetupError when there is nothing to check. Nothing runs any more when it returns or is cancelled.
        """
        try:
            for number, check in enumerate(self._checks, 1):
                if check is LONG_USE:
                    continue
                self._begins(check, number)
                began = time.monotonic()
                finding = None
                if check.needs_container and not self._unusable:
                    finding = await self._make_ready()
                if finding is None and check.needs_container and self._unusable:
                    self._tell(Result(check, skipped(self._unusable), 0.0, was_made=False))
                else:
                    finding = finding or await self._fairly(check)
                    self._has_failed = finding.verdict is Verdict.FAIL
                    self._tell(Result(check, finding, time.monotonic() - began))
        finally:
            await self._harness.stop()
        if LONG_USE in self._checks or self._incidents:
            self._tell(Result(LONG_USE, self._long_use(), 0.0))

    def _tell(self, result: Result) -> None:
        self.results.append(result)
        self._found(result)

    async def _make_ready(self) -> Finding | None:
        """Make sure of a healthy container. Otherwise no check can be made; returns the finding for the first."""
        run = self._harness.run
        if run is not None:
            for _ in range(HEALTH_TRIES):
                if await run.is_healthy():
                    return None
                if await run.ended():
                    break
            if not self._harness.under_test.is_ours:
                self._unusable = "The container at that address does not answer any more."
                return None
            if not self._has_failed:
                ended = await run.ended()
                what = f"it {ended}" if ended else f"{HEALTH_TRIES} pings in a row were not answered with 200"
                self._incidents.append(Incident(f"After {self._past()}, {what}. {run.last_words()}", ended is not None))
        first = not self.results or not any(each.check.needs_container for each in self.results)
        try:
            await self._fresh()
        except (NotHealthy, SetupError) as error:
            if not self._harness.under_test.is_ours:
                raise SetupError(f"No healthy container answers at {self._harness.under_test.url}. {error}") from None
            last_words = f"\n{self._harness.running.last_words()}"
            await self._harness.stop()
            again = "" if first else " again"
            self._unusable = f"The container did not start{again}: {str(error).partition(chr(10))[0]}"
            return failed(f"{error}{last_words}") if first else None
        return None

    async def _fresh(self) -> None:
        """A container that no check has used. Raises NotHealthy and SetupError."""
        self._forget()
        await self._harness.restart()
        await self._look("")

    async def _fairly(self, check: Check) -> Finding:
        """Make a check; if it fails in a container that others have used, make it again in a fresh one."""
        run, past = self._harness.run, self._past()
        finding = await self._one(check)
        if finding.verdict is not Verdict.FAIL or not check.depends_on_past or not past or run is None:
            await self._used(check, run)
            return finding
        if not self._harness.under_test.is_ours:
            return finding
        if self._again_seconds > AGAIN_SECONDS:
            return replace(finding, detail=f"{finding.detail}\nThe container had been through {past} before.")
        ended = await run.ended()
        memory = self._growth()
        began = time.monotonic()
        self._harness.cannot_fill = ""
        try:
            await self._fresh()
            again = await self._one(check)
        except (NotHealthy, SetupError) as error:
            await self._harness.stop()
            self._unusable = f"The container did not start again: {str(error).partition(chr(10))[0]}"
            return finding
        finally:
            self._again_seconds += time.monotonic() - began
        await self._used(check, self._harness.run)
        if again.verdict is Verdict.FAIL:
            return again
        if again.verdict is Verdict.SKIPPED:  # it says nothing about the container
            return finding
        how = f"the container {ended}." if ended else f"this was found: {finding.detail}"
        self._incidents.append(Incident(f"{check.name}, after {past}: {how}{memory}", ended is not None))
        note = f"This is of a fresh container. In one that had been through {past} it failed: see {LONG_USE.name}."
        return replace(again, detail=f"{again.detail}\n{note}".lstrip("\n"))

    async def _one(self, check: Check) -> Finding:
        """Make one check, and clean up after it."""
        harness = self._harness
        run = harness.run
        if run is not None:
            run.caller.last = None
        box = BOX_SECONDS + BOX_LOADS * harness.slowest_load + BOX_STARTS * harness.started_in
        try:
            finding = await in_time(check.run(harness), box)
        except CheckEnded as early:
            finding = early.finding
        except asyncio.TimeoutError:
            finding = failed(f"The check did not finish within {box:.0f} s.", run.caller.last if run else None)
        except (ContainerError, SetupError) as error:
            finding = failed(f"The container cannot be called: {error}", run.caller.last if run else None)
        run = harness.run
        if run is None:
            return finding
        last = finding.exchange or run.caller.last
        dropped = last is not None and not last.status
        ended = await run.ended(END_SECONDS if dropped or finding.verdict is Verdict.FAIL else 0.0)
        if ended is not None:
            detail = "" if finding.verdict is not Verdict.FAIL else f"{finding.detail}\n"
            finding = failed(f"{detail}The container {ended}. {run.last_words()}", last)
        elif harness.full is None:
            await harness.tidy()
        return finding

    async def _used(self, check: Check, before: object) -> None:
        """Record that a check was made in the container; ``before`` is the run when it began."""
        if self._harness.run is not before:  # it used a container of its own
            self._forget()
        if check.needs_container:
            self._used_by.append(check.name)
            await self._look(check.name)

    def _forget(self) -> None:
        self._used_by, self._memory, self._measured_at = [], [], 0.0

    async def _look(self, after: str) -> None:
        now = time.monotonic()
        if (
            self._harness.under_test.is_ours
            and self._harness.run is not None
            and now - self._measured_at >= MEASURE_SECONDS
        ):
            self._memory.append((after, await self._harness.running.container.memory_used()))
            self._measured_at = now

    def _past(self) -> str:
        """The checks made in this container, in words; empty if there are none."""
        names = self._used_by
        return ", ".join(names) if len(names) <= 3 else f"{len(names)} checks (from {names[0]} to {names[-1]})"

    def _growth(self) -> str:
        """How the memory in use has changed, in words."""
        if len(self._memory) < 2:
            return ""
        (_, first), *_, (after, last) = self._memory
        return f" Memory in use: {format_size(first)} when it had started, {format_size(last)} after {after}."

    def _long_use(self) -> Finding:
        """The result of ``long-use``: failures in used containers."""
        count = sum(each.was_made and each.check.needs_container for each in self.results)
        if not self._harness.under_test.is_ours:
            return skipped("A container that runs already cannot be compared with a fresh one.")
        if self._unusable and not self._incidents:
            return skipped(self._unusable)
        if not count:
            return skipped("This check needs other checks, which use the container.")
        if not self._incidents:
            return passed(f"None of {count} checks has failed only because of those before it.")
        guilty = [
            each.check.name for each in self.results if each.check.is_of_memory and each.finding.verdict is Verdict.FAIL
        ]
        cause = f"\nSee {' and '.join(guilty)}, which may be why." if guilty else ""
        detail = "In a container that other checks have used, things go wrong which do not in a fresh one.\n"
        detail += "\n".join(incident.text for incident in self._incidents) + cause
        return failed(detail) if any(each.is_end for each in self._incidents) else warned(detail)
