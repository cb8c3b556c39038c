"""The entries alone say where each model is, at every moment, and nothing comes, goes or fails without a cause."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emulator.aws.errors import AwsError
from emulator.containers.contract import Answer
from emulator.entries import Entry, EventEntry
from emulator.hosting.definition import ModelDefinition, VariantDefinition
from emulator.hosting.errors import NotPossible
from emulator.hosting.instance import Instance
from emulator.invocation import Invocation
from emulator.timeouts import in_time
from tests.support.virtual_containers import LOAD_SECONDS, UNLOAD_SECONDS, VirtualContainer, VirtualContract
from tests.support.virtual_endpoint import LIMITS, MANY, VirtualEndpoint, resources

MODELS, INVOCATIONS, PER_SECOND = 25, 500, 5.0
IN_MEMORY, ON_DISK, INSTANCES = 4, 7, 3
QUIET_SECONDS = 1000  # in which all that was begun comes to its end


class Unruly(VirtualContract):
    """A container that refuses models, is slow, forgets models, and answers with errors, all of it at times."""

    def __init__(self, series: random.Random) -> None:
        super().__init__()
        self._series = series
        self._end = asyncio.Event()

    def close(self) -> None:
        super().close()
        self._end.set()

    async def _pass(self, seconds: float) -> None:
        """A call under way fails at once, as one whose connection is closed."""
        with contextlib.suppress(asyncio.TimeoutError):
            await in_time(self._end.wait(), seconds)
        await super()._pass(0)

    async def load(self, name: str, target_model: str, url: str, deadline: float) -> Answer:
        if name in self.loaded:
            return Answer(409, [])
        what = self._series.choices(["well", "no memory", "broken", "slow"], [78, 13, 4, 5])[0]
        await self._pass(100 if what == "slow" else LOAD_SECONDS)
        if what in ("no memory", "broken"):
            return Answer(507 if what == "no memory" else 500, [])
        return await super().load(name, target_model, url, deadline)

    async def unload(self, name: str, target_model: str) -> Answer:
        if name in self.loaded:
            return await super().unload(name, target_model)
        await self._pass(UNLOAD_SECONDS)
        return Answer(404, [])

    async def invoke(self, path: str, invocation: Invocation, deadline: float) -> Answer:
        name = path.split("/")[2]
        what = self._series.choices(["well", "forgets", "no memory", "slow"], [90, 3, 2, 5])[0]
        if what == "forgets":
            self.loaded.pop(name, None)
        if name not in self.loaded:
            return Answer(404, [])
        if what == "slow":
            await self._pass(15)
            return Answer(200 if name in self.loaded else 404, [])
        return Answer(507, []) if what == "no memory" else await super().invoke(path, invocation, deadline)

    async def is_loaded(self, name: str, target_model: str) -> bool:
        await self._pass(0.01)
        return name in self.loaded


class Replay:
    """Where the models are, by nothing but the entries. A model may be somewhere in two versions, of which one goes."""

    def __init__(self) -> None:
        self.memory: defaultdict[str, Counter[str]] = defaultdict(Counter)  # by instance
        self.disk: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.sequence = 0  # of the last entry so far

    def follow(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self.sequence = entry["sequence"]
            if entry["type"] != "event":
                continue
            memory, disk = self.memory[entry["instance_id"]], self.disk[entry["instance_id"]]
            model = entry["target_model"]
            match entry["kind"]:
                case "model_loaded":
                    memory[model] += 1
                case "model_unloaded" | "model_lost":
                    memory[model] -= 1
                case "container_stopped":
                    memory.clear()
                case "model_downloaded":
                    disk[model] += 1
                case "model_deleted":
                    disk[model] -= 1
                case "instance_lost":
                    memory.clear()
                    disk.clear()
            assert min([*memory.values(), *disk.values()], default=0) >= 0, f"what was not there left: {entry}"


class Story:
    """The life of an endpoint under traffic, disturbed by everything that can happen to it."""

    def __init__(self, seed: int, directory: Path) -> None:
        self.series = random.Random(seed)
        variant = VariantDefinition(
            ModelDefinition([MANY]), resources(IN_MEMORY, ON_DISK), name="A", instance_count=INSTANCES
        )
        self.virtual = VirtualEndpoint(
            directory,
            variant,
            limits=replace(LIMITS, invocation_seconds=20, load_seconds=60),
            contract=lambda: Unruly(random.Random(self.series.random())),
            seed=seed,
        )
        self.errors: Counter[str] = Counter()
        self.replay = Replay()
        self.samples = 0
        self.virtual.live(self._live)

    @property
    def entries(self) -> list[EventEntry]:
        return [entry for entry in self.virtual.entries.since(0) if entry["type"] == "event"]

    def of(self, *kinds: str) -> list[EventEntry]:
        return [entry for entry in self.entries if entry["kind"] in kinds]

    async def _live(self) -> None:
        self.sampler = asyncio.create_task(self._sample())
        calls = []
        for number in range(INVOCATIONS):
            await asyncio.sleep(self.series.expovariate(PER_SECOND))
            calls.append(asyncio.create_task(self._call()))
            if number % 10 == 0:
                self._disturb()
        await asyncio.gather(*calls)
        self.sampler.cancel()
        await asyncio.sleep(QUIET_SECONDS)
        await self._compare()
        for instance in self._variant.instances:  # in the end, with the container's own knowledge, too
            has = set(self._container(instance).contract(LIMITS).loaded.values())  # type: ignore[attr-defined]
            assert has == set(+self.replay.memory[instance.instance_id])

    @property
    def _variant(self) -> Any:
        return self.virtual.endpoint.variant("A")

    def _container(self, instance: Instance) -> VirtualContainer:
        return self.virtual.containers[f"{instance.instance_id}/primary"][-1]

    def _model(self) -> str:
        return f"model-{min(int(self.series.expovariate(4 / MODELS)), MODELS)}"

    async def _call(self) -> None:
        call = Invocation("e", b"", self.virtual.loop.time(), target_model=self._model())
        try:
            await self._variant.invoke(call)
        except AwsError as error:
            self.errors[error.code] += 1
        steps = call.measurements.steps
        assert all(first[3] <= second[2] for first, second in itertools.pairwise(steps)), "steps overlap"
        assert all(call.received <= began <= ended <= self.virtual.loop.time() for *_, began, ended in steps)

    def _disturb(self) -> None:
        instance = self.series.choice(self._variant.instances)
        what: Callable[[], object] = self.series.choices(
            [
                lambda: instance.unload_model(self._model()),
                lambda: instance.delete_model(self._model()),
                lambda: instance.reload_model(self._model()),
                lambda: instance.kill_container("primary"),
                lambda: self._container(instance).die(),
                lambda: self._variant.lose_instance(instance.instance_id),
            ],
            [6, 6, 6, 1, 1, 1],
        )[0]
        try:
            what()
        except (NotPossible, KeyError):
            return

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(0.3)
            await self._compare()

    async def _compare(self) -> None:
        self.samples += 1
        replay = self.replay
        replay.follow(self.virtual.entries.since(replay.sequence))
        for instance in self._variant.instances:
            state = await instance.state()
            known = {model["target_model"] for model in state["memory"]["models"]}
            unloading = set(state["memory"]["unloading"])
            in_memory = set(+replay.memory[instance.instance_id])
            assert known <= in_memory <= known | unloading
            stored = {model["target_model"] for model in state["volume"]["models"]}
            on_disk = set(+replay.disk[instance.instance_id])
            assert stored <= on_disk <= stored | unloading  # what was replaced goes when it is unloaded


@pytest.fixture(scope="module", params=[1, 2])
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Story:
    return Story(request.param, tmp_path_factory.mktemp("story"))


def test_the_entries_say_where_each_model_is_at_every_moment(story: Story) -> None:
    assert story.sampler.cancelled(), "a comparison failed"
    assert story.samples > 200
    kinds = {entry["kind"] for entry in story.entries}
    assert kinds >= {
        "model_downloaded", "model_deleted", "load_started", "model_loaded", "model_unloaded", "load_failed",
        "load_retried", "model_not_ready", "model_lost", "container_stopped", "instance_lost", "instance_replaced",
    }  # fmt: skip


def test_each_load_ends_as_one_that_succeeded_or_failed_and_says_why(story: Story) -> None:
    under_way: Counter[tuple[str, str]] = Counter()
    for entry in story.of("load_started", "model_loaded", "load_failed"):
        load = (entry["instance_id"], entry["target_model"])
        under_way[load] += 1 if entry["kind"] == "load_started" else -1
        assert 0 <= under_way[load] <= 1, entry
    assert not +under_way
    assert all(entry["details"]["reason"] for entry in story.of("load_failed", "load_retried", "model_lost"))


def test_nothing_leaves_without_a_cause_and_who_it_left_for_was_on_its_way(story: Story) -> None:
    loading: set[tuple[str, str]] = set()
    evictions = 0
    for entry in story.entries:
        details = entry["details"]
        if entry["kind"] == "load_started":
            loading.add((entry["instance_id"], entry["target_model"]))
        elif entry["kind"] in ("model_unloaded", "model_deleted"):
            assert details["reason"] and details["reason"] in entry["text"]
            wants_it = details["made_room_for"]
            if wants_it and "to an invocation" not in details["reason"]:
                evictions += 1
                assert (entry["instance_id"], wants_it) in loading and f" for {wants_it}: " in entry["text"]
            operator = "asked for by an operator" in details["reason"]
            assert bool(wants_it) != operator, entry
    assert evictions > 50
    assert all(entry["details"]["reason"] for entry in story.of("container_stopped", "instance_lost"))


def test_what_an_eviction_gave_back_is_what_the_container_had(story: Story) -> None:
    measured = [entry["details"] for entry in story.of("model_unloaded") if entry["details"]["used_before_bytes"]]
    assert len(measured) > 50
    assert all(each["used_after_bytes"] is not None and not each["leaked_bytes"] for each in measured)


def test_each_call_that_was_refused_as_not_ready_has_an_entry(story: Story) -> None:
    assert len(story.of("model_not_ready")) == story.errors["ModelNotReadyException"] > 0
    assert set(story.errors) <= {"ModelNotReadyException", "ModelError", "ServiceUnavailable"}
