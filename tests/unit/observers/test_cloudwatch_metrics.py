"""SageMaker's metrics as they are kept: by minute, by instance, and with percentiles."""

from __future__ import annotations

import random
from datetime import datetime, timezone
from typing import Any

import pytest

from emulator.events import ContainerUsage, Events, InstanceObserved, InvocationEnded, JobMetric, Warned
from emulator.observers.cloudwatch_metrics import (
    COUNTED_TOGETHER,
    INSTANCES,
    INVOCATIONS,
    KEPT_MINUTES,
    KEPT_PERCENTILES_MINUTES,
    CloudWatchMetrics,
    MetricDatum,
    StatisticSet,
    percentile,
)
from emulator.services.moto_services.cloudwatch import CloudWatch
from tests.support.aws_clients import ACCOUNT, REGION


class Clock:
    def __init__(self) -> None:
        self.now = 60.0 * 1_000_000

    def __call__(self) -> float:
        return self.now


def ended(latency_us: int = 100) -> InvocationEnded:
    return InvocationEnded(1, 0, False, latency_us, 10, None, 0)


def told(metrics: CloudWatchMetrics, *events: Any, instance: str = "i-1") -> None:
    stream = Events().within(endpoint_name="e", region=REGION, variant_name="v", instance_id=instance)
    metrics.listen_to(stream)
    for event in events:
        stream.publish(event)


def data(metrics: CloudWatchMetrics, name: str) -> list[MetricDatum]:
    return [datum for minute in metrics.minutes() for datum in minute.data(REGION) if datum.name == name]


def test_minutes_are_apart_and_the_oldest_give_way() -> None:
    clock = Clock()
    metrics = CloudWatchMetrics(clock)
    for _ in range(KEPT_MINUTES + 10):
        told(metrics, ended(), ended())
        clock.now += 60
    kept = data(metrics, "Invocations")
    assert len(kept) == KEPT_MINUTES
    assert {datum.statistics.total for datum in kept} == {2}
    assert kept[-1].began - kept[0].began == 60 * (KEPT_MINUTES - 1)
    assert sum(bool(d.statistics.buckets) for d in data(metrics, "ModelLatency")) == KEPT_PERCENTILES_MINUTES


@pytest.mark.parametrize("number", [1, COUNTED_TOGETHER - 1, COUNTED_TOGETHER, 2 * COUNTED_TOGETHER + 1])
def test_an_invocation_counts_in_the_minute_in_which_it_ended(number: int) -> None:
    clock = Clock()
    metrics = CloudWatchMetrics(clock)
    told(metrics, *[ended()] * number)
    clock.now += 60
    told(metrics, InstanceObserved(1.0, 1.0, 1.0, 1.0, None), ended())
    assert [(datum.began, datum.statistics.total) for datum in data(metrics, "Invocations")] == [
        (clock.now - 60, number),
        (clock.now, 1),
    ]


def test_a_metric_is_listed_once_however_many_minutes_have_it() -> None:
    clock = Clock()
    metrics = CloudWatchMetrics(clock)
    for _ in range(3):
        told(metrics, ended())
        clock.now += 60
    cloudwatch = CloudWatch(metrics.minutes, REGION, ACCOUNT)
    city, team = ({"Name": name, "Value": name} for name in ("city", "team"))
    for dimensions in ([], [city], [city, team], [team, city], [city, {**team, "Value": "other"}]):
        for value in (1, 2):
            cloudwatch.put_metric_data("own", [{"MetricName": "n", "Value": value, "Dimensions": dimensions}])

    _, invocations = cloudwatch.list_metrics(None, INVOCATIONS, "Invocations", [])
    assert [[(each.name, each.value) for each in one.dimensions] for one in invocations] == [
        [("EndpointName", "e"), ("VariantName", "v")]
    ]
    own = cloudwatch.list_metrics(None, "own", "n", [])[1]
    assert [[each.value for each in one.dimensions] for one in own] == [
        [], ["city"], ["city", "team"], ["city", "other"],
    ]  # fmt: skip
    assert len(cloudwatch.list_metrics(None, "own", "n", [team])[1]) == 1


def test_what_was_handed_out_does_not_change() -> None:
    metrics = CloudWatchMetrics(Clock())
    told(metrics, ended())
    (before,) = data(metrics, "Invocations")
    minutes = metrics.minutes()
    told(metrics, ended(), InstanceObserved(1.0, 1.0, 1.0, 1.0, None))
    assert before.statistics.total == 1
    assert {datum.name for minute in minutes for datum in minute.data(REGION)} >= {"Invocations"}
    assert not any(datum.namespace == INSTANCES for minute in minutes for datum in minute.data(REGION))


