"""Who is told when the kernel has killed a process of a container, by an engine that may go and come again."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from emulator.containers.docker import oom_watch
from emulator.containers.docker.oom_watch import OomWatch
from emulator.errors import SetupError


class FakeEngine:
    """Its streams of events end when the test says so."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []  # the filters of each stream
        self.streams_closed = 0
        self.unreachable = 0  # how often yet
        self._happened: queue.Queue[str | None] = queue.Queue()

    def ask(self, read: Callable[[Any], None]) -> None:
        if self.unreachable:
            self.unreachable -= 1
            raise SetupError("There is no engine.")
        read(self)

    def events(self, *, decode: bool, filters: dict[str, Any]) -> Iterator[dict[str, Any]]:
        assert decode
        self.asked.append(filters)
        try:
            while (name := self._happened.get(timeout=60)) is not None:
                yield {"Actor": {"Attributes": {"name": name}}}
        finally:
            self.streams_closed += 1

    def kill_process_of(self, container: str) -> None:
        self._happened.put(container)

    def break_off(self) -> None:
        self._happened.put(None)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    monkeypatch.setattr(oom_watch, "AGAIN_SECONDS", 0.0)
    return FakeEngine()


async def told_in_turn(engine: FakeEngine, steps: Callable[[OomWatch, FakeEngine], None], last: str) -> list[str]:
    """The containers that ``one`` and ``two`` are told of, up to and including ``last``."""
    watch = OomWatch(engine.ask, "localmme=tests")
    told: list[str] = []
    enough = asyncio.Event()
    threads = []

    def tell(container: str) -> None:
        told.append(container)
        threads.append(threading.current_thread())
        if container == last:
            enough.set()

    watch.add("one", lambda: tell("one"))
    watch.add("two", lambda: tell("two"))
    steps(watch, engine)
    await enough.wait()
    watch.close()
    engine.break_off()
    assert {*threads} == {threading.current_thread()}  # on the event loop
    return told


def test_each_container_is_told_of_its_own() -> None:
    engine = FakeEngine()

    def steps(_: OomWatch, engine: FakeEngine) -> None:
        for container in ("one", "somebody's", "one", "two"):
            engine.kill_process_of(container)

    assert asyncio.run(told_in_turn(engine, steps, "two")) == ["one", "one", "two"]
    assert engine.asked == [{"type": ["container"], "event": ["oom"], "label": ["localmme=tests"]}]


def test_one_that_was_dropped_is_told_no_more(engine: FakeEngine) -> None:
    def steps(watch: OomWatch, engine: FakeEngine) -> None:
        watch.drop("one")
        watch.drop("one")
        engine.kill_process_of("one")
        engine.kill_process_of("two")

    assert asyncio.run(told_in_turn(engine, steps, "two")) == ["two"]


def test_it_asks_again_when_the_engine_was_not_there_or_its_events_broke_off(engine: FakeEngine) -> None:
    engine.unreachable = 2

    def steps(_: OomWatch, engine: FakeEngine) -> None:
        engine.kill_process_of("one")
        engine.break_off()
        engine.kill_process_of("two")

    assert asyncio.run(told_in_turn(engine, steps, "two")) == ["one", "two"]
    assert len(engine.asked) == 2
    assert engine.streams_closed >= 1


def test_nothing_is_asked_before_there_is_a_container(engine: FakeEngine) -> None:
    before = set(threading.enumerate())
    OomWatch(engine.ask, "localmme=tests")
    assert set(threading.enumerate()) <= before and engine.asked == []
