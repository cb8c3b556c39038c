"""Runs the checks one after the other, each in a time box, on a container that is healthy when it begins."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emulator.errors import ContainerError, SetupError
from emulator.timeouts import in_time
from localmme.check.bench import Bench
from localmme.check.contract import Check
from localmme.check.finding import Finding, Ruling, Verdict, failed, skipped
from localmme.check.subject import END_SECONDS, NotHealthy

BOX_SECONDS = 60.0  # for a check of quick models
BOX_LOADS, BOX_STARTS = 20, 3  # and that many loads and starts as slow as those seen
HEALTH_TRIES = 3


@dataclass(frozen=True)
class Result:
    """A check with what it found."""

    check: Check
    finding: Finding
    seconds: float


async def run(checks: Sequence[Check], bench: Bench, tell: Callable[[Check, int], None]) -> list[Result]:
    """``tell`` is called as each check begins, with its number from 1.

    Raises SetupError when there is nothing to check. Nothing runs any more when it returns or is cancelled.
    """
    results: list[Result] = []
    unusable = ""  # why no further check can be made
    try:
        for number, check in enumerate(checks, 1):
            tell(check, number)
            began = time.monotonic()
            if check.needs_container and not unusable:
                unusable, finding = await _make_ready(check, bench)
            else:
                finding = None
            if finding is None:
                finding = skipped(unusable) if unusable and check.needs_container else await _one(check, bench)
            results.append(Result(check, finding, time.monotonic() - began))
    finally:
        await bench.stop()
    return results


async def _make_ready(check: Check, bench: Bench) -> tuple[str, Finding | None]:
    """Have a healthy container. Otherwise: why there is none, and what that is for the first check that needs one."""
    if bench.run is not None:
        for _ in range(HEALTH_TRIES):
            if await bench.run.is_healthy():
                return "", None
            if await bench.run.ended():
                break
    first = bench.run is None
    if not first and not bench.subject.is_ours:
        return "The container at that address does not answer any more.", None
    try:
        await bench.restart()
    except (NotHealthy, SetupError) as error:
        if not bench.subject.is_ours:
            raise SetupError(f"No healthy container answers at {bench.subject.url}. {error}") from None
        last_words = f"\n{bench.running.last_words()}"
        await bench.stop()
        finding = failed(f"{error}{last_words}") if first else None
        again = "" if first else " again"
        return f"The container did not start{again}: {_first_line(str(error))}", finding
    return "", None


async def _one(check: Check, bench: Bench) -> Finding:
    """Make one check, and clean up after it."""
    run = bench.run
    if run is not None:
        run.caller.last = None
    box = BOX_SECONDS + BOX_LOADS * bench.slowest_load + BOX_STARTS * bench.started_in
    try:
        finding = await in_time(check.run(bench), box)
    except Ruling as ruling:
        finding = ruling.finding
    except asyncio.TimeoutError:
        finding = failed(f"It was not through within {box:.0f} s.", run.caller.last if run else None)
    except (ContainerError, SetupError) as error:
        finding = failed(f"The container cannot be spoken to: {error}", run.caller.last if run else None)
    run = bench.run
    if run is None:
        return finding
    last = finding.exchange or run.caller.last
    dropped = last is not None and not last.status
    ended = await run.ended(END_SECONDS if dropped or finding.verdict is Verdict.FAIL else 0.0)
    if ended is not None:
        detail = "" if finding.verdict is not Verdict.FAIL else f"{finding.detail}\n"
        finding = failed(f"{detail}The container {ended}. {run.last_words()}", last)
    elif bench.full is None:
        await bench.tidy()
    return finding


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
