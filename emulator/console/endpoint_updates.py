"""What of one endpoint has changed since somebody looked last: its models, and its instances' figures."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import chain, islice

from emulator.clock import Clock
from emulator.console.emulator_state import model_state
from emulator.entries import EventEntry
from emulator.errors import EmulatorError
from emulator.hosting.endpoint import Endpoint
from emulator.hosting.instance import Instance
from emulator.observers.model_counts import CountsByEndpoint
from emulator.state import EndpointState, EndpointUpdate, InstanceFigures, ModelUpdate, Place
from emulator.timeouts import in_time

# [ours] An instance's memory is read that often while models come and go, and else for what its models do. Counting
# the pages of many processes takes a while.
MEMORY_SECONDS, QUIET_MEMORY_SECONDS = 1.0, 10.0
MEMORY_ANSWER_SECONDS = 2.0  # [ours] after which the last figure stays
# [ours] How often what is in S3 is listed anew, and how often at most for a model that was not in it.
LISTING_SECONDS, NEW_LISTING_SECONDS = 30.0, 2.0
MOST_MODELS = 100  # [ours] in an update, those first that are elsewhere; the next one has the others
FAILED, TRIED_AGAIN = "load_failed", ("load_started", "model_loaded")  # kinds of entries


class EndpointUpdates:
    """Collects what may have changed, and looks at it when the next update is made."""

    def __init__(self, endpoint: Endpoint, counts: CountsByEndpoint, clock: Clock) -> None:
        self.endpoint = endpoint
        self._counts = counts
        self._clock = clock
        self._in_s3: dict[str, int] = {}  # sizes of archives
        self._listed = clock.elapsed()  # when that was so
        self._moved: dict[str, None] = {}  # models that may be elsewhere than in the update before
        self._called: dict[str, None] = {}  # and those of which only the counts have changed
        self._moving: Mapping[str, Mapping[str, Place]] = {}  # by instance, in the update before
        self._failed: defaultdict[str, set[str]] = defaultdict(set)  # by model, the instances
        self._figures: list[InstanceFigures] = []
        self._memory: dict[Instance, tuple[float, int]] = {}  # when it was read, and the bytes
        self._stirred: set[str] = set()  # instances where something has happened since

    @property
    def structure(self) -> object:
        """Equal to itself until variants or instances come or go, or the endpoint changes its status."""
        variants = [(variant.name, variant.weight, list(variant.instances)) for variant in self.endpoint.variants]
        return self.endpoint.status, self.endpoint.failure_reason, variants

    def happened(self, entry: EventEntry) -> None:
        """Take note of an event of this endpoint."""
        self._stirred.add(self._key(entry["variant_name"], entry["instance_id"]))
        if target_model := entry["target_model"]:
            self._moved[target_model] = None
        self.note_failure(entry)

    def note_failure(self, entry: EventEntry) -> None:
        """Take note of where the last load of a model has failed, and where it has not."""
        instance, target_model = self._key(entry["variant_name"], entry["instance_id"]), entry["target_model"]
        if entry["kind"] == "endpoint_created":  # what is known so far is of another one that had its name
            self._failed.clear()
        elif entry["kind"] == FAILED:
            self._failed[target_model].add(instance)
        elif entry["kind"] in TRIED_AGAIN:
            self._failed[target_model].discard(instance)

    def called(self, target_model: str) -> None:
        """Take note of a call of a model."""
        self._called[target_model] = None

    def was_shown(self, state: EndpointState) -> None:
        """The whole state was sent: what it does not say of models is sent with the next update."""
        self._in_s3 = {model["target_model"]: model["size_bytes"] for model in state["models"] if model["in_s3"]}
        self._listed = self._clock.elapsed()
        self._moved |= dict.fromkeys(chain(*self._moving.values()))
        self._moved |= dict.fromkeys(name for name, instances in self._failed.items() if instances)
        self._figures = []

    async def next(self) -> EndpointUpdate | None:
        """All that has changed, but for models beyond MOST_MODELS; None = nothing."""
        instances = dict(self._instances())
        self._look_at_moving(instances)
        await self._list()
        await self._read_memory(instances)
        figures = [instance.figures(self._memory[instance][1]) for instance in instances.values()]
        names = list(islice({**self._moved, **self._called}, MOST_MODELS))
        if not names and figures == self._figures:
            return None
        for name in names:
            self._moved.pop(name, None)
            self._called.pop(name, None)
        self._figures = figures
        models = [self._model(name, instances) for name in names]
        there = [model for model in models if model is not None]
        removed = [name for name, model in zip(names, models, strict=True) if model is None]
        return {
            "endpoint_name": self.endpoint.definition.name,
            "instances": figures,
            "models": there,
            "removed": removed,
        }

    def _instances(self) -> Iterator[tuple[str, Instance]]:
        for variant in self.endpoint.variants:
            for instance in variant.instances:
                yield self._key(variant.name, instance.instance_id), instance

    def _key(self, variant_name: str, instance_id: str) -> str:
        return f"{variant_name}/{instance_id}" if len(self.endpoint.variants) > 1 else instance_id

    def _look_at_moving(self, instances: Mapping[str, Instance]) -> None:
        moving = {key: instance.multi_model.moving() for key, instance in instances.items() if instance.multi_model}
        for key in {*moving, *self._moving}:
            changed = moving.get(key, {}).items() ^ self._moving.get(key, {}).items()
            self._moved |= dict.fromkeys(name for name, _ in changed)
        self._moving = moving

    async def _list(self) -> None:
        """What is in S3, if it is time to; what has changed there may be shown."""
        is_new = not self._in_s3.keys() >= self._moved.keys()
        if self._clock.elapsed() >= self._listed + (NEW_LISTING_SECONDS if is_new else LISTING_SECONDS):
            self._listed, before = self._clock.elapsed(), self._in_s3
            self._in_s3 = await self.endpoint.archives()
            self._moved |= dict.fromkeys(name for name, _ in self._in_s3.items() ^ before.items())

    async def _read_memory(self, instances: Mapping[str, Instance]) -> None:
        """Read what is too old."""
        now, stale = self._clock.elapsed(), []
        for key, instance in instances.items():
            read_at, _ = self._memory.setdefault(instance, (-QUIET_MEMORY_SECONDS, 0))
            if now >= read_at + (MEMORY_SECONDS if key in self._stirred else QUIET_MEMORY_SECONDS):
                self._stirred.discard(key)
                stale.append(instance)
        self._memory = {instance: self._memory[instance] for instance in instances.values()}
        await asyncio.gather(*(self._read(instance, now) for instance in stale))

    async def _read(self, instance: Instance, now: float) -> None:
        used = self._memory[instance][1]
        with contextlib.suppress(EmulatorError, asyncio.TimeoutError):
            used = await in_time(instance.memory_used(), MEMORY_ANSWER_SECONDS)
        self._memory[instance] = now, used

    def _model(self, name: str, instances: Mapping[str, Instance]) -> ModelUpdate | None:
        """None = there is no such model any more."""
        locations: dict[str, Place] = {}
        in_memory, on_disk, footprint = [], None, None
        failed = self._failed.get(name, ())
        for key, instance in instances.items():
            if (container := instance.multi_model) is None:
                continue
            place = self._moving[key].get(name)
            if stored := container.volume.models.get(name):
                on_disk = stored.size_bytes
                place = place or "on_disk"
            if container.loaded is not None and container.loaded.models.get(name):
                in_memory.append(key)
                footprint = max(footprint or 0, container.loaded.footprint(name) or 0) or None
                place = place if place != "on_disk" else "in_memory"
            if key in failed and place in (None, "on_disk"):
                place = "failed"
            if place is not None:
                locations[key] = place
        counted = self._counts.models(self.endpoint.definition.name).get(name)
        if not locations and counted is None and name not in self._in_s3:
            return None
        state = model_state(name, self._in_s3.get(name), on_disk, footprint, in_memory, counted)
        return {**state, "locations": locations}
