"""SageMaker's metrics in CloudWatch: the figures are those of what really happened."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from emulator.events import Events, InstanceObserved, InvocationEnded, Warned
from emulator.observers.cloudwatch_metrics import (
    INSTANCES,
    INVOCATIONS,
    KEPT_MINUTES,
    KEPT_PERCENTILES_MINUTES,
    CloudWatchMetrics,
    Datum,
    Figure,
    percentile,
)
from emulator.services.moto_services.cloudwatch import CloudWatch
from tests.support.aws_cli import aws_json
from tests.support.aws_clients import ACCOUNT, REGION
from tests.support.emulator_process import Emulator
from tests.support.files import archive
from tests.support.scripted_models import Journal, scripted_model
from tests.support.waiting import eventually

VARIANT = [{"Name": "EndpointName", "Value": "local"}, {"Name": "VariantName", "Value": "AllTraffic"}]
ALL = ["SampleCount", "Sum", "Average", "Minimum", "Maximum"]
OFTEN = ("--limit", "observe_seconds=0.1")


def between() -> dict[str, datetime]:
    """From a moment ago, as a notebook asks: within the minute that CloudWatch rounds it down to."""
    now = datetime.now(timezone.utc)
    return {"StartTime": now - timedelta(minutes=5), "EndTime": now + timedelta(minutes=1)}


def statistics(emulator: Emulator, name: str, namespace: str = INVOCATIONS, **more: Any) -> dict[str, float]:
    """All statistics of a metric, in one period; the metric must be there."""
    request = {"Namespace": namespace, "MetricName": name, "Dimensions": VARIANT, "Statistics": ALL, **between()}
    answer = emulator.client_of("cloudwatch").get_metric_statistics(**request | {"Period": 3600} | more)
    assert answer["Datapoints"], name
    (point,) = answer["Datapoints"]
    return point


def newest(emulator: Emulator, name: str, *names: str) -> list[float]:
    """Some statistics of an instance's metric, in the last of the minutes that have any; [] as long as none has."""
    request = {"Namespace": INSTANCES, "MetricName": name, "Dimensions": VARIANT, "Statistics": names, **between()}
    points = emulator.client_of("cloudwatch").get_metric_statistics(**request, Period=60)["Datapoints"]
    point = max(points, key=lambda each: each["Timestamp"], default=None)
    return [point[each] for each in names] if point else []


def has(emulator: Emulator, name: str) -> bool:
    listed = emulator.client_of("cloudwatch").list_metrics(MetricName=name)["Metrics"]
    return bool(listed)


def last(emulator: Emulator, name: str) -> float:
    """The newest value of an instance's metric; nan as long as there is none."""
    metric = {"Namespace": INSTANCES, "MetricName": name, "Dimensions": VARIANT}
    query = {"Id": "m", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}}
    (result,) = emulator.client_of("cloudwatch").get_metric_data(
        MetricDataQueries=[query], ScanBy="TimestampDescending", **between()
    )["MetricDataResults"]
    return result["Values"][0] if result["Values"] else float("nan")


# Invocations


def test_every_invocation_is_counted(scripted: Callable[..., Emulator], bucket: Path) -> None:
    emulator = scripted()
    for name in ("a.tar.gz", "b.tar.gz"):
        scripted_model(bucket / name)
    for name in ("a.tar.gz", "a.tar.gz", "b.tar.gz", "a.tar.gz", "b.tar.gz"):
        emulator.invoke(name)
    assert statistics(emulator, "Invocations")["Sum"] == 5
    assert statistics(emulator, "Invocations")["SampleCount"] == 5
    assert statistics(emulator, "InvocationsPerInstance")["Sum"] == 5
    hits = statistics(emulator, "ModelCacheHit")
    assert (hits["Sum"], hits["SampleCount"], hits["Average"]) == (3, 5, pytest.approx(3 / 5))
    for name in ("Invocation4XXErrors", "Invocation5XXErrors", "InvocationModelErrors"):
        assert (statistics(emulator, name)["Sum"], statistics(emulator, name)["SampleCount"]) == (0, 5)
    for name in ("ModelLoadingWaitTime", "ModelDownloadingTime", "ModelLoadingTime"):
        assert statistics(emulator, name)["SampleCount"] == 2, name
    assert not has(emulator, "ModelUnloadingTime")


