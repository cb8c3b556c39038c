"""A whole endpoint at virtual time: variants, instances, evictions, a container that dies, instances that are added."""

from __future__ import annotations

import ast
import asyncio
import itertools
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from emulator import hosting
from emulator.archives.model_data_url import ModelData
from emulator.archives.source import ModelSource
from emulator.containers.container import Container
from emulator.containers.launch import Command
from emulator.events import (
    ContainerStarted,
    ContainerStopped,
    EndpointStatus,
    Event,
    Events,
    InvocationEnded,
    ModelLoaded,
    ModelUnloaded,
    Origin,
)
from emulator.hosting.definition import (
    ContainerDefinition,
    EndpointDefinition,
    ModelDefinition,
    Resources,
    VariantDefinition,
)
from emulator.hosting.endpoint import Endpoint
from emulator.hosting.errors import ModelError
from emulator.hosting.model_files import ModelFiles
from emulator.hosting.workspace import Workspace
from emulator.invocation import Invocation
from emulator.limits import Limits
from tests.support.virtual_containers import MODEL_BYTES, VirtualContainer, VirtualContract, VirtualFiles, VirtualSource
from tests.support.virtual_time import VirtualTimeLoop

MODELS, INVOCATIONS, PER_SECOND = 1000, 3000, 10.0
MOST_IN_MEMORY, MOST_ON_DISK = 60, 120  # models of an instance
DEATH, SCALING = 100.0, 200.0  # seconds after the endpoint is InService
LIMITS = Limits(memory_watermark=1.0)
MODEL = ModelDefinition([ContainerDefinition(Command(("true",), Path()), Path("archives"))])
RESOURCES = Resources(MOST_IN_MEMORY * MODEL_BYTES, MOST_ON_DISK * MODEL_BYTES, vcpus=2)
DEFINITION = EndpointDefinition(
    "e",
    [
        VariantDefinition(MODEL, RESOURCES, name="A", instance_count=3, weight=3.0),
        VariantDefinition(MODEL, RESOURCES, name="B", instance_count=2, weight=1.0),
    ],
)


@dataclass
class Run:
    """What a series of invocations met with."""

    events: list[tuple[float, Origin, Event]] = field(default_factory=list)
    failures: list[float] = field(default_factory=list)  # when an invocation failed
    began: float = 0.0

    def of(self, kind: type[Event]) -> list[tuple[float, Origin, Any]]:
        return [each for each in self.events if isinstance(each[2], kind)]


class VirtualEndpoint:
    """An endpoint on a loop at virtual time, and its containers."""

    def __init__(self, seed: int, directory: Path) -> None:
        self.run = Run()
        self.loop = VirtualTimeLoop()
        self.containers: list[VirtualContainer] = []
        self.contracts: list[VirtualContract] = []
        self._seed = seed
        clock, events = self.loop.clock(), Events()
        events.subscribe(lambda event, origin: self.run.events.append((self.loop.time(), origin, event)))

        def new_container(*_: Any) -> Container:
            self.contracts.append(VirtualContract())
            self.containers.append(VirtualContainer(self.contracts[-1]))
            return self.containers[-1]

        def model_source(_: ModelData) -> ModelSource:
            return cast(ModelSource, VirtualSource())

        def model_files(*_: Any) -> ModelFiles:
            return cast(ModelFiles, VirtualFiles())

        workspace = Workspace(
            directory, new_container, LIMITS, events, clock, random.Random(seed), model_source, model_files
        )
        self._clock = clock
        self._workspace = workspace.endpoint("e", "us-east-1")

    def live(self) -> None:
        """From the start of the endpoint, through its invocations, to its end."""
        self.loop.run(self._live())

    async def _live(self) -> None:
        self.endpoint = Endpoint(DEFINITION, self._workspace)
        await self.endpoint.start()
        self.run.began = began = self.loop.time()
        changes = [asyncio.create_task(self._die()), asyncio.create_task(self._scale())]
        invocations = []
        for when, target_model in zipf_like(self._seed):
            await asyncio.sleep(began + when - self.loop.time())
            invocations.append(asyncio.create_task(self._invoke(target_model)))
        await asyncio.gather(*changes, *invocations)
        await self.endpoint.stop()

    async def _die(self) -> None:
        await asyncio.sleep(DEATH)
        while not self.endpoint.variants[0].instances[0].in_flight:
            await asyncio.sleep(0.01)
        self.containers[0].die()

    async def _scale(self) -> None:
        await asyncio.sleep(SCALING)
        self.endpoint.begin_update()
        await self.endpoint.update_weights_and_capacities({"A": 1.0}, {"A": 4, "B": 1})
        await self.endpoint.finish_update()

    async def _invoke(self, target_model: str) -> None:
        invocation = Invocation("e", b"", self._clock.elapsed(), target_model=target_model)
        try:
            answer = await self.endpoint.variant_for(invocation).invoke(invocation)
        except ModelError:
            self.run.failures.append(self.loop.time())
        else:
            assert answer.body == b"answer"


