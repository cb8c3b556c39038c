"""SageMaker's metrics in CloudWatch: the figures are those of what really happened."""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from emulator.observers.cloudwatch_metrics import (
    INSTANCES,
    INVOCATIONS,
)
from tests.support.aws_cli import aws_json
from tests.support.aws_clients import REGION
from tests.support.emulator_in_process import InProcessEmulator
from tests.support.files import archive
from tests.support.scripted_models import Journal, scripted_model
from tests.support.waiting import eventually

VARIANT = [{"Name": "EndpointName", "Value": "local"}, {"Name": "VariantName", "Value": "AllTraffic"}]
ALL = ["SampleCount", "Sum", "Average", "Minimum", "Maximum"]
Scripted = Callable[..., InProcessEmulator]
OFTEN = ("--limit", "observe_seconds=0.1")


def between() -> dict[str, datetime]:
    """From a moment ago, as a notebook asks: within the minute that CloudWatch rounds it down to."""
    now = datetime.now(timezone.utc)
    return {"StartTime": now - timedelta(minutes=5), "EndTime": now + timedelta(minutes=1)}


def statistics(emulator: InProcessEmulator, name: str, namespace: str = INVOCATIONS, **more: Any) -> dict[str, float]:
    """All statistics of a metric, in one period; the metric must be there."""
    request = {"Namespace": namespace, "MetricName": name, "Dimensions": VARIANT, "Statistics": ALL, **between()}
    answer = emulator.client_of("cloudwatch").get_metric_statistics(**request | {"Period": 3600} | more)
    assert answer["Datapoints"], name
    (point,) = answer["Datapoints"]
    return point


def newest(emulator: InProcessEmulator, name: str, *names: str) -> list[float]:
    """Some statistics of an instance's metric, in the last of the minutes that have any; [] as long as none has."""
    request = {"Namespace": INSTANCES, "MetricName": name, "Dimensions": VARIANT, "Statistics": names, **between()}
    points = emulator.client_of("cloudwatch").get_metric_statistics(**request, Period=60)["Datapoints"]
    point = max(points, key=lambda each: each["Timestamp"], default=None)
    return [point[each] for each in names] if point else []


def has(emulator: InProcessEmulator, name: str) -> bool:
    listed = emulator.client_of("cloudwatch").list_metrics(MetricName=name)["Metrics"]
    return bool(listed)


def last(emulator: InProcessEmulator, name: str) -> float:
    """The newest value of an instance's metric; nan as long as there is none."""
    metric = {"Namespace": INSTANCES, "MetricName": name, "Dimensions": VARIANT}
    query = {"Id": "m", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}}
    (result,) = emulator.client_of("cloudwatch").get_metric_data(
        MetricDataQueries=[query], ScanBy="TimestampDescending", **between()
    )["MetricDataResults"]
    return result["Values"][0] if result["Values"] else float("nan")


# Invocations


def test_every_invocation_is_counted(scripted: Scripted, bucket: Path) -> None:
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
    with urllib.request.urlopen(f"{emulator.url}/_localmme/metrics") as page:
        text = page.read().decode()
    labels = 'endpoint_name="local",instance_id="i-1",status="200",variant_name="AllTraffic"'
    assert f"localmme_invocations_total{{{labels}}} 5.0" in text.splitlines()
    assert page.headers["Content-Type"].startswith("text/plain")


def test_an_invocation_counts_for_its_share_of_the_instances(scripted: Scripted, bucket: Path) -> None:
    emulator = scripted("--instances", "2", *OFTEN)
    scripted_model(bucket / "a.tar.gz")
    for _ in range(6):
        emulator.invoke("a.tar.gz")
    assert statistics(emulator, "Invocations")["Sum"] == 6
    assert statistics(emulator, "InvocationsPerInstance")["Sum"] == 3
    # Of a minute that has just begun, there is nothing yet, or one of the two: so it is looked at until both are there.
    eventually(
        lambda: newest(emulator, "LoadedModelCount", "SampleCount", "Maximum", "Minimum") == [2, 1, 0],
        what="one of the two instances has one model",
    )


def test_latencies_are_microseconds_and_those_that_were(scripted: Scripted, bucket: Path) -> None:
    emulator = scripted(invoke={"times": 1, "delay": 0.2}, load={"delay": 0.3})
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
    for _ in range(10):
        emulator.invoke("a.tar.gz")
    assert statistics(emulator, "OverheadLatency")["Minimum"] < 300_000  # these did not wait for the model


def test_a_fast_model_s_latency_is_not_rounded_to_milliseconds(scripted: Scripted, bucket: Path) -> None:
    emulator = scripted()
    scripted_model(bucket / "a.tar.gz")
    for _ in range(20):
        emulator.invoke("a.tar.gz")
    latency = statistics(emulator, "ModelLatency")
    assert latency["Sum"] % 1000 or latency["Minimum"] % 1000
    assert latency["Minimum"] >= 1


def test_errors_are_counted_by_what_the_model_answered(scripted: Scripted, bucket: Path) -> None:
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


