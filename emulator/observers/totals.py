"""What has happened on each endpoint since it was created, as sums and histograms: for Prometheus."""

from __future__ import annotations

import copy
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import compress, groupby
from operator import attrgetter, sub
from typing import NamedTuple

from emulator.events import (
    CallEnded,
    EndpointCreated,
    EndpointDeleted,
    Events,
    LoadFailed,
    ModelDownloaded,
    ModelLoaded,
    ModelUnloaded,
    Origin,
)
from emulator.observers.cloudwatch_metrics import COUNTED_TOGETHER

# [ours] Seconds: the upper bounds of the histograms' buckets. A warm call takes a millisecond, a load may take minutes.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
MOST_MODELS = 20  # [ours] of an endpoint that have series of their own; all others are one series together
# Why a model was unloaded, by what the event's reason contains; the first that does. A label must not have more values.
CAUSES = {
    "memory pressure": "memory_pressure",
    "answered 507": "insufficient_memory",
    "models are loaded": "max_loaded_models",
    "volume full": "storage_full",
    "no space left": "storage_full",
    "archive has changed": "archive_changed",
    "cache is disabled": "cache_disabled",
    "by an operator": "operator",
}
OTHER_CAUSE = "other"

_RECEIVED, _ENDED = attrgetter("invocation.received"), attrgetter("ended")
_WAITED, _LATENCY = (attrgetter(f"invocation.measurements.{name}") for name in ("load_wait_us", "model_latency_us"))
_OUTCOME = attrgetter("status", "invocation.measurements.cache_hit")
_INSTANCE = attrgetter(
    "invocation.endpoint_name", "invocation.measurements.variant_name", "invocation.measurements.instance_id"
)
_bucket = partial(bisect_left, BOUNDS)


class InstanceKey(NamedTuple):
    """The instance that something is counted for. Of a call that came to none, variant and instance are empty."""

    endpoint_name: str  # empty = there is no such endpoint
    variant_name: str
    instance_id: str


@dataclass(slots=True)
class Histogram:
    """How many values there were, by bucket of BOUNDS, and their sum. Seconds."""

    buckets: Counter[int] = field(default_factory=Counter)
    total: float = 0.0

    def add(self, seconds: float) -> None:
        self.buckets[_bucket(seconds)] += 1
        self.total += seconds


@dataclass(slots=True)
class InstanceTotals:
    """The sums of one instance. Times are in seconds."""

    # By the status of the answer to the caller, and whether the model was in memory; None = a container of one model.
    calls: Counter[tuple[int, bool | None]] = field(default_factory=Counter)
    call_times: Histogram = field(default_factory=Histogram)
    container_seconds: float = 0.0  # of the calls' time, in all of their containers
    waits: Histogram = field(default_factory=Histogram)  # of calls that waited for their model
    step_seconds: defaultdict[str, float] = field(
        default_factory=lambda: defaultdict(float)
    )  # of these, by Step's names
    downloads: Histogram = field(default_factory=Histogram)  # with the extraction
    downloaded_bytes: int = 0  # extracted
    loads: Histogram = field(default_factory=Histogram)
    failed_loads: int = 0
    unloads: Counter[str] = field(default_factory=Counter)  # by cause


class Totals:
    """Listens to the event stream. It is on the path of every call, which it only notes, and counts later."""

    def __init__(self) -> None:
        self._uncounted: list[CallEnded] = []
        self._endpoints: set[str] = set()
        self._instances: defaultdict[InstanceKey, InstanceTotals] = defaultdict(InstanceTotals)

    def listen_to(self, events: Events) -> None:
        events.subscribe(self._call_ended, CallEnded)
        events.subscribe(self._endpoint_created, EndpointCreated)
        events.subscribe(self._endpoint_deleted, EndpointDeleted)
        events.subscribe(self._model_downloaded, ModelDownloaded)
        events.subscribe(self._model_loaded, ModelLoaded)
        events.subscribe(self._load_failed, LoadFailed)
        events.subscribe(self._model_unloaded, ModelUnloaded)

    def copied(self, present: Collection[InstanceKey]) -> dict[InstanceKey, InstanceTotals]:
        """All sums; what is counted later does not change them. ``present`` are the instances that there are now.

        Those of instances that are gone are forgotten.
        """
        self._count()
        for key in list(self._instances):
            if key.instance_id and key not in present:
                del self._instances[key]
        return copy.deepcopy(dict(self._instances))

    def _call_ended(self, event: CallEnded, _: Origin) -> None:
        self._uncounted.append(event)
        if len(self._uncounted) == COUNTED_TOGETHER:
            self._count()

    def _count(self) -> None:
        """Most of it runs in C: one call costs a fifth of what it would cost in a loop of Python's."""
        events, self._uncounted = self._uncounted, []
        for (endpoint_name, *names), group in groupby(sorted(events, key=_INSTANCE), _INSTANCE):
            known = endpoint_name in self._endpoints
            key = InstanceKey(endpoint_name, *names) if known else InstanceKey("", "", "")
            self._count_calls(self._instances[key], list(group))

    def _count_calls(self, instance: InstanceTotals, events: Sequence[CallEnded]) -> None:
        seconds = list(map(sub, map(_ENDED, events), map(_RECEIVED, events)))
        instance.calls.update(map(_OUTCOME, events))
        instance.call_times.buckets.update(map(_bucket, seconds))
        instance.call_times.total += sum(seconds)
        instance.container_seconds += sum(map(_LATENCY, events)) / 1e6
        for event in compress(events, map(_WAITED, events)):
            measurements = event.invocation.measurements
            instance.waits.add(measurements.load_wait_us / 1e6)
            for name, _, began, ended in measurements.steps:
                instance.step_seconds[name] += ended - began

    def _endpoint_created(self, _: EndpointCreated, origin: Origin) -> None:
        self._endpoints.add(origin.endpoint_name)

    def _endpoint_deleted(self, _: EndpointDeleted, origin: Origin) -> None:
        self._count()
        self._endpoints.discard(origin.endpoint_name)
        for key in list(self._instances):
            if key.endpoint_name == origin.endpoint_name:
                del self._instances[key]

    def _model_downloaded(self, event: ModelDownloaded, origin: Origin) -> None:
        instance = self._of(origin)
        instance.downloads.add(event.seconds)
        instance.downloaded_bytes += event.size_bytes

    def _model_loaded(self, event: ModelLoaded, origin: Origin) -> None:
        self._of(origin).loads.add(event.seconds)

    def _load_failed(self, _: LoadFailed, origin: Origin) -> None:
        self._of(origin).failed_loads += 1

    def _model_unloaded(self, event: ModelUnloaded, origin: Origin) -> None:
        self._of(origin).unloads[cause(event.reason)] += 1

    def _of(self, origin: Origin) -> InstanceTotals:
        return self._instances[InstanceKey(origin.endpoint_name, origin.variant_name, origin.instance_id)]


def cause(reason: str) -> str:
    """The label for a reason: one of a few, as each value of a label is a series of its own."""
    return next((label for words, label in CAUSES.items() if words in reason), OTHER_CAUSE)
