"""How checks share containers: what fails in a used one is made again in a fresh one before anything is blamed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from localmme.check.checks import LONG_USE, OURS, Check
from localmme.check.container_under_test import NotHealthy
from localmme.check.finding import Finding, Verdict, failed, passed, skipped
from localmme.check.runner import Result, Runner

MB = 2**20


@dataclass
class FakeRun:
    """A container in use."""

    harness: FakeHarness
    end: str | None = None  # how it ended
    healthy: bool = True
    bytes_used: int = 50 * MB
    tries: int = 0  # of the checks in it
    caller: Any = field(default_factory=lambda: SimpleNamespace(last=None))

    @property
    def container(self) -> FakeRun:
        return self

    async def memory_used(self) -> int:
        return self.bytes_used

    async def is_healthy(self) -> bool:
        return self.healthy and self.end is None

    async def ended(self, wait: float = 0.0) -> str | None:
        return self.end

    def last_words(self) -> str:
        return "Its last log lines:\n    bye"


class FakeHarness:
    """A harness whose containers are a list of what was started."""

    def __init__(self, starts: int = 100, is_ours: bool = True) -> None:
        self.under_test = SimpleNamespace(is_ours=is_ours, url="http://there")
        self.starts = starts  # that succeed
        self.runs: list[FakeRun] = []
        self.run: FakeRun | None = None
        self.slowest_load = self.started_in = 0.0
        self.full = None
        self.cannot_fill = ""

    @property
    def running(self) -> FakeRun:
        assert self.run is not None
        return self.run

    async def restart(self) -> None:
        self.run = FakeRun(self)
        if len(self.runs) == self.starts:
            raise NotHealthy("It ended with exit code 3 before it answered.\nmore")
        self.runs.append(self.run)

    async def stop(self) -> None:
        self.run = None

    async def tidy(self) -> None:
        pass


Action = Callable[[FakeHarness], "Finding | Awaitable[Finding]"]


def check(name: str, action: Action = lambda _: passed(), **changes: Any) -> Check:
    async def run(harness: Any) -> Finding:
        harness.running.tries += 1
        finding = action(harness)
        return await finding if asyncio.iscoroutine(finding) else finding  # type: ignore[return-value]

    return Check(name, "It is so.", (OURS,), run, done="tried", fix="mend it", **changes)


def made(harness: FakeHarness, *checks: Check) -> dict[str, Result]:
    """What was found by these checks and by long-use."""
    found: list[Result] = []
    runner = Runner([*checks, LONG_USE], harness, lambda *_: None, found.append)  # type: ignore[arg-type]
    asyncio.run(runner.run())
    assert found == runner.results
    assert harness.run is None
    return {result.check.name: result for result in found}


def in_a_used_one(finding: Finding, end: str | None = None) -> Action:
    """Find this where another check was made before, and nothing amiss in a fresh container."""

    def action(harness: FakeHarness) -> Finding:
        if harness.running.tries == 1:
            return passed("Fine.")
        harness.running.end = end
        return finding

    return action


def test_checks_share_a_container() -> None:
    harness = FakeHarness()
    results = made(harness, check("a"), check("b"), check("c"))
    assert len(harness.runs) == 1
    assert results["long-use"].finding == passed("None of 3 checks has failed only because of those before it.")


def test_what_fails_in_a_fresh_container_as_well_is_the_container_s_fault() -> None:
    harness = FakeHarness()
    results = made(harness, check("a"), check("b", lambda _: failed("No.")), check("c"))
    assert (results["b"].finding, results["long-use"].finding.verdict) == (failed("No."), Verdict.PASS)
    assert [run.tries for run in harness.runs] == [2, 2]


def test_what_fails_first_of_all_is_not_made_again() -> None:
    harness = FakeHarness()
    assert made(harness, check("a", lambda _: failed("No.")))["a"].finding == failed("No.")
    assert [run.tries for run in harness.runs] == [1]


def test_a_container_that_dies_of_what_came_before_is_not_blamed_on_the_check_it_dies_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("localmme.check.runner.MEASURE_SECONDS", 0)

    def leaks(harness: FakeHarness) -> Finding:
        harness.running.bytes_used += 400 * MB
        return passed()

    dies = in_a_used_one(passed(), end="ran out of memory: the kernel killed it")
    harness = FakeHarness()
    results = made(
        harness,
        check("load", leaks),
        check("invoke", dies),
        check("load-unload-growth", lambda _: failed("It grows."), is_of_memory=True),
    )
    assert results["invoke"].finding.verdict is Verdict.PASS
    assert "Fine.\nThis is of a fresh container. In one that had been through load it failed" in (
        results["invoke"].finding.detail
    )
    guilt = results["long-use"].finding
    assert guilt.verdict is Verdict.FAIL
    assert "invoke, after load: the container ran out of memory: the kernel killed it" in guilt.detail
    assert "Memory in use: 50 MiB when it had started, 450 MiB after load" in guilt.detail
    assert guilt.detail.endswith("See load-unload-growth, which may be why.")


def test_what_is_found_in_a_used_container_only_is_a_warning_when_the_container_lives() -> None:
    results = made(FakeHarness(), check("a"), check("b", in_a_used_one(failed("It is slow."))))
    assert results["b"].finding.verdict is Verdict.PASS
    assert results["long-use"].finding.verdict is Verdict.WARN
    assert "b, after a: this was found: It is slow." in results["long-use"].finding.detail


def test_a_container_that_dies_between_two_checks_is_told_of() -> None:
    def dies_later(harness: FakeHarness) -> Finding:
        harness.running.healthy = False
        return passed()

    results = made(FakeHarness(), check("a", dies_later), check("b"))
    assert (results["a"].finding.verdict, results["b"].finding.verdict) == (Verdict.PASS, Verdict.PASS)
    assert "After a, 3 pings in a row were not answered with 200. Its last log lines:" in (
        results["long-use"].finding.detail
    )


def test_a_check_that_ended_the_container_is_all_that_tells_of_it() -> None:
    def dies(harness: FakeHarness) -> Finding:
        harness.running.end = "ended with exit code 1"
        return passed()

    results = made(FakeHarness(), check("a"), check("b", dies), check("c"))
    verdicts = [results[name].finding.verdict.value for name in ("a", "b", "c", "long-use")]
    assert verdicts == ["pass", "fail", "pass", "pass"]


def test_a_second_time_that_tells_nothing_leaves_the_first_verdict() -> None:
    fails_then_skips = iter([failed("No."), skipped("There is no room.")])
    results = made(FakeHarness(), check("a"), check("b", lambda _: next(fails_then_skips)))
    assert (results["b"].finding, results["long-use"].finding.verdict) == (failed("No."), Verdict.PASS)


def test_long_use_is_told_even_where_only_other_checks_were_asked_for() -> None:
    found: list[Result] = []
    checks = [check("a"), check("b", in_a_used_one(failed("No.")))]
    asyncio.run(Runner(checks, FakeHarness(), lambda *_: None, found.append).run())  # type: ignore[arg-type]
    assert [result.check.name for result in found] == ["a", "b", "long-use"]


def test_a_check_to_which_the_past_makes_no_difference_is_not_made_again() -> None:
    harness = FakeHarness()
    results = made(harness, check("a"), check("b", lambda _: failed("No."), depends_on_past=False))
    assert results["b"].finding == failed("No.")
    assert len(harness.runs) == 1


def test_a_container_that_runs_elsewhere_is_not_started_again() -> None:
    harness = FakeHarness(is_ours=False)
    results = made(harness, check("a"), check("b", lambda _: failed("No.")))
    assert (results["b"].finding, len(harness.runs)) == (failed("No."), 1)


def test_one_that_never_starts_fails_one_check_and_none_of_the_others_is_made() -> None:
    results = made(FakeHarness(starts=0), check("a"), check("b"), check("c"))
    assert "exit code 3" in results["a"].finding.detail and "bye" in results["a"].finding.detail
    for name in ("b", "c"):
        assert results[name].finding.verdict is Verdict.SKIPPED and not results[name].was_made
        assert results[name].finding.detail == (
            "The container did not start: It ended with exit code 3 before it answered."
        )


def test_one_that_does_not_start_a_second_time_leaves_the_first_verdict() -> None:
    results = made(FakeHarness(starts=1), check("a"), check("b", lambda _: failed("No.")), check("c"))
    assert results["b"].finding == failed("No.")
    assert results["c"].finding.detail.startswith("The container did not start again: It ended")


def test_what_was_found_before_it_was_interrupted_is_kept() -> None:
    async def interrupted() -> tuple[list[str], FakeHarness]:
        waiting = asyncio.Event()

        async def waits(_: FakeHarness) -> Finding:
            waiting.set()
            await asyncio.sleep(60)
            return passed()

        harness = FakeHarness()
        checks = [check("a"), check("b", waits), check("c")]
        runner = Runner(checks, harness, lambda *_: None, lambda _: None)  # type: ignore[arg-type]
        task = asyncio.create_task(runner.run())
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return [result.check.name for result in runner.results], harness

    names, harness = asyncio.run(interrupted())
    assert (names, harness.run) == (["a"], None)
