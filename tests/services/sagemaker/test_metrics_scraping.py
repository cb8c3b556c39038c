"""A container's own metrics: where they are read, and what is told when there are none."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from emulator.containers.http_connection import Answer
from emulator.errors import ContainerError
from emulator.events import Events, Warned
from emulator.hosting.definition import MetricsEndpoint
from emulator.hosting.metrics_scraping import problem_of, scrape
from localmme.check.calls import Exchange
from localmme.check.finding import Verdict
from localmme.check.suite.robustness import metrics
from tests.support.fake_containers import DirectControlPlane, FakeContainers
from tests.support.waiting import turns, until

GOOD = b'# HELP a What.\n# TYPE a counter\na{b="c d",e="}"} 1.5e3\nb NaN 1700000000000\n\r\n'


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (200, GOOD, ""),
        (404, GOOD, "the answer is 404"),
        (200, b"", "there is no sample in the answer"),
        (200, b"# HELP a\n", "there is no sample in the answer"),
        (200, b'{"models": []}', """'{"models": []}' is not a sample of Prometheus' text format"""),
    ],
)
def test_what_is_no_metrics_is_told(status: int, body: bytes, problem: str) -> None:
    assert problem_of(Answer(status, [], body)) == problem


@pytest.mark.parametrize(
    ("status", "body", "verdict", "words"),
    [
        (200, GOOD, Verdict.PASS, "can be read"),
        (404, GOOD, Verdict.PASS, "has none at /metrics"),
        (200, b"{}", Verdict.WARN, "would publish none: '{}' is not a sample"),
        (0, b"", Verdict.WARN, "with 404 for instance"),
    ],
)
def test_check_says_what_a_container_answers(status: int, body: bytes, verdict: Verdict, words: str) -> None:
    class Answering:
        async def call(self, method: str, path: str) -> Exchange:
            return Exchange(method, path, (), b"", status, (), body, "", 0.0)

    harness: Any = Answering()
    found = asyncio.run(metrics(harness))
    assert (found.verdict, words in found.detail) == (verdict, True), found
    assert found.exchange is not None and found.exchange.sent == "GET /metrics"


def test_metrics_are_read_again_and_again_and_a_problem_is_told_once() -> None:
    answers: list[Any] = [404, 404, ContainerError("gone"), 200, 404]
    asked, told = [], []

    async def ask(path: str) -> Answer:
        asked.append(path)
        if not answers:
            raise asyncio.CancelledError
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Answer(answer, [], GOOD)

    events = Events().within(container="primary")
    events.subscribe(lambda event, _: told.append(event))
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(scrape(MetricsEndpoint("/m", 0), ask, events))
    assert asked == ["/m"] * 6
    words = [event.text.partition("says: ")[2] for event in told if isinstance(event, Warned)]
    assert [each.partition(". ")[0] for each in words] == ["the answer is 404", "gone", "the answer is 404"]


@pytest.mark.parametrize(
    ("config", "metrics", "read"),
    [
        ({"MetricsEndpoints": [{"MetricsEndpointPath": "/own/metrics"}]}, {}, "/own/metrics"),
        ({}, {}, "/metrics"),
        ({}, {"MetricsConfig": {"EnableDetailedObservability": False}}, None),
        (None, {}, None),
    ],
)
def test_they_are_read_where_the_model_says(
    tmp_path: Path,
    containers: FakeContainers,
    config: dict[str, Any] | None,
    metrics: dict[str, Any],
    read: str | None,
) -> None:
    async def scenario() -> list[str]:
        told: list[str] = []
        async with containers.serving():
            control_plane = DirectControlPlane(tmp_path)
            control_plane.events.subscribe(
                lambda event, _: told.append(event.text) if isinstance(event, Warned) else None
            )
            container = {"Image": "command:true", "Mode": "MultiModel", "ModelDataUrl": "s3://bucket/"}
            if config is not None:
                container["ContainerMetricsConfig"] = config  # type: ignore[assignment]
            role = "arn:aws:iam::123456789012:role/tests"
            variant = {"VariantName": "A", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
            for operation, asked in (
                ("CreateModel", {"ModelName": "m", "ExecutionRoleArn": role, "PrimaryContainer": container}),
                ("CreateEndpointConfig", {"EndpointConfigName": "c", "ProductionVariants": [variant], **metrics}),
                ("CreateEndpoint", {"EndpointName": "e", "EndpointConfigName": "c"}),
            ):
                status, answer = await control_plane.call(operation, **asked)
                assert status == 200, answer
            while await control_plane.status("e") == "Creating":
                await asyncio.sleep(0.01)
            await (until(lambda: told) if read else turns(50))
            await control_plane.close()
        return told

    told = asyncio.run(scenario())
    assert [text.partition(" from ")[2].partition(",")[0] for text in told] == ([read] if read else [])


def test_only_the_api_s_frequencies_are_taken(tmp_path: Path) -> None:
    async def scenario() -> tuple[int, dict[str, Any]]:
        control_plane = DirectControlPlane(tmp_path)
        endpoint = {"MetricsEndpointPath": "/metrics", "MetricPublishFrequencyInSeconds": 20}
        container = {"Image": "command:true", "ContainerMetricsConfig": {"MetricsEndpoints": [endpoint]}}
        role = "arn:aws:iam::123456789012:role/tests"
        answer = await control_plane.call(
            "CreateModel", ModelName="m", ExecutionRoleArn=role, PrimaryContainer=container
        )
        await control_plane.close()
        return answer

    status, answer = asyncio.run(scenario())
    assert status == 400 and "must be one of 10, 30, 60, 120, 180, 240, 300, not 20" in answer["message"]
