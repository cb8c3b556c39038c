"""How often each model of an endpoint was loaded, invoked, unloaded: counted from the endpoint's events."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from emulator.events import (
    EndpointCreated,
    EndpointDeleted,
    Events,
    Invoked,
    LoadFailed,
    ModelDownloaded,
    ModelLoaded,
    ModelUnloaded,
    Origin,
)
from emulator.observers.cloudwatch_metrics import COUNTED_TOGETHER


@dataclass(slots=True)
class ModelCounts:
    """Counts since the endpoint was created. Times in microseconds, of the last one."""

    downloads: int = 0
    loads: int = 0
    failed_loads: int = 0
    unloads: int = 0
    invocations: int = 0
    cache_hits: int = 0
    model_errors: int = 0
    load_wait_us: int = 0
    load_waits_us: int = 0  # all of them together
    model_latency_us: int = 0
    last_loaded: float | None = None  # seconds since 1970; None = never
    last_used: float | None = None

    @property
    def mean_load_wait_us(self) -> int:
        """Of the invocations that waited for it; 0 = none has."""
        waited = self.invocations - self.cache_hits
        return self.load_waits_us // waited if waited else 0


_MODEL, _HIT, _STATUS = attrgetter("target_model"), attrgetter("cache_hit"), attrgetter("status")
KEPT_FAILURES = 100  # [ours] names of which nothing but failed loads is known: mistyped ones, of which there is no end


class CountsByEndpoint:
    """The counts of the endpoints that there are now. Each has its own listener, which only its own events reach."""

    def __init__(self, now: Callable[[], float]) -> None:
        """``now`` returns seconds since 1970."""
        self._now = now
        self._endpoints: dict[str, CountsByModel] = {}

    def listen_to(self, events: Events) -> None:
        events.subscribe(self._created, EndpointCreated)
        events.subscribe(self._deleted, EndpointDeleted)

    def models(self, endpoint_name: str) -> Mapping[str, ModelCounts]:
        """By target model; empty if there is no such endpoint."""
        endpoint = self._endpoints.get(endpoint_name)
        return endpoint.models if endpoint else {}

    def _created(self, event: EndpointCreated, origin: Origin) -> None:
        counts = self._endpoints[origin.endpoint_name] = CountsByModel(self._now)
        counts.listen_to(event.events)

    def _deleted(self, _: EndpointDeleted, origin: Origin) -> None:
        del self._endpoints[origin.endpoint_name]


class CountsByModel:
    """Counts the events of one endpoint, by target model. It is on the path of every invocation, and counts later."""

    def __init__(self, now: Callable[[], float]) -> None:
        """``now`` returns seconds since 1970."""
        self._models: defaultdict[str, ModelCounts] = defaultdict(ModelCounts)
        self._uncounted: list[Invoked] = []
        self._times: list[float] = []  # of these
        self._failures: OrderedDict[str, None] = OrderedDict()  # never downloaded; the latest is the last
        self._now = now

    def listen_to(self, events: Events) -> None:
        events.subscribe(self._invoked, Invoked)
        events.subscribe(self._downloaded, ModelDownloaded)
        events.subscribe(self._loaded, ModelLoaded)
        events.subscribe(self._unloaded, ModelUnloaded)
        events.subscribe(self._failed, LoadFailed)

    @property
    def models(self) -> Mapping[str, ModelCounts]:
        """By target model: the same object each time, and what happens later is in it."""
        self._count()
        return self._models

    def _invoked(self, event: Invoked, _: Origin) -> None:
        self._uncounted.append(event)
        self._times.append(self._now())
        if len(self._times) == COUNTED_TOGETHER:
            self._count()

    def _count(self) -> None:
        uncounted, self._uncounted = self._uncounted, []
        times, self._times = self._times, []
        last_used = dict(zip(map(_MODEL, uncounted), times, strict=True))
        for target_model, events in groupby(sorted(uncounted, key=_MODEL), _MODEL):
            if target_model:  # not of a container that hosts one model
                self._count_of(self._models[target_model], last_used[target_model], list(events))

    def _count_of(self, counts: ModelCounts, last_used: float, events: Sequence[Invoked]) -> None:
        """Invocations of one model, in the order in which they ended."""
        counts.invocations += len(events)
        counts.last_used = last_used
        counts.model_latency_us = events[-1].model_latency_us
        hits = sum(map(_HIT, events))
        counts.cache_hits += hits
        if hits < len(events):
            waits = [event.load_wait_us for event in events if not event.cache_hit]
            counts.load_wait_us = waits[-1]
            counts.load_waits_us += sum(waits)
        statuses = Counter(map(_STATUS, events))
        counts.model_errors += sum(statuses[status] for status in statuses if not 200 <= status < 300)

    def _downloaded(self, event: ModelDownloaded, _: Origin) -> None:
        self._models[event.target_model].downloads += 1
        self._failures.pop(event.target_model, None)

    def _loaded(self, event: ModelLoaded, _: Origin) -> None:
        counts = self._models[event.target_model]
        counts.loads += 1
        counts.last_loaded = self._now()

    def _unloaded(self, event: ModelUnloaded, _: Origin) -> None:
        self._models[event.target_model].unloads += 1

    def _failed(self, event: LoadFailed, _: Origin) -> None:
        counts = self._models[event.target_model]
        counts.failed_loads += 1
        if not counts.downloads:
            self._remember_failure(event.target_model)

    def _remember_failure(self, target_model: str) -> None:
        self._failures[target_model] = None
        self._failures.move_to_end(target_model)
        if len(self._failures) > KEPT_FAILURES:
            forgotten, _ = self._failures.popitem(last=False)
            del self._models[forgotten]