def test_each_instance_sends_one_value_a_minute() -> None:
    metrics = CloudWatchMetrics(Clock())
    told(metrics, InstanceObserved(1.0, 2.0, 10.0, 5.0, 1), InstanceObserved(3.0, 0.0, 30.0, 5.0, 4))
    told(metrics, InstanceObserved(1.0, None, 50.0, 5.0, 2), instance="i-2")
    told(metrics, InstanceObserved(0.0, None, 50.0, 5.0, 2, in_flight=7), instance="i-2")
    (loaded,) = data(metrics, "LoadedModelCount")
    assert (loaded.statistics.count, loaded.statistics.total) == (2, 6)
    (memory,) = data(metrics, "MemoryUtilization")
    assert (memory.statistics.minimum, memory.statistics.maximum) == (30, 50)
    (cpu,) = data(metrics, "CPUUtilization")  # of i-1 alone: two seconds of processor time in four
    assert (cpu.statistics.count, cpu.statistics.total) == (1, 50)


def test_concurrent_requests_have_a_figure_every_ten_seconds_for_three_hours() -> None:
    clock = Clock()
    metrics = CloudWatchMetrics(clock)
    began = clock.now
    for second, in_flight in ((0, 1), (9.9, 3), (10, 7), (59.9, 2), (60, 5)):
        clock.now = began + second
        told(metrics, InstanceObserved(1.0, None, 1.0, 1.0, None, in_flight=in_flight))
    figures = data(metrics, "ConcurrentRequestsPerModel")
    assert {(each.namespace, each.unit) for each in figures} == {(INVOCATIONS, "None")}
    assert [
        (each.began - began, each.statistics.count, each.statistics.minimum, each.statistics.maximum)
        for each in figures
    ] == [(0, 2, 1, 3), (10, 1, 7, 7), (50, 1, 2, 2), (60, 1, 5, 5)]
    cloudwatch = CloudWatch(metrics.minutes, REGION, ACCOUNT)
    start, end = (datetime.fromtimestamp(t, timezone.utc).replace(tzinfo=None) for t in (began, began + 70))
    asked: Any = (INVOCATIONS, "ConcurrentRequestsPerModel", start, end)
    fine = cloudwatch.get_metric_statistics(*asked, 10, ["Maximum"], [])
    assert [point.maximum for point in fine] == [3, 7, 2, 5]
    assert [point.maximum for point in cloudwatch.get_metric_statistics(*asked, 60, ["Maximum"], [])] == [7, 5]
    for _ in range(KEPT_PERCENTILES_MINUTES + 1):
        clock.now += 60
        told(metrics, ended())
    old = data(metrics, "ConcurrentRequestsPerModel")
    assert [(each.began - began, each.statistics.count, each.statistics.total) for each in old] == [
        (0, 4, 13),
        (60, 1, 5),
    ]


def test_each_container_of_several_has_metrics_of_its_own() -> None:
    metrics = CloudWatchMetrics(Clock())
    whole = InvocationEnded(1, 0, False, 300, 50, None, 0, containers=(("first", 100), ("second", 200)))
    refused = InvocationEnded(1, 400, True, 100, 50, None, 0, containers=(("first", 100),))
    broken = InvocationEnded(1, 500, True, 300, 50, None, 0, containers=(("first", 100), ("second", 200)))
    # It came to the first one; before it came to the second one, the model of that could not be loaded.
    never = InvocationEnded(1, 507, False, 100, 50, False, 0, containers=(("first", 100),))
    used = {"first": ContainerUsage(0.5, 10.0), "second": ContainerUsage(None, 20.0)}
    told(metrics, whole, refused, broken, never, InstanceObserved(1.0, None, 30.0, 5.0, None, containers=used))

    def sums(name: str) -> dict[str, float]:
        found = [datum for datum in data(metrics, name) if "ContainerName" in datum.dimensions]
        return {datum.dimensions["ContainerName"]: datum.statistics.total for datum in found}

    assert sums("Invocations") == {"first": 4, "second": 2}
    assert sums("Invocation4XXErrors") == {"first": 1, "second": 0}
    assert sums("Invocation5XXErrors") == {"first": 0, "second": 1}
    assert sums("ContainerLatency") == {"first": 400, "second": 400}
    assert sums("OverheadLatency") == {"first": 2 * 250 + 2 * 50, "second": 2 * 150}
    assert sums("MemoryUtilization") == {"first": 10, "second": 20}
    assert sums("CPUUtilization") == {"first": 50}
    assert sums("DiskUtilization") == {}
    (of_variant,) = [each for each in data(metrics, "Invocations") if "ContainerName" not in each.dimensions]
    assert of_variant.statistics.total == 4

    cloudwatch = CloudWatch(metrics.minutes, REGION, ACCOUNT)
    start, end = (datetime.fromtimestamp(t, timezone.utc).replace(tzinfo=None) for t in (59e6, 61e6))
    named = [{"Name": "EndpointName", "Value": "e"}, {"Name": "VariantName", "Value": "v"}]
    for container, expected in (([], 4), ([{"Name": "ContainerName", "Value": "second"}], 2)):
        (point,) = cloudwatch.get_metric_statistics(
            INVOCATIONS, "Invocations", start, end, 60, ["Sum"], [*named, *container]
        )
        assert point.sum == expected
    assert len(cloudwatch.list_metrics(None, INVOCATIONS, "Invocations", named)[1]) == 3