def test_streams_are_counted_when_they_have_ended(scripted: Scripted, bucket: Path) -> None:
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


def test_unloading_is_timed(scripted: Scripted, bucket: Path) -> None:
    emulator = scripted("--max-loaded-models", "1", *OFTEN, unload={"delay": 0.1})
    for name in ("a.tar.gz", "b.tar.gz"):
        scripted_model(bucket / name)
        emulator.invoke(name)
    assert statistics(emulator, "ModelUnloadingTime")["Minimum"] >= 100_000
    eventually(lambda: last(emulator, "LoadedModelCount") == 1, what="one model is loaded")


def test_an_invocation_that_another_instance_takes_counts_once(
    scripted: Scripted, bucket: Path, journal: Journal
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
        eventually(lambda: os.listdir(f"/proc/{pids[0]}/task") == [str(pids[0])], what="its threads have ended")
        eventually(lambda: psutil.Process(pids[0]).status() == psutil.STATUS_ZOMBIE, what="it has closed its port")
        for name in ("a.tar.gz", "b.tar.gz"):
            emulator.invoke(name)
    finally:
        keeper.resume()
    assert statistics(emulator, "Invocations")["Sum"] == 4
    assert statistics(emulator, "ModelLatency")["SampleCount"] == 4
    assert statistics(emulator, "InvocationModelErrors")["Sum"] == 0


# Instances


def test_what_an_instance_uses_is_observed(serve: Callable[..., InProcessEmulator], bucket: Path) -> None:
    scripted_model(bucket / "unused.tar.gz")
    # However much else this machine does: two seconds of processor time.
    busy = (
        "import time\ndef handle(data, context):\n    end = time.process_time() + 2\n"
        "    while data is not None and time.process_time() < end:\n        pass\n    return [b'done']\n"
    )
    archive(bucket / "busy.tar.gz", {"code/inference.py": busy, "weights": bytes(6_000_000)})
    emulator = serve("--models", str(bucket), "--memory", "4GiB", "--storage", "30MB", *OFTEN)
    eventually(lambda: last(emulator, "MemoryUtilization") > 0, what="memory is observed")
    assert last(emulator, "DiskUtilization") == 0
    emulator.invoke("busy.tar.gz")
    eventually(lambda: last(emulator, "DiskUtilization") >= 10, what="a tenth of the disk is used")
    # Two seconds are 3.3 % of a minute; of all minutes, as one may have begun in the middle of the invocation.
    eventually(lambda: statistics(emulator, "CPUUtilization", INSTANCES)["Maximum"] > 1.5, what="the work is observed")
    assert last(emulator, "MemoryUtilization") < 100
    assert last(emulator, "LoadedModelCount") == 1
    assert statistics(emulator, "MemoryUtilization", INSTANCES)["Unit"] == "Percent"


# CloudWatch


def test_the_metrics_can_be_listed_and_watched(scripted: Scripted, bucket: Path) -> None:
    emulator = scripted(*OFTEN)
    scripted_model(bucket / "a.tar.gz")
    asked = {"StartTime": datetime.now(timezone.utc), "EndTime": datetime.now(timezone.utc) + timedelta(minutes=3)}
    for _ in range(4):
        emulator.invoke("a.tar.gz")
    cloudwatch = emulator.client_of("cloudwatch")
    listed = {(m["Namespace"], m["MetricName"]) for m in cloudwatch.list_metrics(Dimensions=VARIANT)["Metrics"]}
    assert {(INVOCATIONS, "Invocations"), (INVOCATIONS, "ModelCacheHit")} <= listed
    eventually(lambda: has(emulator, "LoadedModelCount"), what="the instance was observed")

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


def test_own_metrics_have_their_place_beside_sagemaker_s(scripted: Scripted, bucket: Path) -> None:
    emulator = scripted()
    scripted_model(bucket / "a.tar.gz")
    emulator.invoke("a.tar.gz")
    cloudwatch = emulator.client_of("cloudwatch")
    cloudwatch.put_metric_data(Namespace="Mine", MetricData=[{"MetricName": "Invocations", "Value": 7}])
    assert statistics(emulator, "Invocations", "Mine", Dimensions=[])["Sum"] == 7
    assert statistics(emulator, "Invocations")["Sum"] == 1


def test_all_regions_are_one(scripted: Scripted, bucket: Path) -> None:
    emulator = scripted()
    scripted_model(bucket / "a.tar.gz")
    emulator.invoke("a.tar.gz")
    emulator.client_of("logs", region="us-west-2").create_log_group(logGroupName="mine")
    for region in (REGION, "eu-west-1", "us-west-2"):
        there = emulator.client_of("cloudwatch", region=region).list_metrics(MetricName="Invocations")["Metrics"]
        assert len(there) == 1
        logs = emulator.client_of("logs", region=region)
        # Others may have been made by other tests of this process: moto keeps them.
        groups = logs.describe_log_groups(logGroupNamePrefix="mine")["logGroups"]
        assert [(group["logGroupName"], f":{REGION}:" in group["arn"]) for group in groups] == [("mine", True)]