def zipf_like(seed: int) -> list[tuple[float, str]]:
    """When which model is invoked: a few of them most of the time."""
    series = random.Random(seed)
    names = [f"model-{number:03}.tar.gz" for number in range(MODELS)]
    weights = [1 / rank for rank in range(1, MODELS + 1)]
    times = itertools.accumulate(series.expovariate(PER_SECOND) for _ in range(INVOCATIONS))
    return list(zip(times, series.choices(names, weights, k=INVOCATIONS), strict=True))


@pytest.fixture(scope="module")
def virtual(tmp_path_factory: pytest.TempPathFactory) -> VirtualEndpoint:
    """An endpoint whose life is over."""
    virtual = VirtualEndpoint(1, tmp_path_factory.mktemp("virtual"))
    virtual.live()
    return virtual


def test_an_endpoint_lives_through_evictions_a_death_and_an_update(virtual: VirtualEndpoint) -> None:
    run = virtual.run
    ended = run.of(InvocationEnded)
    assert len(ended) == INVOCATIONS
    assert all(contract.most_loaded <= MOST_IN_MEMORY for contract in virtual.contracts)
    assert len(run.of(ModelUnloaded)) > 100
    # The container that died was replaced, at once, and what it had at that moment is all that failed.
    [(died, origin, _)] = run.of(ContainerStopped)
    assert (origin.variant_name, origin.instance_id) == ("A", "i-1")
    assert died < run.began + SCALING
    starts = [when for when, where, _ in run.of(ContainerStarted) if where == origin]
    assert len(starts) == 2 and starts[1] == died
    assert run.failures and all(died <= when < died + 10 for when in run.failures)
    assert any(where == origin and when > died for when, where, _ in run.of(ModelLoaded))
    # Variants get their shares, those of the update after it.
    share = Counter(where.variant_name for when, where, _ in ended if when < run.began + SCALING)
    assert 2.5 < share["A"] / share["B"] < 3.5
    share = Counter(where.variant_name for when, where, _ in ended if when > run.began + SCALING + 10)
    assert 0.8 < share["A"] / share["B"] < 1.25
    # The containers of six instances and the one that was replaced.
    assert len(virtual.containers) == 5 + 1 + 1
    statuses = [event.status for _, _, event in run.of(EndpointStatus)]
    assert statuses == ["Creating", "InService", "Updating", "InService", "Deleting"]


def test_two_runs_of_one_seed_have_the_same_events(virtual: VirtualEndpoint, tmp_path: Path) -> None:
    again = VirtualEndpoint(1, tmp_path)
    again.live()
    assert again.run == virtual.run


def test_hosting_has_no_time_and_no_chance_of_its_own() -> None:
    """It takes the time from the Clock or the event loop, and random numbers from the generator it is handed.

    Tokens that nobody may guess are the exception: nothing that happens depends on them.
    """
    for path in Path(hosting.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not {alias.name for alias in node.names} & {"time", "datetime", "uuid"}, path.name
            elif isinstance(node, ast.ImportFrom):
                assert node.module not in ("time", "datetime", "random", "uuid"), path.name
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random":
                assert node.attr == "Random", path.name