def test_an_invocation_counts_for_its_share_of_the_instances(scripted: Callable[..., Emulator], bucket: Path) -> None:
    emulator = scripted("--instances", "2", *OFTEN)
    scripted_model(bucket / "a.tar.gz")
    for _ in range(6):
        emulator.invoke("a.tar.gz")
    assert statistics(emulator, "Invocations")["Sum"] == 6
    assert statistics(emulator, "InvocationsPerInstance")["Sum"] == 3
    # Of a minute that has just begun, there is nothing yet, or one of the two: so it is looked at until both are there.
    eventually(
        lambda: newest(emulator, "LoadedModelCount", "SampleCount", "Maximum", "Minimum") == [2, 1, 0],
        10,
        "one of the two instances has one model",
    )


def test_latencies_are_microseconds_and_those_that_were(scripted: Callable[..., Emulator], bucket: Path) -> None:
    emulator = scripted(invoke={"delay": 0.2}, load={"delay": 0.3})
    scripted_model(bucket / "a.tar.gz")
    began = time.perf_counter()
    emulator.invoke("a.tar.gz")
    took_us = (time.perf_counter() - began) * 1e6
    model, overhead = (statistics(emulator, name) for name in ("ModelLatency", "OverheadLatency"))
    assert model["Unit"] == overhead["Unit"] == "Microseconds"
    assert 200_000 <= model["Sum"] <= took_us
    assert overhead["Sum"] >= 300_000 and model["Sum"] + overhead["Sum"] <= took_us
    assert 300_000 <= statistics(emulator, "ModelLoadingTime")["Maximum"] <= took_us
    assert 300_000 <= statistics(emulator, "ModelLoadingWaitTime")["Maximum"] <= took_us
    emulator.invoke("a.tar.gz")
    assert statistics(emulator, "OverheadLatency")["Minimum"] < 100_000  # this one did not wait for the model


def test_a_fast_model_s_latency_is_not_rounded_to_milliseconds(scripted: Callable[..., Emulator], bucket: Path) -> None:
    emulator = scripted()
    scripted_model(bucket / "a.tar.gz")
    for _ in range(20):
        emulator.invoke("a.tar.gz")
    latency = statistics(emulator, "ModelLatency")
    assert latency["Sum"] % 1000 or latency["Minimum"] % 1000
    assert latency["Minimum"] >= 1


def test_errors_are_counted_by_what_the_model_answered(scripted: Callable[..., Emulator], bucket: Path) -> None:
    emulator = scripted()
    scripted_model(bucket / "good.tar.gz")
    scripted_model(bucket / "bad.tar.gz", invoke={"status": 400})
    scripted_model(bucket / "broken.tar.gz", invoke={"status": 500})
    scripted_model(bucket / "silent.tar.gz", invoke={"close": True})
    emulator.invoke("good.tar.gz")
    for name in ("bad.tar.gz", "broken.tar.gz", "silent.tar.gz", "missing.tar.gz"):
        with pytest.raises(ClientError):
            emulator.invoke(name)
    with pytest.raises(ClientError):
        emulator.client().invoke_endpoint(EndpointName="local", Body=b"")  # without a target model
    assert statistics(emulator, "Invocations")["Sum"] == 6
    assert statistics(emulator, "Invocation4XXErrors")["Sum"] == 3  # bad, missing, without a target
    assert statistics(emulator, "Invocation5XXErrors")["Sum"] == 2  # broken, silent
    assert statistics(emulator, "InvocationModelErrors")["Sum"] == 3  # bad, broken, silent
    assert statistics(emulator, "ModelLatency")["SampleCount"] == 4