def test_gpus_are_shown_where_there_are_any() -> None:
    metrics = CloudWatchMetrics(Clock())
    told(metrics, InstanceObserved(1.0, None, 1.0, 1.0, None, gpu_percent=150.0, gpu_memory_percent=30.0))
    told(metrics, InstanceObserved(1.0, None, 1.0, 1.0, None), instance="i-2")
    for name, percent in (("GPUUtilization", 150), ("GPUMemoryUtilization", 30)):
        (datum,) = data(metrics, name)
        assert (datum.namespace, datum.unit, datum.statistics.count) == (INSTANCES, "Percent", 1)
        assert datum.statistics.total == percent


@pytest.mark.parametrize("seconds", [60, 3600, 24 * 3600], ids=["minute", "hour", "day"])
def test_what_happens_around_the_end_of_a_period_is_found_whole(seconds: int) -> None:
    clock = Clock()
    end = clock.now = (clock.now // seconds + 1) * seconds
    metrics = CloudWatchMetrics(clock)
    cloudwatch = CloudWatch(metrics.minutes, REGION, ACCOUNT)
    clock.now = end - 0.1
    told(metrics, ended())
    clock.now = end + 0.1
    told(metrics, ended(), ended())

    def sums(began: float, period: int) -> list[float]:
        """Those of the periods that have any, asked for from a moment on."""
        start, now = (datetime.fromtimestamp(t, timezone.utc).replace(tzinfo=None) for t in (began, clock.now + 1))
        dimensions: list[dict[str, str]] = []
        answer = cloudwatch.get_metric_statistics(INVOCATIONS, "Invocations", start, now, period, ["Sum"], dimensions)
        return [point.sum for point in answer]

    assert sums(end - 0.2, 60) == [1, 2], "the minute in which it begins counts as a whole"
    assert sums(end - 300, 3600) == [3], "periods begin where they are asked for, not with the hour"
    assert sums(end + 0.2, 60) == [2]


def test_a_clock_that_is_set_back_opens_no_second_minute() -> None:
    clock = Clock()
    metrics = CloudWatchMetrics(clock)
    told(metrics, ended())
    clock.now -= 3600
    told(metrics, ended())
    assert [datum.statistics.total for datum in data(metrics, "Invocations")] == [2]


def test_percentiles_are_right_to_a_percent() -> None:
    chance = random.Random(7)
    statistic_sets = [StatisticSet() for _ in range(3)]
    times = [chance.lognormvariate(7, 2) for _ in range(3000)]
    for number, microseconds in enumerate(times):
        statistic_sets[number % 3].add_times([microseconds])
    times.sort()
    for percent in (1, 50, 90, 99):
        exact = times[max(0, -(-len(times) * percent // 100) - 1)]
        assert percentile(statistic_sets, percent) == pytest.approx(exact, rel=0.011)
    assert percentile(statistic_sets, 100) == pytest.approx(times[-1], rel=0.011)
    assert percentile([StatisticSet()], 50) is None


def test_events_of_no_metric_are_passed_over() -> None:
    metrics = CloudWatchMetrics(Clock())
    told(metrics, Warned("careful"))
    assert metrics.minutes() == []


def test_the_metrics_of_jobs_have_the_dimension_of_their_kind() -> None:
    metrics, events = CloudWatchMetrics(Clock()), Events().within(region=REGION, job_name="j")
    metrics.listen_to(events)
    instance = events.within(job_kind="TransformJobs", instance_id="i-1")
    for cpu_seconds in (1.0, 3.0):
        instance.publish(InstanceObserved(2.0, cpu_seconds, 40.0, 5.0, None))
    events.within(job_kind="TrainingJobs").publish(JobMetric("loss", 0.25))
    told = [datum for minute in metrics.minutes() for datum in minute.data(REGION)]
    assert {(d.namespace, *d.dimensions.items(), d.name, d.statistics.total / d.statistics.count) for d in told} == {
        ("/aws/sagemaker/TransformJobs", ("Host", "j/i-1"), "CPUUtilization", 100.0),
        ("/aws/sagemaker/TransformJobs", ("Host", "j/i-1"), "MemoryUtilization", 40.0),
        ("/aws/sagemaker/TransformJobs", ("Host", "j/i-1"), "DiskUtilization", 5.0),
        ("/aws/sagemaker/TrainingJobs", ("TrainingJobName", "j"), "loss", 0.25),
    }
