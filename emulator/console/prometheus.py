"""``/_localmme/metrics``: counts, times and what instances use, as Prometheus reads them."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import operator
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from emulator.errors import EmulatorError
from emulator.hosting.endpoint import Endpoint
from emulator.hosting.instance import Instance
from emulator.observers.model_counts import CountsByEndpoint, ModelCounts
from emulator.observers.totals import BOUNDS, MOST_MODELS, Histogram, InstanceKey, InstanceTotals, Totals
from emulator.state import InstanceFigures

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

OTHER = "other"  # the label of all others together; so a model with that name is among them
ENDPOINT, INSTANCE = ("endpoint_name",), InstanceKey._fields
MODEL = ("endpoint_name", "target_model")


class Family(NamedTuple):
    """The series of one name. Its unit is the end of the name: _seconds, _bytes; that of a counter before _total."""

    kind: str  # counter, gauge or histogram
    name: str
    help: str
    labels: tuple[str, ...]


# Not ``instance`` and ``endpoint``: by these, Prometheus and its operator name what they have scraped.
FAMILIES = {
    family.name: family
    for family in (
        Family("gauge", "localmme_build_info", "1, with the version of localmme.", ("version",)),
        Family("gauge", "localmme_endpoint_in_service", "1 if the endpoint is InService, else 0.", ENDPOINT),
        Family(
            "counter",
            "localmme_invocations_total",
            "Calls of the endpoint, answered or refused, by the status of the answer.",
            (*INSTANCE, "status"),
        ),
        Family(
            "counter",
            "localmme_warm_invocations_total",
            "Calls of multi-model containers for which the model was in memory.",
            INSTANCE,
        ),
        Family(
            "counter",
            "localmme_cold_invocations_total",
            "Calls of multi-model containers that had to wait for their model.",
            INSTANCE,
        ),
        Family("histogram", "localmme_invocation_seconds", "From the request of a call to its whole answer.", INSTANCE),
        Family(
            "counter",
            "localmme_invocation_container_seconds_total",
            "Time of calls that was spent in containers.",
            INSTANCE,
        ),
        Family(
            "histogram",
            "localmme_model_wait_seconds",
            "How long calls waited for their model, of those that did.",
            INSTANCE,
        ),
        Family(
            "counter",
            "localmme_cold_invocation_step_seconds_total",
            "Time of calls that waited for their model, by what it was spent on.",
            (*INSTANCE, "step"),
        ),
        Family("counter", "localmme_model_downloads_total", "Archives fetched and extracted.", INSTANCE),
        Family("counter", "localmme_model_downloaded_bytes_total", "Bytes of models, extracted.", INSTANCE),
        Family("histogram", "localmme_model_download_seconds", "Time of a download and its extraction.", INSTANCE),
        Family("counter", "localmme_model_loads_total", "Models loaded into a container.", INSTANCE),
        Family("counter", "localmme_model_load_failures_total", "Models that could not be loaded.", INSTANCE),
        Family("histogram", "localmme_model_load_seconds", "Time in which a container loaded a model.", INSTANCE),
        Family(
            "counter",
            "localmme_model_unloads_total",
            "Models unloaded from a container, by cause.",
            (*INSTANCE, "cause"),
        ),
        Family("gauge", "localmme_instance_healthy", "1 if all containers of the instance are healthy.", INSTANCE),
        Family("gauge", "localmme_instance_in_flight_invocations", "Calls that the instance has now.", INSTANCE),
        Family("gauge", "localmme_instance_loaded_models", "Models in memory.", INSTANCE),
        Family("gauge", "localmme_instance_memory_used_bytes", "Memory that its containers use.", INSTANCE),
        Family("gauge", "localmme_instance_memory_budget_bytes", "Memory of the instance.", INSTANCE),
        Family("gauge", "localmme_instance_storage_used_bytes", "What models take on its storage volume.", INSTANCE),
        Family("gauge", "localmme_instance_storage_capacity_bytes", "Size of its storage volume.", INSTANCE),
        Family(
            "counter",
            "localmme_container_restarts_total",
            "How often the container was replaced, as it had died or was unhealthy.",
            (*INSTANCE, "container"),
        ),
        Family(
            "counter", "localmme_target_model_invocations_total", "Calls that reached a container, by model.", MODEL
        ),
        Family(
            "counter",
            "localmme_target_model_cold_invocations_total",
            "Calls that waited for the model, by model.",
            MODEL,
        ),
        Family(
            "counter",
            "localmme_target_model_errors_total",
            "Calls that no container answered with 2xx, by model.",
            MODEL,
        ),
        Family("counter", "localmme_target_model_loads_total", "Loads of a model, on all instances.", MODEL),
        Family("counter", "localmme_target_model_unloads_total", "Unloads of a model, on all instances.", MODEL),
    )
}
OF_MODELS = [name for name, family in FAMILIES.items() if family.labels == MODEL]
ModelNumbers = tuple[int, ...]  # in the order of OF_MODELS


@dataclass(frozen=True)
class Snapshot:
    """What the page says, as it was at one moment."""

    in_service: dict[str, bool]  # by endpoint
    figures: dict[InstanceKey, InstanceFigures]
    loaded_models: dict[InstanceKey, int]
    totals: dict[InstanceKey, InstanceTotals]
    models: dict[str, tuple[Mapping[str, ModelCounts], list[tuple[str, ModelCounts]]]]  # by endpoint: all of them


class PrometheusPage:
    """The page. Its text is made in a thread: of a thousand series, it would hold up calls for milliseconds."""

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        totals: Totals,
        counts: CountsByEndpoint,
        most_models: int = MOST_MODELS,
        version: str = "",
    ) -> None:
        """``most_models`` of each endpoint have series of their own: those that are invoked most.

        ``version`` is localmme's.
        """
        self._endpoints, self._totals, self._counts = endpoints, totals, counts
        self._most_models, self._version = most_models, version
        self._of_models: dict[str, ModelSeries] = {}
        self._lock = threading.Lock()  # two may read at a time

    async def snapshot(self) -> Snapshot:
        """To be made on the event loop, and read in any thread."""
        endpoints = list(self._endpoints)
        instances = {
            InstanceKey(endpoint.definition.name, variant.name, instance.instance_id): instance
            for endpoint in endpoints
            for variant in endpoint.variants
            for instance in variant.instances
        }
        figures = await asyncio.gather(*map(_figures, instances.values()))
        models = {}
        for endpoint in endpoints:
            counts = self._counts.models(endpoint.definition.name)
            models[endpoint.definition.name] = counts, list(counts.items())
        return Snapshot(
            {endpoint.definition.name: endpoint.status == "InService" for endpoint in endpoints},
            dict(zip(instances, figures, strict=True)),
            {key: instance.loaded_count for key, instance in instances.items() if instance.multi_model},
            self._totals.copied(instances.keys()),
            models,
        )

    def text(self, snapshot: Snapshot, accept: str) -> tuple[str, bytes]:
        """Its content type, which the header Accept chooses, and the text."""
        from prometheus_client import CollectorRegistry, ProcessCollector
        from prometheus_client.exposition import choose_encoder

        registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # of the worker itself
        registry.register(_Collector(self._families(snapshot)))
        encode, content_type = choose_encoder(accept)
        return content_type, encode(registry)

    def _families(self, snapshot: Snapshot) -> list[Metric]:
        families = _Families()
        families.add("localmme_build_info", (self._version,), 1)
        for name, in_service in snapshot.in_service.items():
            families.add("localmme_endpoint_in_service", (name,), in_service)
        for key, figures in snapshot.figures.items():
            _add_figures(families, key, figures)
        for key, models in snapshot.loaded_models.items():
            families.add("localmme_instance_loaded_models", key, models)
        for key, totals in snapshot.totals.items():
            _add_totals(families, key, totals)
        with self._lock:
            self._add_models(families, snapshot)
        return families.with_samples()

    def _add_models(self, families: _Families, snapshot: Snapshot) -> None:
        for endpoint_name in self._of_models.keys() - snapshot.models:
            del self._of_models[endpoint_name]
        for endpoint_name, (counts, models) in snapshot.models.items():
            series = self._of_models.get(endpoint_name)
            if series is None or series.counts is not counts:  # another endpoint has its name
                series = self._of_models[endpoint_name] = ModelSeries(counts, self._most_models)
            for target_model, numbers in series.numbers(models).items():
                for name, number in zip(OF_MODELS, numbers, strict=True):
                    families.add(name, (endpoint_name, target_model), number)


class ModelSeries:
    """Which models of an endpoint have series of their own, and what all series say.

    No series ever goes down, which Prometheus would take for a restart: when a model gets its own, what the others'
    series has said of it stays there; when it loses its own, only what comes after goes to the others.
    """

    def __init__(self, counts: object, most: int) -> None:
        """``counts`` are those of the endpoint, by which it is known."""
        self.counts = counts
        self._most = most
        self._said: dict[str, ModelNumbers] = {}  # of all models, when the page was read last
        self._elsewhere: dict[str, ModelNumbers] = {}  # of those with their own: what others have said of them
        self._gone = _NOTHING  # what series have said that are there no more

    def numbers(self, models: list[tuple[str, ModelCounts]]) -> dict[str, ModelNumbers]:
        """By model, with OTHER for the rest, if there is any."""
        found = {name: _numbers(counts) for name, counts in models}
        named = heapq.nlargest(self._most, found.keys() - {OTHER}, key=lambda name: (found[name][0], name))
        named = [name for name in named if any(found[name])]
        for name in self._elsewhere.keys() - named:
            self._gone = _sum(self._gone, _difference(self._said[name], self._elsewhere.pop(name)))
        for name in named:
            self._elsewhere.setdefault(name, self._said.get(name, _NOTHING))
        self._said = found
        own = {name: _difference(found[name], self._elsewhere[name]) for name in named}
        total = _sum(_NOTHING, *found.values())
        rest = _difference(total, _sum(self._gone, *own.values()))
        return own | ({OTHER: rest} if any(rest) else {})


_NOTHING: ModelNumbers = (0,) * len(OF_MODELS)


def _numbers(counts: ModelCounts) -> ModelNumbers:
    cold = counts.invocations - counts.cache_hits
    return counts.invocations, cold, counts.model_errors, counts.loads, counts.unloads


def _sum(*numbers: ModelNumbers) -> ModelNumbers:
    return tuple(map(sum, zip(*numbers, strict=True)))


def _difference(one: ModelNumbers, other: ModelNumbers) -> ModelNumbers:
    return tuple(map(operator.sub, one, other))


class _Families:
    """Series, by the name of their family."""

    def __init__(self) -> None:
        self._found: dict[str, Any] = {}

    def add(self, name: str, labels: Sequence[str], value: float | Histogram) -> None:
        from prometheus_client import core

        family = self._found.get(name)
        if family is None:
            kinds: dict[str, Any] = {
                "counter": core.CounterMetricFamily,
                "gauge": core.GaugeMetricFamily,
                "histogram": core.HistogramMetricFamily,
            }
            described = FAMILIES[name]
            family = self._found[name] = kinds[described.kind](name, described.help, labels=described.labels)
        if isinstance(value, Histogram):
            family.add_metric(labels, _buckets(value), value.total)
        else:
            family.add_metric(labels, value)

    def with_samples(self) -> list[Metric]:
        """In the order of FAMILIES."""
        return [self._found[name] for name in FAMILIES if name in self._found]


class _Collector:
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)


async def _figures(instance: Instance) -> InstanceFigures:
    try:
        memory = await instance.memory_used()
    except EmulatorError:  # the engine is gone; whoever invokes will hear of it
        memory = 0
    return instance.figures(memory)


def _add_figures(families: _Families, key: InstanceKey, figures: InstanceFigures) -> None:
    memory, volume = figures["memory"], figures["volume"]
    families.add("localmme_instance_healthy", key, figures["healthy"])
    families.add("localmme_instance_in_flight_invocations", key, figures["in_flight"])
    families.add("localmme_instance_memory_used_bytes", key, memory["used_bytes"])
    families.add("localmme_instance_memory_budget_bytes", key, memory["budget_bytes"])
    families.add("localmme_instance_storage_used_bytes", key, volume["used_bytes"])
    families.add("localmme_instance_storage_capacity_bytes", key, volume["capacity_bytes"])
    for container in figures["containers"]:
        families.add("localmme_container_restarts_total", (*key, container["name"]), container["restarts"])


def _add_totals(families: _Families, key: InstanceKey, totals: InstanceTotals) -> None:
    by_status: Counter[int] = Counter()
    by_hit: Counter[bool | None] = Counter()
    for (status, cache_hit), calls in totals.calls.items():
        by_status[status] += calls
        by_hit[cache_hit] += calls
    for status, calls in by_status.items():
        families.add("localmme_invocations_total", (*key, str(status)), calls)
    families.add("localmme_invocation_seconds", key, totals.call_times)
    if not key.instance_id:  # it is the sum of what came to no instance
        return
    families.add("localmme_invocation_container_seconds_total", key, totals.container_seconds)
    families.add("localmme_warm_invocations_total", key, by_hit[True])
    families.add("localmme_cold_invocations_total", key, by_hit[False])
    families.add("localmme_model_wait_seconds", key, totals.waits)
    for step, seconds in totals.step_seconds.items():
        families.add("localmme_cold_invocation_step_seconds_total", (*key, step), seconds)
    families.add("localmme_model_downloads_total", key, totals.downloads.buckets.total())
    families.add("localmme_model_downloaded_bytes_total", key, totals.downloaded_bytes)
    families.add("localmme_model_download_seconds", key, totals.downloads)
    families.add("localmme_model_loads_total", key, totals.loads.buckets.total())
    families.add("localmme_model_load_failures_total", key, totals.failed_loads)
    families.add("localmme_model_load_seconds", key, totals.loads)
    for cause, unloads in totals.unloads.items():
        families.add("localmme_model_unloads_total", (*key, cause), unloads)


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    counts = itertools.accumulate(histogram.buckets[number] for number in range(len(BOUNDS) + 1))
    return [
        ("+Inf" if bound == math.inf else str(bound), count)
        for bound, count in zip((*BOUNDS, math.inf), counts, strict=True)
    ]