def test_streams_are_counted_when_they_have_ended(scripted: Callable[..., Emulator], bucket: Path) -> None:
    emulator = scripted()
    scripted_model(bucket / "whole.tar.gz", invoke={"chunks": ["a", "b"], "chunk_delay": 0.2})
    scripted_model(bucket / "broken.tar.gz", invoke={"chunks": ["a", "b", "c"], "break_after": 1})
    for name in ("whole.tar.gz", "broken.tar.gz"):
        runtime = emulator.client(retries={"total_max_attempts": 1})
        runtime.meta.events.register(
            "before-call.sagemaker-runtime.InvokeEndpointWithResponseStream",
            lambda params, name=name, **_: params["headers"].update({"X-Amzn-SageMaker-Target-Model": name}),
        )
        list_of(runtime.invoke_endpoint_with_response_stream(EndpointName="local", Body=b"{}")["Body"])
    assert statistics(emulator, "Invocations")["Sum"] == 2
    assert statistics(emulator, "InvocationModelErrors")["Sum"] == 1
    assert statistics(emulator, "ModelLatency")["Maximum"] >= 200_000
    broken = statistics(emulator, "MidStreamErrors")
    assert (broken["Sum"], broken["SampleCount"], broken["Unit"]) == (1, 2, "None")
    first, model, rest = (statistics(emulator, f"FirstChunk{part}Latency") for part in ("", "Model", "Overhead"))
    assert (first["SampleCount"], first["Unit"]) == (2, "Microseconds")
    assert first["Sum"] == model["Sum"] + rest["Sum"]
    assert (
        0 < model["Minimum"] <= first["Minimum"] and model["Maximum"] < statistics(emulator, "ModelLatency")["Maximum"]
    )


def list_of(stream: Any) -> list[Any]:
    try:
        return list(stream)
    except Exception:  # of a stream that broke off
        return []


def test_unloading_is_timed(scripted: Callable[..., Emulator], bucket: Path) -> None:
    emulator = scripted("--max-loaded-models", "1", *OFTEN, unload={"delay": 0.1})
    for name in ("a.tar.gz", "b.tar.gz"):
        scripted_model(bucket / name)
        emulator.invoke(name)
    assert statistics(emulator, "ModelUnloadingTime")["Minimum"] >= 100_000
    eventually(lambda: last(emulator, "LoadedModelCount") == 1, 10, "one model is loaded")


def test_an_invocation_that_another_instance_takes_counts_once(
    scripted: Callable[..., Emulator], bucket: Path, journal: Journal
) -> None:
    emulator = scripted("--instances", "2")
    for name in ("a.tar.gz", "b.tar.gz"):
        scripted_model(bucket / name)
        emulator.invoke(name)
    pids = [entry["pid"] for entry in journal.entries() if entry.get("event") == "start"]
    keeper = psutil.Process(pids[0]).parent()
    assert keeper is not None
    keeper.suspend()  # so that no one tells that the container is gone
    try:
        os.kill(pids[0], signal.SIGKILL)
        # A zombie still has its files open until the last of its threads has ended.
        eventually(lambda: os.listdir(f"/proc/{pids[0]}/task") == [str(pids[0])], 10, "its threads have ended")
        eventually(lambda: psutil.Process(pids[0]).status() == psutil.STATUS_ZOMBIE, 10, "it has closed its port")
        for name in ("a.tar.gz", "b.tar.gz"):
            emulator.invoke(name)
    finally:
        keeper.resume()
    assert statistics(emulator, "Invocations")["Sum"] == 4
    assert statistics(emulator, "ModelLatency")["SampleCount"] == 4
    assert statistics(emulator, "InvocationModelErrors")["Sum"] == 0


# Instances


