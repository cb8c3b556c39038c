"""One emulated instance: what its containers are told, what it says of itself, and what is left of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from emulator.archives.source import ModelSource
from emulator.aws.sessions import Sessions
from emulator.containers.container import Container, ContainerSettings
from emulator.containers.launch import Command, Program
from emulator.errors import ContainerError, SetupError
from emulator.events import ContainerUsage, Event, Events, InstanceObserved, MemoryExceeded, Origin, Warned
from emulator.hosting.definition import ContainerDefinition, ModelDefinition, Resources, VariantDefinition
from emulator.hosting.execution_roles import ExecutionRoles
from emulator.hosting.instance import Instance
from emulator.hosting.model_files import ModelFiles
from emulator.hosting.multi_model_container import ModelLocation
from emulator.hosting.workspace import Workspace
from emulator.invocation import Invocation
from emulator.limits import Limits
from tests.support.virtual_containers import MODEL_BYTES, VirtualContainer, VirtualContract, VirtualFiles, VirtualSource
from tests.support.virtual_time import VirtualTimeLoop

RUNS = Command(("true",), Path())
MANY = ContainerDefinition(RUNS, Path("archives"), environment={"A": "1"})
ONE = ContainerDefinition(RUNS, None, multi_model=False)
RESOURCES = Resources(memory_bytes=100, storage_bytes=200, vcpus=2, gpus=1)
SECONDS = 10.0  # between two looks at what is used


class FakeContainer(VirtualContainer):
    """One whose use of the machine the test sets."""

    memory: int | None = None
    processor: float | None = 0.0
    lost = False

    async def start(self) -> None:
        self.died = False

    async def memory_used(self) -> int:
        if self.lost:
            raise ContainerError("the engine is gone")
        return await super().memory_used() if self.memory is None else self.memory

    async def cpu_seconds(self) -> float | None:
        return self.processor


class Scene:
    """An instance at virtual time."""

    def __init__(self, directory: Path, *containers: ContainerDefinition, **definition: Any) -> None:
        self.loop = VirtualTimeLoop()
        self.directory = directory / "i-1"
        self.containers: list[FakeContainer] = []
        self.settings: list[ContainerSettings] = []
        self.limits: list[Limits] = []
        self.happened: list[Event] = []
        self.cannot_start: Exception | None = None
        events = Events(Origin("e", "us-east-1", "A"))
        events.subscribe(lambda event, _: self.happened.append(event))
        workspace = Workspace(
            directory,
            self._new_container,
            Limits(observe_seconds=SECONDS, startup_seconds=7),
            events,
            self.loop.clock(),
            model_source=lambda data: cast(ModelSource, VirtualSource()),
            model_files=lambda *_: cast(ModelFiles, VirtualFiles()),
            execution_roles=definition.pop("execution_roles", None),
        )
        model = ModelDefinition(
            containers or [MANY], definition.pop("direct", False), isolated=definition.pop("isolated", False)
        )
        variant = VariantDefinition(model, RESOURCES, **definition)
        self.instance = Instance(variant, workspace.instance("i-1"))

    def _new_container(
        self, runs: Program, settings: ContainerSettings, limits: Limits, log: Any, warn: Callable[[str], None]
    ) -> Container:
        self.settings.append(settings)
        self.limits.append(limits)
        if self.cannot_start is not None:
            raise self.cannot_start
        warn(f"{settings.name} is not as it should be")
        self.containers.append(FakeContainer(VirtualContract()))
        return self.containers[-1]

    def run(self, *steps: Callable[[], Awaitable[Any]]) -> Any:
        """Start it, do these steps, and stop it; the result of the last step."""

        async def main() -> Any:
            result = None
            await self.instance.start()
            for step in steps:
                result = await step()
            await self.instance.stop()
            return result

        return self.loop.run(main())

    async def invoke(self, target_model: str) -> None:
        call = Invocation("e", b"", self.loop.time(), target_model=target_model)
        await self.instance.execution.invoke(call, self.loop.time() + 60)

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.happened if isinstance(event, kind)]


# What its containers are told


def test_each_container_gets_credentials_of_its_own_while_the_instance_lives(tmp_path: Path) -> None:
    roles = ExecutionRoles(Sessions(lambda: 0.0), "us-east-1", "http://127.0.0.1:8080")
    scene = Scene(tmp_path, replace(ONE, hostname="before"), replace(MANY, hostname="many"), execution_roles=roles)
    valid: list[bool] = []

    async def ask() -> None:
        valid.extend(roles.session(settings.aws.token) is not None for settings in scene.settings if settings.aws)

    scene.run(ask)
    tokens = [settings.aws.token for settings in scene.settings if settings.aws]
    assert valid == [True, True] and len(set(tokens)) == 2
    assert [roles.session(token) for token in tokens] == [None, None]


def test_a_model_that_is_isolated_from_the_network_has_no_aws(tmp_path: Path) -> None:
    roles = ExecutionRoles(Sessions(lambda: 0.0), "us-east-1", "http://127.0.0.1:8080")
    scene = Scene(tmp_path, execution_roles=roles, isolated=True)
    scene.run()
    assert [settings.aws for settings in scene.settings] == [None]


def test_each_container_gets_its_own_place_and_the_instance_s_resources(tmp_path: Path) -> None:
    scene = Scene(tmp_path, replace(ONE, hostname="before"), replace(MANY, hostname="many"))
    scene.run()
    before, many = scene.settings
    assert before == ContainerSettings(
        name="before",
        environment={},
        multi_model=False,
        models=scene.directory / "before" / "model",
        memory_bytes=100,
        vcpus=2,
        gpus=1,
        position=0,
        shares_instance=True,
        scratch=scene.directory,
    )
    assert many == replace(
        before,
        name="many",
        environment={"A": "1", "SAGEMAKER_MULTI_MODEL": "true"},
        multi_model=True,
        models=scene.directory / "many" / "models",
        position=1,
    )
    assert {event.text for event in scene.of(Warned)} == {
        "before is not as it should be",
        "many is not as it should be",
    }


def test_the_only_container_shares_with_none(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.run()
    [settings] = scene.settings
    assert (settings.name, settings.shares_instance) == ("primary", False)
    assert MANY.environment == {"A": "1"}  # the definition is as it was


@pytest.mark.parametrize("own, seconds", [(None, 7), (60.0, 60)])
def test_the_variant_s_own_time_to_start_is_kept(tmp_path: Path, own: float | None, seconds: float) -> None:
    scene = Scene(tmp_path, startup_seconds=own)
    scene.run()
    assert [limits.startup_seconds for limits in scene.limits] == [seconds]


# What it says of itself


def test_its_state_is_what_is_where(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    async def look() -> Any:
        states = [await scene.instance.state()]
        await scene.invoke("a.tar.gz")
        scene.instance.in_flight = 3
        states.append(await scene.instance.state())
        return states

    empty, loaded = scene.run(look)
    assert empty == {
        "instance_id": "i-1",
        "healthy": True,
        "in_flight": 0,
        "containers": [{"name": "primary", "healthy": True, "address": "nowhere:0", "restarts": 0}],
        "memory": {
            "budget_bytes": 100, "used_bytes": 0, "max_loaded_models": None,
            "models": [], "loading": [], "unloading": [], "next_victim": "", "expected_load_bytes": 6,
        },
        "volume": {"capacity_bytes": 200, "used_bytes": 0, "models": [], "downloading": []},
    }  # fmt: skip
    [model] = loaded["memory"].pop("models")
    assert model["last_used"] == scene.loop.time()
    assert loaded["memory"]["next_victim"] == "a.tar.gz"
    assert loaded["memory"]["expected_load_bytes"] == MODEL_BYTES
    assert (model["target_model"], model["in_flight"], model["memory_bytes"]) == ("a.tar.gz", 0, MODEL_BYTES)
    assert loaded["in_flight"] == 3
    assert loaded["memory"]["used_bytes"] == MODEL_BYTES
    assert loaded["volume"] == {
        "capacity_bytes": 200,
        "used_bytes": MODEL_BYTES,
        "models": [{"target_model": "a.tar.gz", "size_bytes": MODEL_BYTES}],
        "downloading": [],
    }


def test_where_it_has_a_model(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    async def look() -> Any:
        before = (scene.instance.location_of("a.tar.gz"), scene.instance.loaded_count)
        await scene.invoke("a.tar.gz")
        return [before, (scene.instance.location_of("a.tar.gz"), scene.instance.loaded_count)]

    assert scene.run(look) == [(ModelLocation.NOWHERE, 0), (ModelLocation.IN_MEMORY, 1)]


def test_one_without_many_models_has_none_anywhere(tmp_path: Path) -> None:
    scene = Scene(tmp_path, ONE)

    async def look() -> Any:
        return (await scene.instance.state())["memory"]["models"]

    assert scene.run(look) == []
    assert (scene.instance.location_of("a.tar.gz"), scene.instance.loaded_count) == (ModelLocation.NOWHERE, 0)


def test_it_is_healthy_while_all_its_containers_are(tmp_path: Path) -> None:
    scene = Scene(tmp_path, replace(ONE, hostname="a"), replace(ONE, hostname="b"))

    async def look() -> list[bool]:
        seen = [scene.instance.healthy]
        scene.cannot_start = SetupError("no")
        scene.containers[1].die()
        await asyncio.sleep(1)
        return [*seen, scene.instance.healthy]

    assert scene.run(look) == [True, False]


# What it uses


def test_what_it_uses_is_told_again_and_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path, replace(ONE, hostname="a"), replace(MANY, hostname="b"))

    async def use() -> None:
        await asyncio.sleep(1)
        one, other = scene.containers
        one.memory, other.memory = 30, 20
        one.processor, other.processor = 4.0, 1.5
        await asyncio.sleep(SECONDS)
        one.processor = 0.5  # it was replaced, and begins at 0
        scene.instance.in_flight = 2
        await asyncio.sleep(SECONDS)
        one.processor = None
        await asyncio.sleep(SECONDS)

    scene.run(use)
    first, second, third, fourth = scene.of(InstanceObserved)
    nothing = {name: ContainerUsage(0.0, 0.0) for name in ("a", "b")}
    assert first == InstanceObserved(0.0, 0.0, 0.0, 0.0, 0, 0, nothing)
    by_container = {"a": ContainerUsage(4.0, 30.0), "b": ContainerUsage(1.5, 20.0)}
    assert second == InstanceObserved(SECONDS, 5.5, 50.0, 0.0, 0, 0, by_container)
    assert (third.containers["a"].cpu_seconds, third.containers["b"].cpu_seconds) == (0.0, 0.0)
    assert (third.cpu_seconds, third.in_flight) == (0.0, 2)
    assert fourth.cpu_seconds is None  # where one cannot be told, all cannot


def test_the_disk_is_what_all_containers_take_of_it(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    async def use() -> None:
        await scene.invoke("a.tar.gz")
        await scene.invoke("b.tar.gz")
        await asyncio.sleep(SECONDS)

    scene.run(use)
    observed = scene.of(InstanceObserved)[-1]
    assert (observed.disk_percent, observed.loaded_models) == (100 * 2 * MODEL_BYTES / 200, 2)


def test_without_many_models_their_number_is_not_told(tmp_path: Path) -> None:
    scene = Scene(tmp_path, ONE)
    scene.run(lambda: asyncio.sleep(1))
    assert [event.loaded_models for event in scene.of(InstanceObserved)] == [None]


def test_an_engine_that_does_not_answer_is_looked_at_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    async def use() -> None:
        await asyncio.sleep(1)
        scene.containers[0].lost = True
        await asyncio.sleep(2 * SECONDS)
        scene.containers[0].lost = False
        await asyncio.sleep(SECONDS)

    scene.run(use)
    assert [event.seconds for event in scene.of(InstanceObserved)] == [0.0, 3 * SECONDS]


@pytest.mark.parametrize(
    "containers, used, told",
    [
        (2, [50], []),
        (2, [51], [102]),
        (2, [75, 80, 85], [150]),  # once
        (2, [75, 25, 80], [150, 160]),  # until they use less
        (1, [150], []),  # which is held to its memory
    ],
)
def test_more_memory_than_it_has_is_reported_once(
    tmp_path: Path, containers: int, used: list[int], told: list[int]
) -> None:
    scene = Scene(tmp_path, *[ONE] * containers)

    async def use() -> None:
        await asyncio.sleep(1)
        for memory in used:
            for container in scene.containers:
                container.memory = memory
            await asyncio.sleep(SECONDS)

    scene.run(use)
    assert scene.of(MemoryExceeded) == [MemoryExceeded(memory, 100) for memory in told]


# Its end


def test_nothing_is_left_of_its_disk(tmp_path: Path) -> None:
    scene = Scene(tmp_path, ONE)

    async def look() -> bool:
        return scene.directory.exists()

    assert scene.run(look) is True
    assert not scene.directory.exists()


def test_one_that_never_started_can_be_stopped(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.cannot_start = SetupError("no image")
    with pytest.raises(SetupError, match="no image"):
        scene.run()
    loop = VirtualTimeLoop()
    loop.run(Scene(tmp_path).instance.stop())
