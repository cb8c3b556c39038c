"""SageMaker's own metrics, counted from the event stream: one statistic set a minute, as CloudWatch has them.

Nothing of CloudWatch is needed here: moto's CloudWatch reads the metrics. Namespaces, names and units are SageMaker's.
[dg: "Amazon SageMaker AI metrics in Amazon CloudWatch"]
"""

from __future__ import annotations

import copy
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from emulator.events import (
    Events,
    InstanceObserved,
    InvocationEnded,
    JobMetric,
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
# [ours] How many invocations are counted in one go: one behind the other, each takes a third of the time that it takes
# between two others, when the processor's caches do not hold the code that counts.
COUNTED_TOGETHER = 100
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

# [dg] Of the metrics of jobs, by kind: of the algorithm's own, and of those of an instance.
DIMENSIONS = {"TrainingJobs": "TrainingJobName", "TransformJobs": "Host"}

VariantKey = tuple[str, str, str]  # region, endpoint name, variant name
JobKey = tuple[str, str, str]  # region, kind, value of the dimension


class StatisticSet:
    """The values of a metric in a minute: their number, sum, minimum and maximum; of times, a histogram as well."""

    __slots__ = ("buckets", "count", "maximum", "minimum", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.minimum = math.inf
        self.maximum = -math.inf
        self.buckets: Counter[int] = Counter()

    def copied(self) -> StatisticSet:
        other = copy.copy(self)
        other.buckets = self.buckets.copy()
        return other

    def add(self, values: Sequence[float]) -> None:
        if values:
            self.count += len(values)
            self.total += sum(values)
            self.minimum = min(self.minimum, *values)
            self.maximum = max(self.maximum, *values)

    def add_times(self, microseconds: Sequence[float]) -> None:
        """Values with the buckets that percentiles need."""
        self.add(microseconds)
        self.buckets.update([int(math.log(time) / _STEP) if time > 1 else 0 for time in microseconds])


def percentile(statistic_sets: list[StatisticSet], percent: float) -> float | None:
    """The time at or below which are that many percent of the times; None if it was not recorded."""
    buckets: Counter[int] = Counter()
    for statistics in statistic_sets:
        buckets.update(statistics.buckets)
    left = math.ceil(buckets.total() * percent / 100)
    for bucket in sorted(buckets):
        left -= buckets[bucket]
        if left <= 0:
            middle = math.exp((bucket + 0.5) * _STEP)
            return min(max(middle, min(f.minimum for f in statistic_sets)), max(f.maximum for f in statistic_sets))
    return None


@dataclass(slots=True)
class VariantInvocations:
    """The invocations of a variant in a minute. Plain numbers, as every invocation is counted here."""

    count: int = 0
    client_errors: int = 0
    server_errors: int = 0
    model_errors: int = 0
    to_many_models: int = 0  # those to a multi-model container
    cache_hits: int = 0
    streams: int = 0  # those whose answer began as a stream
    mid_stream_errors: int = 0
    per_instance: StatisticSet = field(default_factory=StatisticSet)
    model_latency: StatisticSet = field(default_factory=StatisticSet)
    overhead_latency: StatisticSet = field(default_factory=StatisticSet)
    loading_wait: StatisticSet = field(default_factory=StatisticSet)
    first_chunk: StatisticSet = field(default_factory=StatisticSet)
    first_chunk_model: StatisticSet = field(default_factory=StatisticSet)
    first_chunk_overhead: StatisticSet = field(default_factory=StatisticSet)

    def add(self, events: Sequence[InvocationEnded]) -> None:
        self.count += len(events)
        self.per_instance.add([1 / event.instance_count for event in events])
        answered = [event for event in events if event.model_latency_us]
        self.model_latency.add_times([event.model_latency_us for event in answered])
        self.overhead_latency.add_times([event.overhead_latency_us for event in answered])
        hits = [event for event in events if event.cache_hit]
        self.cache_hits += len(hits)
        self.to_many_models += len(hits)
        for event in events:
            if not event.cache_hit or event.error_status or event.model_error or event.mid_stream_error is not None:
                self._add_uncommon(event)

    def _add_uncommon(self, event: InvocationEnded) -> None:
        """What is not of each invocation that went well."""
        if event.error_status >= 500:
            self.server_errors += 1
        elif event.error_status >= 400:
            self.client_errors += 1
        self.model_errors += event.model_error
        if event.cache_hit is False:
            self.to_many_models += 1
            if event.load_wait_us:
                self.loading_wait.add_times([event.load_wait_us])
        if event.mid_stream_error is not None:
            self.streams += 1
            self.mid_stream_errors += event.mid_stream_error
            if event.first_chunk_us:
                self.first_chunk.add_times([event.first_chunk_us])
                self.first_chunk_model.add_times([event.first_chunk_model_us])
                self.first_chunk_overhead.add_times([event.first_chunk_us - event.first_chunk_model_us])

    def copied(self) -> VariantInvocations:
        other = copy.copy(self)
        other.per_instance = self.per_instance.copied()
        other.model_latency, other.overhead_latency = self.model_latency.copied(), self.overhead_latency.copied()
        other.loading_wait = self.loading_wait.copied()
        other.first_chunk, other.first_chunk_model = self.first_chunk.copied(), self.first_chunk_model.copied()
        other.first_chunk_overhead = self.first_chunk_overhead.copied()
        return other

    def metrics(self) -> Iterator[tuple[str, StatisticSet]]:
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


def _ones(ones: int, count: int) -> StatisticSet:
    """The values of a metric that was 1 that many times, and else 0."""
    statistics = StatisticSet()
    statistics.count, statistics.total = count, ones
    statistics.minimum, statistics.maximum = int(ones == count), int(ones > 0)
    return statistics


@dataclass(slots=True)
class InstanceUsage:
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
class MetricDatum:
    """The statistics of one metric in one minute."""

    namespace: str
    name: str
    unit: str
    dimensions: dict[str, str]
    minute: int  # when it began, in seconds since 1970
    statistics: StatisticSet


@dataclass(slots=True)
class Minute:
    """All that happened in a minute."""

    began: int  # seconds since 1970
    invocations: dict[VariantKey, VariantInvocations] = field(default_factory=dict)
    # Of downloads, loads, unloads, and what was counted again and again; by metric.
    times: dict[VariantKey, dict[str, StatisticSet]] = field(default_factory=dict)
    usage: dict[VariantKey, dict[str, InstanceUsage]] = field(default_factory=dict)  # by instance id
    jobs: dict[JobKey, dict[str, StatisticSet]] = field(default_factory=dict)  # by metric

    def copied(self) -> Minute:
        return Minute(
            self.began,
            {variant_key: invocations.copied() for variant_key, invocations in self.invocations.items()},
            {
                variant_key: {name: statistics.copied() for name, statistics in statistic_sets.items()}
                for variant_key, statistic_sets in self.times.items()
            },
            {
                variant_key: {i: copy.copy(usage) for i, usage in instances.items()}
                for variant_key, instances in self.usage.items()
            },
            {
                job: {name: statistics.copied() for name, statistics in statistic_sets.items()}
                for job, statistic_sets in self.jobs.items()
            },
        )

    def data(self, region: str) -> Iterator[MetricDatum]:
        """The metrics of a region's endpoints and jobs in this minute."""
        for variant_key, invocations in self.invocations.items():
            yield from self._of(INVOCATIONS, variant_key, region, invocations.metrics())
        for variant_key, statistic_sets in self.times.items():
            yield from self._of(INVOCATIONS, variant_key, region, statistic_sets.items())
        for variant_key, instances in self.usage.items():
            yield from self._of(INSTANCES, variant_key, region, _over_instances(instances).items())
        for (where, kind, job), statistic_sets in self.jobs.items():
            if where == region:
                namespace, dimensions = f"/aws/sagemaker/{kind}", {DIMENSIONS[kind]: job}
                yield from self._with(namespace, dimensions, statistic_sets.items())

    def _of(
        self, namespace: str, variant_key: VariantKey, region: str, statistic_sets: Iterable[tuple[str, StatisticSet]]
    ) -> Iterator[MetricDatum]:
        where, endpoint, variant = variant_key
        if where == region:
            yield from self._with(namespace, {"EndpointName": endpoint, "VariantName": variant}, statistic_sets)

    def _with(
        self, namespace: str, dimensions: dict[str, str], statistic_sets: Iterable[tuple[str, StatisticSet]]
    ) -> Iterator[MetricDatum]:
        for name, statistics in statistic_sets:
            if statistics.count:
                yield MetricDatum(namespace, name, UNITS.get(name, "None"), dimensions, self.began, statistics)

    def forget_percentiles(self) -> None:
        for invocations in self.invocations.values():
            for _, statistics in invocations.metrics():
                statistics.buckets.clear()
        for statistic_sets in self.times.values():
            for statistics in statistic_sets.values():
                statistics.buckets.clear()


def _over_instances(instances: dict[str, InstanceUsage]) -> dict[str, StatisticSet]:
    """[dg] Each instance sends one value a minute, so that their sum is that of the variant."""
    statistic_sets: dict[str, StatisticSet] = {}
    for usage in instances.values():
        for name, value in usage.metrics():
            statistic_sets.setdefault(name, StatisticSet()).add([value])
    return statistic_sets


class CloudWatchMetrics:
    """Listens to the event stream. It is on the path of every invocation, which it only notes, and counts later."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """``clock`` returns seconds since 1970."""
        self._clock = clock
        self._minutes: deque[Minute] = deque(maxlen=KEPT_MINUTES)
        self._uncounted: list[tuple[float, InvocationEnded, Origin]] = []  # with the time

    def listen_to(self, events: Events) -> None:
        events.subscribe(self._invocation_ended, InvocationEnded)
        events.subscribe(self._instance_observed, InstanceObserved)
        events.subscribe(self._job_metric, JobMetric)
        events.subscribe(self._took, ModelDownloaded, ModelLoaded, ModelUnloaded)

    def minutes(self) -> list[Minute]:
        """The minutes in which something happened, oldest first; what happens later does not change these."""
        self._count()
        minutes = list(self._minutes)
        if minutes:
            minutes[-1] = minutes[-1].copied()
        return minutes

    def _invocation_ended(self, event: InvocationEnded, origin: Origin) -> None:
        self._uncounted.append((self._clock(), event, origin))
        if len(self._uncounted) == COUNTED_TOGETHER:
            self._count()

    def _count(self) -> None:
        uncounted, self._uncounted = self._uncounted, []
        for (now, origin), together in groupby(uncounted, lambda noted: (int(noted[0]) // 60 * 60, noted[2])):
            variant_key = origin.region, origin.endpoint_name, origin.variant_name
            invocations = self._minute_of(now).invocations.setdefault(variant_key, VariantInvocations())
            invocations.add([event for _, event, _ in together])

    def _took(self, event: ModelDownloaded | ModelLoaded | ModelUnloaded, origin: Origin) -> None:
        name = TIMES[type(event)]
        variant_key = (origin.region, origin.endpoint_name, origin.variant_name)
        times = self._minute().times.setdefault(variant_key, {}).setdefault(name, StatisticSet())
        times.add_times([event.seconds * 1e6])

    def _instance_observed(self, event: InstanceObserved, origin: Origin) -> None:
        if origin.job_name:
            usage = InstanceUsage()
            usage.add(event)
            for name, value in usage.metrics():
                self._add_of_job(origin, f"{origin.job_name}/{origin.instance_id}", name, value)
            return
        variant_key = (origin.region, origin.endpoint_name, origin.variant_name)
        minute = self._minute()
        minute.usage.setdefault(variant_key, {}).setdefault(origin.instance_id, InstanceUsage()).add(event)
        concurrent = minute.times.setdefault(variant_key, {}).setdefault("ConcurrentRequestsPerModel", StatisticSet())
        concurrent.add([event.in_flight])

    def _job_metric(self, event: JobMetric, origin: Origin) -> None:
        self._add_of_job(origin, origin.job_name, event.name, event.value)

    def _add_of_job(self, origin: Origin, of: str, name: str, value: float) -> None:
        statistic_sets = self._minute().jobs.setdefault((origin.region, origin.job_kind, of), {})
        statistic_sets.setdefault(name, StatisticSet()).add([value])

    def _minute(self) -> Minute:
        self._count()  # what came before: it may be of an earlier minute
        return self._minute_of(self._clock())

    def _minute_of(self, now: float) -> Minute:
        began = int(now) // 60 * 60
        # If the clock is set back, no earlier minute is changed.
        if not self._minutes or began > self._minutes[-1].began:
            self._minutes.append(Minute(began))
            if len(self._minutes) > KEPT_PERCENTILES_MINUTES:
                self._minutes[-1 - KEPT_PERCENTILES_MINUTES].forget_percentiles()
        return self._minutes[-1]