def test_what_an_instance_uses_is_observed(serve: Callable[..., Emulator], bucket: Path) -> None:
    scripted_model(bucket / "unused.tar.gz")
    busy = "def handle(data, context):\n    x = 0\n    while data is not None:\n        x += 1\n"
    archive(bucket / "busy.tar.gz", {"code/inference.py": busy, "weights": bytes(6_000_000)})
    emulator = serve(
        "--models", str(bucket), "--memory", "4GiB", "--storage", "30MB", "--limit", "invocation_seconds=3", *OFTEN
    )
    eventually(lambda: last(emulator, "MemoryUtilization") > 0, 10, "memory is observed")
    assert last(emulator, "DiskUtilization") == 0
    with pytest.raises(ClientError):
        emulator.invoke("busy.tar.gz")
    eventually(lambda: last(emulator, "DiskUtilization") >= 10, 10, "a tenth of the disk is used")
    eventually(lambda: last(emulator, "CPUUtilization") > 5, 10, "processor time was used")
    assert last(emulator, "MemoryUtilization") < 100
    assert last(emulator, "LoadedModelCount") == 1
    assert statistics(emulator, "MemoryUtilization", INSTANCES)["Unit"] == "Percent"


# CloudWatch


def test_the_metrics_can_be_listed_and_watched(scripted: Callable[..., Emulator], bucket: Path) -> None:
    emulator = scripted(*OFTEN)
    scripted_model(bucket / "a.tar.gz")
    asked = {"StartTime": datetime.now(timezone.utc), "EndTime": datetime.now(timezone.utc) + timedelta(minutes=3)}
    for _ in range(4):
        emulator.invoke("a.tar.gz")
    cloudwatch = emulator.client_of("cloudwatch")
    listed = {(m["Namespace"], m["MetricName"]) for m in cloudwatch.list_metrics(Dimensions=VARIANT)["Metrics"]}
    assert {(INVOCATIONS, "Invocations"), (INVOCATIONS, "ModelCacheHit")} <= listed
    eventually(lambda: has(emulator, "LoadedModelCount"), 10, "the instance was observed")

    def query(identity: str, name: str, stat: str) -> dict[str, Any]:
        metric = {"Namespace": INVOCATIONS, "MetricName": name, "Dimensions": VARIANT}
        return {"Id": identity, "MetricStat": {"Metric": metric, "Period": 60, "Stat": stat}}

    # The start is within a minute: CloudWatch rounds it down, so that nothing of that minute is missed.
    results = cloudwatch.get_metric_data(
        MetricDataQueries=[
            query("n", "Invocations", "Sum"),
            query("middle", "ModelLatency", "p50"),
            query("worst", "ModelLatency", "Maximum"),
        ],
        **asked,
    )["MetricDataResults"]
    values = {result["Id"]: result["Values"] for result in results}
    assert sum(values["n"]) == 4
    assert all(0 < middle <= worst for middle, worst in zip(values["middle"], values["worst"], strict=True))
    assert all(time.second == 0 for result in results for time in result["Timestamps"])
    with pytest.raises(ClientError, match="tm90"):
        cloudwatch.get_metric_data(MetricDataQueries=[query("n", "Invocations", "tm90")], **asked)
    printed = aws_json(
        emulator, "cloudwatch", "get-metric-statistics", "--namespace", INVOCATIONS, "--metric-name", "Invocations",
        "--dimensions", "Name=EndpointName,Value=local", "Name=VariantName,Value=AllTraffic", "--statistics", "Sum",
        "--period", "3600", "--start-time", asked["StartTime"].isoformat(), "--end-time", asked["EndTime"].isoformat(),
    )  # fmt: skip
    assert [point["Sum"] for point in printed["Datapoints"]] == [4]


def test_own_metrics_have_their_place_beside_sagemaker_s(scripted: Callable[..., Emulator], bucket: Path) -> None:
    emulator = scripted()
    scripted_model(bucket / "a.tar.gz")
    emulator.invoke("a.tar.gz")
    cloudwatch = emulator.client_of("cloudwatch")
    cloudwatch.put_metric_data(Namespace="Mine", MetricData=[{"MetricName": "Invocations", "Value": 7}])
    assert statistics(emulator, "Invocations", "Mine", Dimensions=[])["Sum"] == 7
    assert statistics(emulator, "Invocations")["Sum"] == 1


