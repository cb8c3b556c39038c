"""SageMaker's own metrics, counted from the event stream: one figure for each minute, as CloudWatch has them.

Nothing of CloudWatch is needed here: moto's CloudWatch reads the figures from here. Namespaces, names and units are
SageMaker's. [dg: "Amazon SageMaker AI metrics in Amazon CloudWatch"]
"""

from __future__ import annotations

import copy
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from emulator.events import (
    Events,
    InstanceObserved,
    InvocationEnded,
    ModelDownloaded,
    ModelLoaded,
    ModelUnloaded,
    Origin,
)

INVOCATIONS, INSTANCES = "AWS/SageMaker", "/aws/sagemaker/Endpoints"
TIMES = {
    ModelDownloaded: "ModelDownloadingTime",
    ModelLoaded: "ModelLoadingTime",
    ModelUnloaded: "ModelUnloadingTime",
}
KEPT_MINUTES = 24 * 60  # [ours] CloudWatch keeps one-minute data points for 15 days
KEPT_PERCENTILES_MINUTES = 3 * 60  # [ours]
UNITS = {
    "ModelLatency": "Microseconds",
    "OverheadLatency": "Microseconds",
    "FirstChunkLatency": "Microseconds",
    "FirstChunkModelLatency": "Microseconds",
    "FirstChunkOverheadLatency": "Microseconds",
    "ModelLoadingWaitTime": "Microseconds",
    "ModelUnloadingTime": "Microseconds",
    "ModelDownloadingTime": "Microseconds",
    "ModelLoadingTime": "Microseconds",
    "CPUUtilization": "Percent",
    "MemoryUtilization": "Percent",
    "DiskUtilization": "Percent",
}  # of all others: None
_STEP = math.log(1.02)  # a percentile is right to one percent

Series = tuple[str, str, str]  # region, endpoint name, variant name


