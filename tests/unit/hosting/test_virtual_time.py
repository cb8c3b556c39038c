"""Hosting at virtual time: with a container, archives and memory that are no more than waiting, hours take seconds."""

from __future__ import annotations

import asyncio
import functools
import itertools
import random
from collections import OrderedDict
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, cast

from emulator.containers.container import Container, LogSink
from emulator.events import Event, Events, FaultInjected, Invoked, ModelLoaded, ModelUnloaded, Origin
from emulator.hosting.definition import Caching, Resources
from emulator.hosting.loaded_models import MemoryBudget
from emulator.hosting.model_files import ModelFiles
from emulator.hosting.multi_model_container import MultiModelContainer
from emulator.hosting.storage_volume import StorageVolume
from emulator.hosting.surroundings import Surroundings
from emulator.invocation import Invocation
from emulator.limits import Limits
from tests.support.virtual_containers import (
    ANSWER_SECONDS,
    EXTRACT_SECONDS,
    LOAD_SECONDS,
    MODEL_BYTES,
    UNLOAD_SECONDS,
    VirtualContainer,
    VirtualContract,
    VirtualFiles,
)
from tests.support.virtual_time import VirtualTimeLoop

MODELS, INVOCATIONS, PER_SECOND = 100, 5000, 1.25
MOST_IN_MEMORY, MOST_ON_DISK = 50, 80
LIMITS = Limits(memory_watermark=1.0)
ORIGIN = Origin("endpoint", "variant")


@dataclass
class Run:
    """What a series of invocations met with."""

    events: list[tuple[float, Event]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)  # of each invocation, from the call to the answer
    lasted: float = 0.0

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for _, event in self.events if isinstance(event, kind)]


class Hosted:
    """One container of many models on a loop at virtual time."""

    def __init__(self, most_in_memory: int = MOST_IN_MEMORY) -> None:
        self.run = Run()
        self.contract = VirtualContract()
        self.loop = VirtualTimeLoop()
        self.clock = self.loop.clock()
        events = Events(ORIGIN)
        events.subscribe(lambda event, _: self.run.events.append((self.loop.time(), event)))
        files = cast(ModelFiles, VirtualFiles())
        self.surroundings = Surroundings()
        capacity = MOST_ON_DISK * MODEL_BYTES
        self.volume = StorageVolume(files, capacity, LIMITS, events, self.clock, self.surroundings)

        def launch(_: LogSink) -> Container:
            return VirtualContainer(self.contract)

        fraction = functools.partial(self.surroundings.memory_fraction, "endpoint")
        memory = MemoryBudget(most_in_memory * MODEL_BYTES, self._memory_used, fraction=fraction)
        resources = Resources(memory.budget_bytes, self.volume.capacity_bytes, vcpus=2)
        arguments = (launch, self.volume, memory, resources, Caching(), LIMITS, events, self.clock)
        self.container = MultiModelContainer(*arguments)

    async def _memory_used(self) -> int:
        return await self.container.memory_used()

    async def invoke(self, target_model: str) -> None:
        began = self.loop.time()
        invocation = Invocation("endpoint", b"", self.clock.elapsed(), target_model=target_model)
        answer = await self.container.invoke(invocation, began + LIMITS.invocation_seconds)
        assert answer.body == b"answer"
        self.run.seconds.append(self.loop.time() - began)

    def in_memory(self) -> list[str]:
        """The models that are loaded."""
        loaded = self.container.loaded
        return [] if loaded is None else [model.target_model for model in loaded.models]

    def over(self, scenario: Coroutine[Any, Any, None]) -> Run:
        """Run a scenario on the container, from its start to its end."""

        async def life() -> None:
            await self.container.start()
            await scenario
            self.run.lasted = self.loop.time()
            await self.container.stop()

        self.loop.run(life())
        return self.run


def zipf_like(seed: int, invocations: int) -> list[tuple[float, str]]:
    """When which model is invoked: a few of them most of the time."""
    series = random.Random(seed)
    names = [f"model-{number:02}.tar.gz" for number in range(MODELS)]
    weights = [1 / rank for rank in range(1, MODELS + 1)]
    times = itertools.accumulate(series.expovariate(PER_SECOND) for _ in range(invocations))
    return list(zip(times, series.choices(names, weights, k=invocations), strict=True))


def run_of_many(seed: int, invocations: int) -> tuple[Hosted, Run]:
    hosted = Hosted()

    async def scenario() -> None:
        calls = []
        for when, target_model in zipf_like(seed, invocations):
            await asyncio.sleep(when - hosted.loop.time())
            calls.append(asyncio.create_task(hosted.invoke(target_model)))
        await asyncio.gather(*calls)

    return hosted, hosted.over(scenario())


