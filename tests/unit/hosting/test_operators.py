"""What an operator may do to an endpoint: unload, delete and reload models, end containers, lose instances."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emulator.containers.contract import Answer
from emulator.errors import SetupError
from emulator.events import (
    ContainerStarted,
    ContainerStopped,
    InstanceLost,
    InstanceReplaced,
    LoadStarted,
    ModelDeleted,
    ModelDownloaded,
    ModelLoaded,
    ModelUnloaded,
)
from emulator.hosting.definition import ModelDefinition, VariantDefinition
from emulator.hosting.errors import ModelError, NotPossible
from emulator.hosting.instance import ASKED_FOR, Instance
from emulator.hosting.multi_model_container import ModelLocation
from emulator.invocation import Invocation
from tests.support.virtual_containers import VirtualContract
from tests.support.virtual_endpoint import MANY, VirtualEndpoint, resources

VARIANT = VariantDefinition(ModelDefinition([MANY]), resources(), name="A")
TWO_INSTANCES = replace(VARIANT, instance_count=2)
ONE_MODEL = replace(VARIANT, model=ModelDefinition([replace(MANY, model_data=None, multi_model=False)]))


class Slow(VirtualContract):
    """Each call takes a minute."""

    async def invoke(self, path: str, invocation: Invocation, deadline: float) -> Answer:
        await asyncio.sleep(60)
        return await super().invoke(path, invocation, deadline)


def instance(virtual: VirtualEndpoint, number: int = 0) -> Instance:
    return virtual.endpoint.variant("A").instances[number]


# Models


def test_a_model_is_unloaded_and_stays_on_the_disk(tmp_path: Path) -> None:
    virtual = VirtualEndpoint(tmp_path)

    async def story() -> ModelLocation:
        await virtual.invoke("a.tar.gz")
        instance(virtual).unload_model("a.tar.gz")
        await asyncio.sleep(1)
        return instance(virtual).location_of("a.tar.gz")

    assert virtual.live(story) == ModelLocation.ON_DISK
    assert [event.reason for event in virtual.of(ModelUnloaded)] == [ASKED_FOR]
    assert virtual.of(ModelDeleted) == []


def test_a_model_in_use_is_unloaded_when_its_calls_are_over(tmp_path: Path) -> None:
    virtual = VirtualEndpoint(tmp_path, contract=Slow)

    async def story() -> list[Any]:
        call = asyncio.ensure_future(virtual.invoke("a.tar.gz"))
        await asyncio.sleep(10)
        instance(virtual).unload_model("a.tar.gz")
        await asyncio.sleep(10)
        before = virtual.of(ModelUnloaded)
        await call
        await asyncio.sleep(1)
        return before

    assert virtual.live(story) == []
    assert len(virtual.of(ModelUnloaded)) == 1


def test_a_model_is_deleted_from_the_disk_once_it_is_unloaded(tmp_path: Path) -> None:
    virtual = VirtualEndpoint(tmp_path)

    async def story() -> ModelLocation:
        await virtual.invoke("a.tar.gz")
        instance(virtual).delete_model("a.tar.gz")
        await asyncio.sleep(1)
        return instance(virtual).location_of("a.tar.gz")

    assert virtual.live(story) == ModelLocation.NOWHERE
    kinds = [type(event) for _, _, event in virtual.happened if isinstance(event, (ModelUnloaded, ModelDeleted))]
    assert kinds == [ModelUnloaded, ModelDeleted]
    assert [event.reason for event in virtual.of(ModelDeleted)] == [ASKED_FOR]


def test_a_model_on_the_disk_alone_is_deleted(tmp_path: Path) -> None:
    virtual = VirtualEndpoint(tmp_path)

    async def story() -> ModelLocation:
        await virtual.invoke("a.tar.gz")
        instance(virtual).unload_model("a.tar.gz")
        await asyncio.sleep(1)
        instance(virtual).delete_model("a.tar.gz")
        return instance(virtual).location_of("a.tar.gz")

    assert virtual.live(story) == ModelLocation.NOWHERE


def test_an_archive_is_downloaded_and_loaded_again_at_once(tmp_path: Path) -> None:
    virtual = VirtualEndpoint(tmp_path)

    async def story() -> ModelLocation:
        await virtual.invoke("a.tar.gz")
        instance(virtual).reload_model("a.tar.gz")
        await asyncio.sleep(10)
        return instance(virtual).location_of("a.tar.gz")

    assert virtual.live(story) == ModelLocation.IN_MEMORY
    assert (len(virtual.of(ModelDownloaded)), len(virtual.of(ModelLoaded))) == (2, 2)


# Containers


def seen_of_containers(virtual: VirtualEndpoint) -> list[Any]:
    return [event for _, _, event in virtual.happened if isinstance(event, (ContainerStopped, ContainerStarted))]


@pytest.mark.parametrize(
    "act, seconds, reason",
    [
        (Instance.restart_container, None, ASKED_FOR),
        (Instance.kill_container, 0, f"it was killed: {ASKED_FOR}"),
    ],
)
def test_a_container_is_replaced_and_calls_under_way_fail(
    tmp_path: Path, act: Callable[[Instance, str], None], seconds: float | None, reason: str
) -> None:
    virtual = VirtualEndpoint(tmp_path, contract=Slow)

    async def story() -> int:
        call = asyncio.ensure_future(virtual.invoke("a.tar.gz"))
        await asyncio.sleep(10)
        act(instance(virtual), "primary")
        with pytest.raises(ModelError):
            await call
        await virtual.invoke("a.tar.gz")
        return (await instance(virtual).state())["containers"][0]["restarts"]

    assert virtual.live(story) == 1
    first, _ = virtual.containers["i-1/primary"]
    assert first.stopped_in == [seconds]
    assert [getattr(event, "reason", "started") for event in seen_of_containers(virtual)] == [
        "started",
        reason,
        "started",
    ]


def test_a_container_that_died_later_is_not_said_to_be_asked_for(tmp_path: Path) -> None:
    virtual = VirtualEndpoint(tmp_path)

    async def story() -> None:
        instance(virtual).kill_container("primary")
        await asyncio.sleep(1)
        virtual.containers["i-1/primary"][-1].die()
        await asyncio.sleep(1)

    virtual.live(story)
    assert [event.reason for event in virtual.of(ContainerStopped)][1] == "it ended with exit code 1"
    assert virtual.containers["i-1/primary"][1].stopped_in == [None]


# Instances


def test_an_instance_is_lost_with_all_it_has_and_another_one_takes_its_place(tmp_path: Path) -> None:
    virtual = VirtualEndpoint(tmp_path, TWO_INSTANCES, contract=Slow)

    async def story() -> list[str]:
        call = asyncio.ensure_future(virtual.invoke("a.tar.gz"))
        await asyncio.sleep(10)
        assert virtual.endpoint.variant("A").lose_instance("i-1") == "i-3"
        with pytest.raises(ModelError):
            await call
        await asyncio.sleep(1)
        assert instance(virtual).location_of("a.tar.gz") == ModelLocation.NOWHERE
        await virtual.invoke("a.tar.gz")
        return [each.instance_id for each in virtual.endpoint.variant("A").instances]

    assert virtual.live(story) == ["i-3", "i-2"]
    assert virtual.of(InstanceLost) == [InstanceLost(ASKED_FOR, "i-3")]
    assert [event.lost for event in virtual.of(InstanceReplaced)] == ["i-1"]
    [lost] = virtual.containers["i-1/primary"]
    assert lost.stopped_in[0] == 0
    assert not (tmp_path / "e" / "A" / "i-1").exists()


def test_a_call_that_waits_for_the_container_of_a_lost_instance_goes_to_another_one(tmp_path: Path) -> None:
    virtual = VirtualEndpoint(tmp_path)

    async def story() -> Invocation:
        virtual.cannot_start = SetupError("no")
        virtual.containers["i-1/primary"][0].die()
        await asyncio.sleep(1)
        call = asyncio.ensure_future(virtual.invoke("a.tar.gz"))
        await asyncio.sleep(1)
        virtual.cannot_start = None
        virtual.endpoint.variant("A").lose_instance("i-1")
        return await call

    assert virtual.live(story).measurements.instance_id == "i-2"


def test_one_that_cannot_be_started_is_tried_again_as_another_one(tmp_path: Path) -> None:
    virtual = VirtualEndpoint(tmp_path)

    async def story() -> list[str]:
        virtual.cannot_start = SetupError("no image")
        virtual.endpoint.variant("A").lose_instance("i-1")
        await asyncio.sleep(0.05)
        with pytest.raises(NotPossible, match="i-3 is being started"):
            virtual.endpoint.variant("A").lose_instance("i-3")
        virtual.cannot_start = None
        await virtual.invoke("a.tar.gz")
        return [each.instance_id for each in virtual.endpoint.variant("A").instances]

    assert virtual.live(story) == ["i-3"]
    assert virtual.of(InstanceLost) == [
        InstanceLost(ASKED_FOR, "i-2"),
        InstanceLost("it cannot be started: no image", "i-3"),
    ]


@pytest.mark.parametrize("pause", [0, 0.05, 0.15])
def test_an_endpoint_ends_while_an_instance_is_being_replaced(tmp_path: Path, pause: float) -> None:
    virtual = VirtualEndpoint(tmp_path)

    async def story() -> None:
        virtual.cannot_start = SetupError("no image")
        virtual.endpoint.variant("A").lose_instance("i-1")
        await asyncio.sleep(pause)

    virtual.live(story)
    assert all(run.stopped_in for runs in virtual.containers.values() for run in runs)


def test_a_variant_is_made_smaller_while_an_instance_is_being_replaced(tmp_path: Path) -> None:
    virtual = VirtualEndpoint(tmp_path, TWO_INSTANCES)

    async def story() -> list[str]:
        virtual.cannot_start = SetupError("no image")
        virtual.endpoint.variant("A").lose_instance("i-2")
        await asyncio.sleep(0.05)
        virtual.endpoint.begin_update()
        await virtual.endpoint.update_weights_and_capacities({}, {"A": 1})
        await virtual.endpoint.finish_update()
        virtual.cannot_start = None
        await asyncio.sleep(100)
        return [each.instance_id for each in virtual.endpoint.variant("A").instances]

    assert virtual.live(story) == ["i-1"]
    assert list(virtual.containers) == ["i-1/primary", "i-2/primary"]


# What is not possible


@pytest.mark.parametrize(
    "ask, words",
    [
        (lambda e: e.variant("B"), "Endpoint e has no variant B."),
        (lambda e: e.variant("A").instance("i-9"), "Variant A has no instance i-9."),
        (lambda e: e.variant("A").lose_instance("i-9"), "Variant A has no instance i-9."),
        (lambda e: e.variant("A").instance("i-1").unload_model("b"), "b is not in memory."),
        (lambda e: e.variant("A").instance("i-1").delete_model("b"), "b is not on the disk."),
        (lambda e: e.variant("A").instance("i-1").reload_model("b"), "b is not on the disk."),
        (lambda e: e.variant("A").instance("i-1").restart_container("x"), "i-1 has no container x."),
    ],
)
def test_what_is_not_there_is_said_so(tmp_path: Path, ask: Callable[[Any], object], words: str) -> None:
    virtual = VirtualEndpoint(tmp_path)

    async def story() -> str:
        with pytest.raises(NotPossible) as raised:
            ask(virtual.endpoint)
        return str(raised.value)

    assert virtual.live(story) == words


def test_what_cannot_be_done_at_the_moment_is_said_so(tmp_path: Path) -> None:
    virtual = VirtualEndpoint(tmp_path)

    async def story() -> list[str]:
        said = []

        def ask(what: Callable[[], None]) -> None:
            with pytest.raises(NotPossible) as raised:
                what()
            said.append(str(raised.value))

        await virtual.invoke("a.tar.gz")
        instance(virtual).unload_model("a.tar.gz")
        call = asyncio.ensure_future(virtual.invoke("a.tar.gz"))
        while len(virtual.of(LoadStarted)) < 2:
            await asyncio.sleep(0.1)
        ask(lambda: instance(virtual).delete_model("a.tar.gz"))
        await call
        virtual.cannot_start = SetupError("no")
        instance(virtual).kill_container("primary")
        await asyncio.sleep(0.05)
        ask(lambda: instance(virtual).restart_container("primary"))
        ask(lambda: instance(virtual).unload_model("a.tar.gz"))
        ask(lambda: instance(virtual).reload_model("a.tar.gz"))
        instance(virtual).delete_model("a.tar.gz")
        return said

    assert virtual.live(story) == [
        "a.tar.gz is being loaded.",
        "primary is being replaced already.",
        "a.tar.gz is not in memory.",
        "The container is being replaced.",
    ]


def test_an_instance_of_one_model_has_none_to_unload(tmp_path: Path) -> None:
    virtual = VirtualEndpoint(tmp_path, ONE_MODEL)

    async def story() -> None:
        with pytest.raises(NotPossible, match="i-1 has no multi-model container."):
            instance(virtual).unload_model("a.tar.gz")

    virtual.live(story)