class Figure:
    """The values of a metric in a minute: how many, their sum, the least, the greatest; those of times in buckets."""

    __slots__ = ("buckets", "count", "maximum", "minimum", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.minimum = math.inf
        self.maximum = -math.inf
        self.buckets: dict[int, int] = {}

    def copied(self) -> Figure:
        other = copy.copy(self)
        other.buckets = self.buckets.copy()
        return other

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        if value < self.minimum:
            self.minimum = value
        if value > self.maximum:
            self.maximum = value

    def add_time(self, microseconds: float) -> None:
        """Values with the buckets that percentiles need."""
        self.count += 1  # as ``add`` does: to call it takes as long as to do it
        self.total += microseconds
        if microseconds < self.minimum:
            self.minimum = microseconds
        if microseconds > self.maximum:
            self.maximum = microseconds
        bucket = int(math.log(microseconds) / _STEP) if microseconds > 1 else 0
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1


def percentile(figures: list[Figure], percent: float) -> float | None:
    """The time at or below which are that many percent of the times; None if it was not recorded."""
    buckets: Counter[int] = Counter()
    for figure in figures:
        buckets.update(figure.buckets)
    left = math.ceil(buckets.total() * percent / 100)
    for bucket in sorted(buckets):
        left -= buckets[bucket]
        if left <= 0:
            middle = math.exp((bucket + 0.5) * _STEP)
            return min(max(middle, min(f.minimum for f in figures)), max(f.maximum for f in figures))
    return None


@dataclass(slots=True)
class Calls:
    """The invocations of a variant in a minute. Plain numbers, as every invocation is counted here."""

    count: int = 0
    client_errors: int = 0
    server_errors: int = 0
    model_errors: int = 0
    to_many_models: int = 0  # those to a multi-model container
    cache_hits: int = 0
    streams: int = 0  # those whose answer began as a stream
    mid_stream_errors: int = 0
    per_instance: Figure = field(default_factory=Figure)
    model_latency: Figure = field(default_factory=Figure)
    overhead_latency: Figure = field(default_factory=Figure)
    loading_wait: Figure = field(default_factory=Figure)
    first_chunk: Figure = field(default_factory=Figure)
    first_chunk_model: Figure = field(default_factory=Figure)
    first_chunk_overhead: Figure = field(default_factory=Figure)

    def add(self, event: InvocationEnded) -> None:
        self.count += 1
        self.per_instance.add(1 / event.instance_count)
        if event.error_status >= 500:
            self.server_errors += 1
        elif event.error_status >= 400:
            self.client_errors += 1
        if event.model_error:
            self.model_errors += 1
        if event.model_latency_us:
            self.model_latency.add_time(event.model_latency_us)
            self.overhead_latency.add_time(event.overhead_latency_us)
        if event.cache_hit is not None:
            self.to_many_models += 1
            if event.cache_hit:
                self.cache_hits += 1
            elif event.load_wait_us:
                self.loading_wait.add_time(event.load_wait_us)
        if event.mid_stream_error is not None:
            self.streams += 1
            self.mid_stream_errors += event.mid_stream_error
            if event.first_chunk_us:
                self.first_chunk.add_time(event.first_chunk_us)
                self.first_chunk_model.add_time(event.first_chunk_model_us)
                self.first_chunk_overhead.add_time(event.first_chunk_us - event.first_chunk_model_us)

    def copied(self) -> Calls:
        other = copy.copy(self)
        other.per_instance = self.per_instance.copied()
        other.model_latency, other.overhead_latency = self.model_latency.copied(), self.overhead_latency.copied()
        other.loading_wait = self.loading_wait.copied()
        other.first_chunk, other.first_chunk_model = self.first_chunk.copied(), self.first_chunk_model.copied()
        other.first_chunk_overhead = self.first_chunk_overhead.copied()
        return other

    def metrics(self) -> Iterator[tuple[str, Figure]]:
        """[dg] Each invocation sends 1 or 0 to those that count."""
        yield "Invocations", _ones(self.count, self.count)
        yield "InvocationsPerInstance", self.per_instance
        yield "Invocation4XXErrors", _ones(self.client_errors, self.count)
        yield "Invocation5XXErrors", _ones(self.server_errors, self.count)
        yield "InvocationModelErrors", _ones(self.model_errors, self.count)
        yield "ModelCacheHit", _ones(self.cache_hits, self.to_many_models)
        yield "ModelLatency", self.model_latency
        yield "OverheadLatency", self.overhead_latency
        yield "ModelLoadingWaitTime", self.loading_wait
        yield "MidStreamErrors", _ones(self.mid_stream_errors, self.streams)
        yield "FirstChunkLatency", self.first_chunk
        yield "FirstChunkModelLatency", self.first_chunk_model
        yield "FirstChunkOverheadLatency", self.first_chunk_overhead


def _ones(ones: int, count: int) -> Figure:
    """The values of a metric that was 1 that many times, and else 0."""
    figure = Figure()
    figure.count, figure.total = count, ones
    figure.minimum, figure.maximum = int(ones == count), int(ones > 0)
    return figure


@dataclass(slots=True)
class Usage:
    """One instance in a minute: the sum of its processor time, and the last value of everything else."""

    cpu_seconds: float | None = 0.0
    seconds: float = 0.0
    memory_percent: float = 0.0
    disk_percent: float = 0.0
    loaded_models: int | None = None

    def add(self, event: InstanceObserved) -> None:
        known = self.cpu_seconds is not None and event.cpu_seconds is not None
        self.cpu_seconds = self.cpu_seconds + event.cpu_seconds if known else None  # type: ignore[operator]
        self.seconds += event.seconds
        self.memory_percent, self.disk_percent = event.memory_percent, event.disk_percent
        self.loaded_models = event.loaded_models

    def metrics(self) -> Iterator[tuple[str, float]]:
        if self.cpu_seconds is not None and self.seconds > 0:
            yield "CPUUtilization", 100 * self.cpu_seconds / self.seconds
        yield "MemoryUtilization", self.memory_percent
        yield "DiskUtilization", self.disk_percent
        if self.loaded_models is not None:
            yield "LoadedModelCount", self.loaded_models


@dataclass(frozen=True, slots=True)
class Datum:
    """The figure of one metric of one variant in one minute."""

    namespace: str
    name: str
    unit: str
    endpoint_name: str
    variant_name: str
    minute: int  # when it began, in seconds since 1970
    figure: Figure


@dataclass(slots=True)
class Minute:
    """All that happened in a minute."""

    began: int  # seconds since 1970
    calls: dict[Series, Calls] = field(default_factory=dict)
    # Of downloads, loads, unloads, and what was counted again and again; by metric.
    times: dict[Series, dict[str, Figure]] = field(default_factory=dict)
    usage: dict[Series, dict[str, Usage]] = field(default_factory=dict)  # by instance id

    def copied(self) -> Minute:
        return Minute(
            self.began,
            {series: calls.copied() for series, calls in self.calls.items()},
            {
                series: {name: figure.copied() for name, figure in figures.items()}
                for series, figures in self.times.items()
            },
            {
                series: {i: copy.copy(usage) for i, usage in instances.items()}
                for series, instances in self.usage.items()
            },
        )

    def data(self, region: str) -> Iterator[Datum]:
        """The figures of a region's endpoints in this minute."""
        for series, calls in self.calls.items():
            yield from self._of(INVOCATIONS, series, region, calls.metrics())
        for series, figures in self.times.items():
            yield from self._of(INVOCATIONS, series, region, figures.items())
        for series, instances in self.usage.items():
            yield from self._of(INSTANCES, series, region, _over_instances(instances).items())

    def _of(
        self, namespace: str, series: Series, region: str, figures: Iterable[tuple[str, Figure]]
    ) -> Iterator[Datum]:
        where, endpoint, variant = series
        for name, figure in figures if where == region else ():
            if figure.count:
                yield Datum(namespace, name, UNITS.get(name, "None"), endpoint, variant, self.began, figure)

    def forget_percentiles(self) -> None:
        for calls in self.calls.values():
            for _, figure in calls.metrics():
                figure.buckets.clear()
        for figures in self.times.values():
            for figure in figures.values():
                figure.buckets.clear()


def _over_instances(instances: dict[str, Usage]) -> dict[str, Figure]:
    """[dg] Each instance sends one value a minute, so that their sum is that of the variant."""
    figures: dict[str, Figure] = {}
    for usage in instances.values():
        for name, value in usage.metrics():
            figures.setdefault(name, Figure()).add(value)
    return figures


class CloudWatchMetrics:
    """Listens to the event stream. It is on the path of every invocation, so it only adds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """``clock`` returns seconds since 1970."""
        self._clock = clock
        self._minutes: deque[Minute] = deque(maxlen=KEPT_MINUTES)

    def listen_to(self, events: Events) -> None:
        events.subscribe(self._invocation_ended, InvocationEnded)
        events.subscribe(self._instance_observed, InstanceObserved)
        events.subscribe(self._took, ModelDownloaded, ModelLoaded, ModelUnloaded)

    def minutes(self) -> list[Minute]:
        """The minutes in which something happened, oldest first; what happens later does not change these."""
        minutes = list(self._minutes)
        if minutes:
            minutes[-1] = minutes[-1].copied()
        return minutes

    def _invocation_ended(self, event: InvocationEnded, origin: Origin) -> None:
        minute, series = self._minute(), (origin.region, origin.endpoint_name, origin.variant_name)
        calls = minute.calls.get(series)
        if calls is None:
            calls = minute.calls[series] = Calls()
        calls.add(event)

    def _took(self, event: ModelDownloaded | ModelLoaded | ModelUnloaded, origin: Origin) -> None:
        name = TIMES[type(event)]
        series = (origin.region, origin.endpoint_name, origin.variant_name)
        self._minute().times.setdefault(series, {}).setdefault(name, Figure()).add_time(event.seconds * 1e6)

    def _instance_observed(self, event: InstanceObserved, origin: Origin) -> None:
        series = (origin.region, origin.endpoint_name, origin.variant_name)
        minute = self._minute()
        minute.usage.setdefault(series, {}).setdefault(origin.instance_id, Usage()).add(event)
        concurrent = minute.times.setdefault(series, {}).setdefault("ConcurrentRequestsPerModel", Figure())
        concurrent.add(event.in_flight)

    def _minute(self) -> Minute:
        began = int(self._clock()) // 60 * 60
        # If the clock is set back, no earlier minute is changed.
        if not self._minutes or began > self._minutes[-1].began:
            self._minutes.append(Minute(began))
            if len(self._minutes) > KEPT_PERCENTILES_MINUTES:
                self._minutes[-1 - KEPT_PERCENTILES_MINUTES].forget_percentiles()
        return self._minutes[-1]