def test_two_runs_are_the_same() -> None:
    (_, first), (_, second), (_, other) = (run_of_many(seed, 500) for seed in (1, 1, 2))
    assert first == second
    assert first != other


def test_more_than_an_hour_of_invocations() -> None:
    hosted, run = run_of_many(3, INVOCATIONS)
    assert run.lasted > 3600
    assert len(run.seconds) == INVOCATIONS
    assert MOST_IN_MEMORY - 5 < hosted.contract.most_loaded <= MOST_IN_MEMORY  # room is made before a load, not after
    assert hosted.volume.used_bytes <= MOST_ON_DISK * MODEL_BYTES
    invoked, loaded, unloaded = run.of(Invoked), run.of(ModelLoaded), run.of(ModelUnloaded)
    assert {round(event.model_latency_us, -1) for event in invoked} == {ANSWER_SECONDS * 1e6}
    assert {round(event.seconds, 6) for event in loaded} == {LOAD_SECONDS}
    assert {round(event.seconds, 6) for event in unloaded} == {UNLOAD_SECONDS}
    assert all(event.load_wait_us == 0 for event in invoked if event.cache_hit)
    in_memory: set[str] = set()
    for _, event in run.events:
        if isinstance(event, ModelLoaded):
            assert event.target_model not in in_memory
            in_memory.add(event.target_model)
        elif isinstance(event, ModelUnloaded):
            in_memory.remove(event.target_model)


def test_however_many_ask_at_once_a_model_is_loaded_once_and_all_wait_as_long_as_that_takes() -> None:
    hosted = Hosted()

    async def scenario() -> None:
        await asyncio.gather(*(hosted.invoke("a") for _ in range(50)))

    run = hosted.over(scenario())
    assert [event.target_model for event in run.of(ModelLoaded)] == ["a"]
    assert {round(seconds, 6) for seconds in run.seconds} == {EXTRACT_SECONDS + LOAD_SECONDS + ANSWER_SECONDS}
    assert {event.load_wait_us for event in run.of(Invoked)} == {int((EXTRACT_SECONDS + LOAD_SECONDS) * 1e6)}


def test_the_least_recently_used_model_makes_room_and_comes_back_from_disk() -> None:
    hosted = Hosted(most_in_memory=3)
    order: OrderedDict[str, None] = OrderedDict()

    async def scenario() -> None:
        for target_model in "abcadbaeacd":
            await hosted.invoke(target_model)
            order[target_model] = None
            order.move_to_end(target_model)
            while len(order) > 3:
                order.popitem(last=False)
            assert set(hosted.in_memory()) == set(order)

    run = hosted.over(scenario())
    first_time, from_disk = EXTRACT_SECONDS + LOAD_SECONDS, LOAD_SECONDS
    waits = [first_time, first_time, first_time, 0, first_time, from_disk, 0, first_time, 0, from_disk, from_disk]
    evicts = [0, 0, 0, 0, 1, 1, 0, 1, 0, 1, 1]
    expected = [w + e * UNLOAD_SECONDS + ANSWER_SECONDS for w, e in zip(waits, evicts, strict=True)]
    assert [round(seconds, 6) for seconds in run.seconds] == [round(seconds, 6) for seconds in expected]


def test_scarce_memory_evicts_at_the_next_load_and_slow_s3_makes_that_wait() -> None:
    hosted = Hosted(most_in_memory=4)

    async def scenario() -> None:
        for name in "abcd":
            await hosted.invoke(name)
        hosted.surroundings.memory_fractions = {"endpoint": 0.5}
        hosted.surroundings.download_seconds = 20.0
        await hosted.invoke("d")
        assert hosted.in_memory() == ["a", "b", "c", "d"]
        await hosted.invoke("e")
        assert hosted.in_memory() == ["d", "e"]
        hosted.surroundings.memory_fractions = {}
        hosted.surroundings.download_seconds = 0.0
        await hosted.invoke("f")

    run = hosted.over(scenario())
    assert [event.target_model for event in run.of(ModelUnloaded)] == ["a", "b", "c"]
    assert {event.reason for event in run.of(ModelUnloaded)} == {"memory pressure, as a fault makes memory scarce"}
    assert [event.target_model for event in run.of(FaultInjected)] == ["e"]
    assert run.seconds[5] > 20 > run.seconds[6]
