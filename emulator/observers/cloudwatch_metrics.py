"""SageMaker's own metrics, counted from the event stream: one statistic set a minute, as CloudWatch has them.

Nothing of CloudWatch is needed here: moto's CloudWatch reads the metrics. Namespaces, names and units are SageMaker's.
[dg: "Amazon SageMaker AI metrics in Amazon CloudWatch"]
"""

from __future__ import annotations

import copy
import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, compress, groupby
from operator import attrgetter

from emulator.events import (
    ContainerUsage,
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
# [ours] of percentiles, and of what is shorter than a minute, as CloudWatch keeps the latter
KEPT_PERCENTILES_MINUTES = 3 * 60
# [ours] How many invocations are counted in one go: one behind the other, each takes a third of the time that it takes
# between two others, when the processor's caches do not hold the code that counts.
COUNTED_TOGETHER = 100
UNITS = {
    "ModelLatency": "Microseconds",
    "ContainerLatency": "Microseconds",
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
    "GPUUtilization": "Percent",
    "GPUMemoryUtilization": "Percent",
}  # of all others: None
FINE_SECONDS = 10  # [dg] of a high-resolution metric: ConcurrentRequestsPerModel, which has a figure so often
_STEP = math.log(1.02)  # a percentile is right to one percent

# [dg] Of the metrics of jobs, by kind: of the algorithm's own, and of those of an instance.
DIMENSIONS = {"TrainingJobs": "TrainingJobName", "TransformJobs": "Host"}

_CONTAINERS = attrgetter("containers")

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

    def add_statistics(self, other: StatisticSet) -> None:
        """All values of another one."""
        self.count += other.count
        self.total += other.total
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        self.buckets.update(other.buckets)

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
class ContainerInvocations:
    """Those of one container of several, in a minute. [dg: "Metrics for multi-container endpoints"]"""

    count: int = 0
    client_errors: int = 0
    server_errors: int = 0
    latency: StatisticSet = field(default_factory=StatisticSet)
    overhead_latency: StatisticSet = field(default_factory=StatisticSet)

    def add(self, latency_us: int, overhead_latency_us: int, error_status: int) -> None:
        self.count += 1
        self.client_errors += 400 <= error_status < 500
        self.server_errors += error_status >= 500
        self.latency.add_times([latency_us])
        self.overhead_latency.add_times([overhead_latency_us])

    def copied(self) -> ContainerInvocations:
        other = copy.copy(self)
        other.latency, other.overhead_latency = self.latency.copied(), self.overhead_latency.copied()
        return other

    def metrics(self) -> Iterator[tuple[str, StatisticSet]]:
        yield "Invocations", _ones(self.count, self.count)
        yield "Invocation4XXErrors", _ones(self.client_errors, self.count)
        yield "Invocation5XXErrors", _ones(self.server_errors, self.count)
        yield "ContainerLatency", self.latency
        yield "OverheadLatency", self.overhead_latency


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
    containers: defaultdict[str, ContainerInvocations] = field(
        default_factory=lambda: defaultdict(ContainerInvocations)
    )  # of instances with several, by name

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
        for event in compress(events, map(_CONTAINERS, events)):
            self._add_containers(event)

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

    def _add_containers(self, event: InvocationEnded) -> None:
        total_us = event.model_latency_us + event.overhead_latency_us
        for name, latency_us in event.containers:
            failed = event.model_error and name == event.containers[-1][0]
            self.containers[name].add(latency_us, max(0, total_us - latency_us), event.error_status if failed else 0)

    def copied(self) -> VariantInvocations:
        other = copy.copy(self)
        other.per_instance = self.per_instance.copied()
        other.model_latency, other.overhead_latency = self.model_latency.copied(), self.overhead_latency.copied()
        other.loading_wait = self.loading_wait.copied()
        other.first_chunk, other.first_chunk_model = self.first_chunk.copied(), self.first_chunk_model.copied()
        other.first_chunk_overhead = self.first_chunk_overhead.copied()
        other.containers = defaultdict(ContainerInvocations)
        other.containers.update({name: each.copied() for name, each in self.containers.items()})
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
    """One instance in a minute: the sum of its processor time, and the last value of everything else.

    Or one container of it, if it has several: then without what only an instance has.
    """

    cpu_seconds: float | None = 0.0
    seconds: float = 0.0
    memory_percent: float = 0.0
    disk_percent: float | None = None
    loaded_models: int | None = None
    gpu_percent: float | None = None
    gpu_memory_percent: float | None = None

    def add(self, event: InstanceObserved) -> None:
        self.add_container(event.seconds, event)
        self.disk_percent, self.loaded_models = event.disk_percent, event.loaded_models
        self.gpu_percent, self.gpu_memory_percent = event.gpu_percent, event.gpu_memory_percent

    def add_container(self, seconds: float, used: ContainerUsage | InstanceObserved) -> None:
        """What one of several has used in that time."""
        known = self.cpu_seconds is not None and used.cpu_seconds is not None
        self.cpu_seconds = self.cpu_seconds + used.cpu_seconds if known else None  # type: ignore[operator]
        self.seconds += seconds
        self.memory_percent = used.memory_percent

    def metrics(self) -> Iterator[tuple[str, float]]:
        if self.cpu_seconds is not None and self.seconds > 0:
            yield "CPUUtilization", 100 * self.cpu_seconds / self.seconds
        yield "MemoryUtilization", self.memory_percent
        for name, value in (
            ("DiskUtilization", self.disk_percent),
            ("LoadedModelCount", self.loaded_models),
            ("GPUUtilization", self.gpu_percent),
            ("GPUMemoryUtilization", self.gpu_memory_percent),
        ):
            if value is not None:
                yield name, value


@dataclass(frozen=True, slots=True)
class MetricDatum:
    """The statistics of one metric in one minute, or in ten seconds of a high-resolution one."""

    namespace: str
    name: str
    unit: str
    dimensions: dict[str, str]
    began: int  # in seconds since 1970
    statistics: StatisticSet


@dataclass(slots=True)
class Minute:
    """All that happened in a minute."""

    began: int  # seconds since 1970
    invocations: dict[VariantKey, VariantInvocations] = field(default_factory=dict)
    times: dict[VariantKey, dict[str, StatisticSet]] = field(default_factory=dict)
    # How many requests each instance has, by the second at which ten seconds of the minute begin.
    concurrent: dict[VariantKey, dict[int, StatisticSet]] = field(default_factory=dict)
    # By instance id, and by the container's name, which is empty for all together.
    usage: dict[VariantKey, dict[tuple[str, str], InstanceUsage]] = field(default_factory=dict)
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
                variant_key: {second: statistics.copied() for second, statistics in by_second.items()}
                for variant_key, by_second in self.concurrent.items()
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
            for container, of_container in invocations.containers.items():
                yield from self._of(INVOCATIONS, variant_key, region, of_container.metrics(), container)
        for variant_key, statistic_sets in self.times.items():
            yield from self._of(INVOCATIONS, variant_key, region, statistic_sets.items())
        for variant_key, by_second in self.concurrent.items():
            for second, statistics in by_second.items():
                named = [("ConcurrentRequestsPerModel", statistics)]
                yield from self._of(INVOCATIONS, variant_key, region, named, second=second)
        for variant_key, usage in self.usage.items():
            for container in dict.fromkeys(container for _, container in usage):
                values = _over_instances(used for (_, name), used in usage.items() if name == container)
                yield from self._of(INSTANCES, variant_key, region, values.items(), container)
        for (where, kind, job), statistic_sets in self.jobs.items():
            if where == region:
                namespace, dimensions = f"/aws/sagemaker/{kind}", {DIMENSIONS[kind]: job}
                yield from self._with(namespace, dimensions, statistic_sets.items())

    def _of(
        self,
        namespace: str,
        variant_key: VariantKey,
        region: str,
        statistic_sets: Iterable[tuple[str, StatisticSet]],
        container: str = "",
        second: int = 0,
    ) -> Iterator[MetricDatum]:
        where, endpoint, variant = variant_key
        if where == region:
            dimensions = {"EndpointName": endpoint, "VariantName": variant}
            if container:
                dimensions["ContainerName"] = container
            yield from self._with(namespace, dimensions, statistic_sets, second)

    def _with(
        self,
        namespace: str,
        dimensions: dict[str, str],
        statistic_sets: Iterable[tuple[str, StatisticSet]],
        second: int = 0,
    ) -> Iterator[MetricDatum]:
        for name, statistics in statistic_sets:
            if statistics.count:
                began = self.began + second
                yield MetricDatum(namespace, name, UNITS.get(name, "None"), dimensions, began, statistics)

    def forget_details(self) -> None:
        """Percentiles, and what is shorter than a minute."""
        for invocations in self.invocations.values():
            kinds = [invocations.metrics(), *(each.metrics() for each in invocations.containers.values())]
            for _, statistics in chain.from_iterable(kinds):
                statistics.buckets.clear()
        for by_second in self.concurrent.values():
            whole = StatisticSet()
            for statistics in by_second.values():
                whole.add_statistics(statistics)
            by_second.clear()
            by_second[0] = whole
        for statistic_sets in self.times.values():
            for statistics in statistic_sets.values():
                statistics.buckets.clear()


def _over_instances(instances: Iterable[InstanceUsage]) -> dict[str, StatisticSet]:
    """[dg] Each instance sends one value a minute, so that their sum is that of the variant."""
    statistic_sets: dict[str, StatisticSet] = {}
    for usage in instances:
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
            of_job = InstanceUsage()
            of_job.add(event)
            for name, value in of_job.metrics():
                self._add_of_job(origin, f"{origin.job_name}/{origin.instance_id}", name, value)
            return
        variant_key = (origin.region, origin.endpoint_name, origin.variant_name)
        minute = self._minute()
        usage = minute.usage.setdefault(variant_key, {})
        usage.setdefault((origin.instance_id, ""), InstanceUsage()).add(event)
        for name, used in event.containers.items():
            usage.setdefault((origin.instance_id, name), InstanceUsage()).add_container(event.seconds, used)
        second = max(0, int(self._clock()) - minute.began) // FINE_SECONDS * FINE_SECONDS
        concurrent = minute.concurrent.setdefault(variant_key, {}).setdefault(min(second, 50), StatisticSet())
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
                self._minutes[-1 - KEPT_PERCENTILES_MINUTES].forget_details()
        return self._minutes[-1]
