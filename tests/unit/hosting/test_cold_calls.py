"""What the time of a call was spent on while its model was on its way, and what is said of each one that left."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emulator.archives.extraction import Extracted
from emulator.archives.source import Version
from emulator.aws.errors import AwsError
from emulator.containers.contract import Answer
from emulator.errors import ContainerNotReached
from emulator.events import (
    InvocationRetried,
    LoadRetried,
    ModelDeleted,
    ModelDownloaded,
    ModelLoaded,
    ModelLost,
    ModelNotReady,
    ModelUnloaded,
)
from emulator.hosting.definition import Caching, ModelDefinition, VariantDefinition
from emulator.invocation import Invocation, Step
from tests.support.virtual_containers import (
    ANSWER_SECONDS,
    EXTRACT_SECONDS,
    LOAD_SECONDS,
    MODEL_BYTES,
    UNLOAD_SECONDS,
    VirtualContract,
    VirtualFiles,
)
from tests.support.virtual_endpoint import LIMITS, MANY, VirtualEndpoint, resources

DOWNLOAD_SECONDS = 1.0  # of EXTRACT_SECONDS


class RemoteFiles(VirtualFiles):
    """Archives in S3: a part of the time of their extraction is waiting for bytes."""

    is_remote = True

    async def extract(self, target_model: str, model_name: str, max_bytes: int) -> tuple[Extracted, Version]:
        extracted, version = await super().extract(target_model, model_name, max_bytes)
        return replace(extracted, waited_seconds=DOWNLOAD_SECONDS), version


class Scripted(VirtualContract):
    """A container whose answers to loads and invocations are those of the test, then 200."""

    def __init__(self, loads: Sequence[int] = (), invocations: Sequence[int] = ()) -> None:
        super().__init__()
        self.loads, self.invocations = iter(loads), iter(invocations)

    async def load(self, name: str, target_model: str, url: str, deadline: float) -> Answer:
        status = next(self.loads, 200)
        if status == 200:
            return await super().load(name, target_model, url, deadline)
        await self._pass(LOAD_SECONDS)
        return Answer(status, [], b"words")

    async def unload(self, name: str, target_model: str) -> Answer:
        if name in self.loaded:
            return await super().unload(name, target_model)
        await self._pass(UNLOAD_SECONDS)
        return Answer(404, [])

    async def invoke(self, path: str, invocation: Invocation, deadline: float) -> Answer:
        status = next(self.invocations, 200)
        if status == 404:  # it has forgotten the model
            del self.loaded[path.split("/")[2]]
        return await super().invoke(path, invocation, deadline) if status == 200 else Answer(status, [])

    async def is_loaded(self, name: str, target_model: str) -> bool:
        return name in self.loaded


class OfAnyKind(VirtualContract):
    """One that takes invocations of its only model, too."""

    async def invoke(self, path: str, invocation: Invocation, deadline: float) -> Answer:
        if path != "/invocations":
            return await super().invoke(path, invocation, deadline)
        await self._pass(ANSWER_SECONDS)
        return Answer(200, [], b"answer")


class Unreachable(VirtualContract):
    """One that takes no connection for an invocation, if so."""

    def __init__(self, unreachable: bool) -> None:
        super().__init__()
        self._unreachable = unreachable

    async def invoke(self, path: str, invocation: Invocation, deadline: float) -> Answer:
        if self._unreachable:
            raise ContainerNotReached("connection refused")
        return await super().invoke(path, invocation, deadline)


def variant(models_in_memory: int = 3, models_on_disk: int = 6, **fields: Any) -> VariantDefinition:
    fields = {"model": ModelDefinition([MANY]), "name": "A", **fields}
    return VariantDefinition(resources=resources(models_in_memory, models_on_disk), **fields)


def durations(call: Invocation) -> list[tuple[str, float]]:
    """The names and lengths of its steps, which must not overlap."""
    steps: tuple[Step, ...] = call.measurements.steps
    assert all(first[3] <= second[2] for first, second in itertools.pairwise(steps)), steps
    assert steps[0][2] >= call.received
    return [(name, round(ended - began, 6)) for name, _, began, ended in steps]


# The parts of the time


def test_a_cold_call_downloads_extracts_loads_and_is_answered(tmp_path: Path) -> None:
    virtual = VirtualEndpoint(tmp_path, files=RemoteFiles)
    call = virtual.live(lambda: virtual.invoke("a"))
    assert durations(call) == [
        ("download", DOWNLOAD_SECONDS),
        ("extract", EXTRACT_SECONDS - DOWNLOAD_SECONDS),
        ("load", LOAD_SECONDS),
        ("container", ANSWER_SECONDS),
    ]
    assert {container for _, container, _, _ in call.measurements.steps} == {"primary"}
    [downloaded] = virtual.of(ModelDownloaded)
    assert (downloaded.seconds, downloaded.download_seconds) == (EXTRACT_SECONDS, DOWNLOAD_SECONDS)
    [loaded] = virtual.of(ModelLoaded)
    assert (loaded.seconds, loaded.total_seconds) == (LOAD_SECONDS, EXTRACT_SECONDS + LOAD_SECONDS)
    assert (loaded.used_before_bytes, loaded.used_after_bytes, loaded.memory_bytes) == (0, MODEL_BYTES, MODEL_BYTES)


def test_a_warm_call_has_its_container_alone(tmp_path: Path) -> None:
    virtual = VirtualEndpoint(tmp_path)

    async def story() -> Invocation:
        await virtual.invoke("a")
        return await virtual.invoke("a")

    assert durations(virtual.live(story)) == [("container", ANSWER_SECONDS)]


def test_who_joins_a_load_has_the_rest_of_it(tmp_path: Path) -> None:
    virtual = VirtualEndpoint(tmp_path)

    async def story() -> Invocation:
        first = asyncio.ensure_future(virtual.invoke("a"))
        await asyncio.sleep(EXTRACT_SECONDS + 0.5)
        joined = await virtual.invoke("a")
        await first
        return joined

    assert durations(virtual.live(story)) == [("load", LOAD_SECONDS - 0.5), ("container", ANSWER_SECONDS)]


def test_a_call_makes_room_in_memory(tmp_path: Path) -> None:
    virtual = VirtualEndpoint(tmp_path, variant(1))

    async def story() -> Invocation:
        await virtual.invoke("a")
        await asyncio.sleep(41)
        return await virtual.invoke("b")

    call = virtual.live(story)
    assert durations(call)[1:3] == [("make room", UNLOAD_SECONDS), ("load", LOAD_SECONDS)]
    [unloaded] = virtual.of(ModelUnloaded)
    assert (unloaded.target_model, unloaded.made_room_for) == ("a", "b")
    assert unloaded.idle_seconds == pytest.approx(41 + EXTRACT_SECONDS)
    assert (unloaded.used_before_bytes, unloaded.used_after_bytes) == (MODEL_BYTES, 0)
    assert "evicted for b: memory pressure, least recently used, idle for 44 s, memory 10 B -> 0 B" in virtual.texts


def test_a_call_makes_room_on_the_disk(tmp_path: Path) -> None:
    virtual = VirtualEndpoint(tmp_path, variant(3, 1))

    async def story() -> Invocation:
        await virtual.invoke("a")
        return await virtual.invoke("b")

    assert ("make room", UNLOAD_SECONDS) in durations(virtual.live(story))
    [unloaded], [deleted] = virtual.of(ModelUnloaded), virtual.of(ModelDeleted)
    assert (unloaded.reason, unloaded.made_room_for, deleted.made_room_for) == ("storage volume full", "b", "b")


def test_a_call_waits_for_the_model_that_is_on_its_way_out(tmp_path: Path) -> None:
    virtual = VirtualEndpoint(tmp_path)

    async def story() -> Invocation:
        await virtual.invoke("a")
        virtual.endpoint.variant("A").instances[0].unload_model("a")
        await asyncio.sleep(0)
        return await virtual.invoke("a")

    steps = [("wait", UNLOAD_SECONDS), ("load", LOAD_SECONDS), ("container", ANSWER_SECONDS)]
    assert durations(virtual.live(story)) == steps
    # Nobody waits for an operator's: what it gives back is read.
    [unloaded] = virtual.of(ModelUnloaded)
    assert (unloaded.used_before_bytes, unloaded.used_after_bytes) == (MODEL_BYTES, 0)


def test_a_load_that_fails_has_taken_its_time_too(tmp_path: Path) -> None:
    virtual = VirtualEndpoint(tmp_path, contract=lambda: Scripted([500]))
    call = Invocation("e", b"", 0.0, target_model="a")

    async def story() -> None:
        with pytest.raises(AwsError):
            await virtual.endpoint.variant_for(call).invoke(call)

    virtual.live(story)
    assert durations(call) == [("extract", EXTRACT_SECONDS), ("load", LOAD_SECONDS)]


def test_a_load_that_is_refused_for_memory_makes_room_and_is_tried_again(tmp_path: Path) -> None:
    virtual = VirtualEndpoint(tmp_path, contract=lambda: Scripted([200, 507]))

    async def story() -> Invocation:
        await virtual.invoke("a")
        return await virtual.invoke("b")

    assert durations(virtual.live(story)) == [
        ("extract", EXTRACT_SECONDS),
        ("load", LOAD_SECONDS),
        ("make room", 2 * UNLOAD_SECONDS),  # of another one, and of what the refused one may have left
        ("load", LOAD_SECONDS),
        ("container", ANSWER_SECONDS),
    ]
    assert virtual.of(LoadRetried) == [LoadRetried("b", "container answered 507: words")]
    [unloaded] = virtual.of(ModelUnloaded)
    assert (unloaded.reason, unloaded.made_room_for) == ("container answered 507", "b")


def test_a_caller_that_gave_up_is_told_what_the_load_is_busy_with(tmp_path: Path) -> None:
    virtual = VirtualEndpoint(tmp_path, limits=replace(LIMITS, invocation_seconds=EXTRACT_SECONDS + 1))
    call = Invocation("e", b"", 0.0, target_model="a")

    async def story() -> None:
        with pytest.raises(AwsError) as raised:
            await virtual.endpoint.variant_for(call).invoke(call)
        assert raised.value.code == "ModelNotReadyException"
        await virtual.invoke("a")

    virtual.live(story)
    assert durations(call) == [("extract", EXTRACT_SECONDS), ("load", 1)]
    assert virtual.of(ModelNotReady) == [ModelNotReady("a", "is being loaded", EXTRACT_SECONDS + 1)]
    assert "not ready for a call after 4.0 s: it is being loaded" in virtual.texts


def test_a_model_that_was_lost_is_loaded_again_for_the_same_call(tmp_path: Path) -> None:
    virtual = VirtualEndpoint(tmp_path, contract=lambda: Scripted(invocations=[200, 404]))

    async def story() -> Invocation:
        await virtual.invoke("a")
        return await virtual.invoke("a")

    assert durations(virtual.live(story)) == [
        ("container", 0),
        ("load", LOAD_SECONDS),
        ("container", ANSWER_SECONDS),
    ]
    assert [event.target_model for event in virtual.of(ModelLost)] == ["a"]
    assert "it is loaded again at its next use: the container no longer has it: it answered 404" in virtual.texts


def test_a_changed_archive_is_looked_for_before_the_model_is_used(tmp_path: Path) -> None:
    virtual = VirtualEndpoint(tmp_path, variant(model=ModelDefinition([replace(MANY, caching=Caching(reload=True))])))

    async def story() -> Invocation:
        await virtual.invoke("a")
        return await virtual.invoke("a")

    assert durations(virtual.live(story))[-1] == ("container", ANSWER_SECONDS)


def test_each_container_of_a_pipeline_has_its_own_steps(tmp_path: Path) -> None:
    one = replace(MANY, model_data=None, multi_model=False, hostname="first")
    pipeline = ModelDefinition([one, replace(MANY, hostname="second")])
    virtual = VirtualEndpoint(tmp_path, variant(model=pipeline), contract=OfAnyKind)
    call = virtual.live(lambda: virtual.invoke("a"))
    assert [(name, container) for name, container, _, _ in call.measurements.steps] == [
        ("container", "first"),
        ("extract", "second"),
        ("load", "second"),
        ("container", "second"),
    ]


def test_a_call_that_reached_nothing_goes_to_another_instance(tmp_path: Path) -> None:
    refusing = iter([True, False])
    virtual = VirtualEndpoint(tmp_path, variant(instance_count=2), contract=lambda: Unreachable(next(refusing)))
    call = virtual.live(lambda: virtual.invoke("a"))
    assert call.measurements.instance_id == "i-2"
    assert virtual.of(InvocationRetried) == [InvocationRetried("a", "i-1", "its container accepts no connection")]
    assert durations(call)[-1] == ("container", ANSWER_SECONDS)


def test_a_container_that_is_invoked_directly_has_steps_of_its_own(tmp_path: Path) -> None:
    one = replace(MANY, model_data=None, multi_model=False, hostname="first")
    direct = ModelDefinition([one, replace(MANY, hostname="second")], direct=True)
    virtual = VirtualEndpoint(tmp_path, variant(model=direct), contract=OfAnyKind)
    call = virtual.live(lambda: virtual.invoke("a", target_container_hostname="second"))
    steps = [(name, container) for name, container, _, _ in call.measurements.steps]
    assert steps == [("extract", "second"), ("load", "second"), ("container", "second")]
