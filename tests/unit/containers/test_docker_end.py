"""How a container on a Docker Engine ended, when the engine itself goes away and comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from emulator.containers.docker import container as docker_container
from emulator.containers.docker.container import LOST_SECONDS, how_it_ended
from emulator.containers.docker.failures import EngineError
from emulator.containers.memory_limit import KERNEL, MemoryLimit

RUNS, HAS_ENDED = {"Status": "running"}, {"Status": "exited", "ExitCode": 3}


class FakeEngine:
    """An engine that is away at times: ``away`` says from when to when. The container ends at ``end``."""

    def __init__(self, away: list[tuple[float, float]], end: float) -> None:
        self.away, self.end = away, end
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def call_blocking(self, function: Callable[[Any], Any]) -> Any:
        if any(begin <= self.now < end for begin, end in self.away):
            raise EngineError("here", 0, "Connection refused")
        return function(self)

    def inspect_container(self, _: str) -> dict[str, Any]:
        return {"State": HAS_ENDED if self.now >= self.end else RUNS}

    def wait(self, _: str) -> None:
        """Break off when the engine goes away."""
        self.now = min([begin for begin, _ in self.away if begin > self.now] + [self.end])
        if self.now < self.end:
            raise EngineError("here", 0, "Connection aborted")


def after(monkeypatch: pytest.MonkeyPatch, *away: tuple[float, float], end: float = 1000) -> tuple[str, float]:
    """How it ended, and when that was known."""
    engine: Any = FakeEngine(list(away), end)
    monkeypatch.setattr(docker_container, "time", engine)
    return how_it_ended(engine, "c", MemoryLimit(0, KERNEL)), engine.now


def test_its_end_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert after(monkeypatch) == ("ended with exit code 3", 1000)


def test_an_engine_may_be_away_for_a_while_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    short = LOST_SECONDS - 1
    away = [(begin, begin + short) for begin in (0, 100, 200)]
    assert after(monkeypatch, *away) == ("ended with exit code 3", 1000)


def test_one_that_is_away_for_long_has_lost_it(monkeypatch: pytest.MonkeyPatch) -> None:
    words, when = after(monkeypatch, (0, 5), (100, 500))
    assert words == "was lost. The Docker Engine at here does not answer: Connection refused"
    assert 100 + LOST_SECONDS < when < 102 + LOST_SECONDS