def test_all_regions_are_one(scripted: Callable[..., Emulator], bucket: Path) -> None:
    emulator = scripted()
    scripted_model(bucket / "a.tar.gz")
    emulator.invoke("a.tar.gz")
    emulator.client_of("logs", region="us-west-2").create_log_group(logGroupName="mine")
    for region in (REGION, "eu-west-1", "us-west-2"):
        there = emulator.client_of("cloudwatch", region=region).list_metrics(MetricName="Invocations")["Metrics"]
        assert len(there) == 1
        groups = emulator.client_of("logs", region=region).describe_log_groups()["logGroups"]
        assert [(group["logGroupName"], f":{REGION}:" in group["arn"]) for group in groups] == [("mine", True)]


# How they are kept


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


def data(metrics: CloudWatchMetrics, name: str) -> list[Datum]:
    return [datum for minute in metrics.minutes() for datum in minute.data(REGION) if datum.name == name]


def test_minutes_are_apart_and_the_oldest_give_way() -> None:
    clock = Clock()
    metrics = CloudWatchMetrics(clock)
    for _ in range(KEPT_MINUTES + 10):
        told(metrics, ended(), ended())
        clock.now += 60
    kept = data(metrics, "Invocations")
    assert len(kept) == KEPT_MINUTES
    assert {datum.figure.total for datum in kept} == {2}
    assert kept[-1].minute - kept[0].minute == 60 * (KEPT_MINUTES - 1)
    assert sum(bool(d.figure.buckets) for d in data(metrics, "ModelLatency")) == KEPT_PERCENTILES_MINUTES


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
    assert before.figure.total == 1
    assert {datum.name for minute in minutes for datum in minute.data(REGION)} >= {"Invocations"}
    assert not any(datum.namespace == INSTANCES for minute in minutes for datum in minute.data(REGION))


def test_each_instance_sends_one_value_a_minute() -> None:
    metrics = CloudWatchMetrics(Clock())
    told(metrics, InstanceObserved(1.0, 2.0, 10.0, 5.0, 1), InstanceObserved(3.0, 0.0, 30.0, 5.0, 4))
    told(metrics, InstanceObserved(1.0, None, 50.0, 5.0, 2), instance="i-2")
    told(metrics, InstanceObserved(0.0, None, 50.0, 5.0, 2, in_flight=7), instance="i-2")
    (loaded,) = data(metrics, "LoadedModelCount")
    assert (loaded.figure.count, loaded.figure.total) == (2, 6)
    (concurrent,) = data(metrics, "ConcurrentRequestsPerModel")
    assert (concurrent.namespace, concurrent.unit) == (INVOCATIONS, "None")
    assert (concurrent.figure.count, concurrent.figure.minimum, concurrent.figure.maximum) == (4, 0, 7)
    (memory,) = data(metrics, "MemoryUtilization")
    assert (memory.figure.minimum, memory.figure.maximum) == (30, 50)
    (cpu,) = data(metrics, "CPUUtilization")  # of i-1 alone: two seconds of processor time in four
    assert (cpu.figure.count, cpu.figure.total) == (1, 50)


def test_a_clock_that_is_set_back_opens_no_second_minute() -> None:
    clock = Clock()
    metrics = CloudWatchMetrics(clock)
    told(metrics, ended())
    clock.now -= 3600
    told(metrics, ended())
    assert [datum.figure.total for datum in data(metrics, "Invocations")] == [2]


def test_percentiles_are_right_to_a_percent() -> None:
    chance = random.Random(7)
    figures = [Figure() for _ in range(3)]
    times = [chance.lognormvariate(7, 2) for _ in range(3000)]
    for number, microseconds in enumerate(times):
        figures[number % 3].add_time(microseconds)
    times.sort()
    for percent in (1, 50, 90, 99):
        exact = times[max(0, -(-len(times) * percent // 100) - 1)]
        assert percentile(figures, percent) == pytest.approx(exact, rel=0.011)
    assert percentile(figures, 100) == pytest.approx(times[-1], rel=0.011)
    assert percentile([Figure()], 50) is None


def test_events_of_no_metric_are_passed_over() -> None:
    metrics = CloudWatchMetrics(Clock())
    told(metrics, Warned("careful"))
    assert metrics.minutes() == []
