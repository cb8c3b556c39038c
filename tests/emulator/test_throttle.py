"""Calls that come too fast, and how they are answered."""

from __future__ import annotations

import http.client
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from emulator.services.runtime.throttle import Throttle
from tests.support.scripted_models import scripted_model


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def admitted(throttle: Throttle, calls: int) -> int:
    return sum(throttle.admits() for _ in range(calls))


def test_as_many_calls_as_a_second_has_are_admitted_at_once_and_then_evenly() -> None:
    clock = Clock()
    throttle = Throttle(4, clock)
    assert admitted(throttle, 10) == 4
    clock.seconds = 0.5
    assert admitted(throttle, 10) == 2
    clock.seconds = 60.0
    assert admitted(throttle, 10) == 4


def test_less_than_one_call_a_second_can_be_admitted_as_well() -> None:
    clock = Clock()
    throttle = Throttle(0.5, clock)
    assert admitted(throttle, 3) == 1
    clock.seconds = 1.9
    assert admitted(throttle, 3) == 0
    clock.seconds = 2.0
    assert admitted(throttle, 3) == 1


def test_without_a_limit_all_are_admitted() -> None:
    assert admitted(Throttle(float("inf"), Clock()), 1000) == 1000


def test_a_call_too_many_is_answered_as_sagemaker_does(scripted, bucket: Path) -> None:
    scripted_model(bucket / "a", "I am a")
    emulator = scripted("--limit", "invocations_per_second=0.001")
    assert emulator.invoke("a")["answer"] == "I am a"
    with pytest.raises(ClientError) as caught:
        emulator.invoke("a")
    assert caught.value.response["Error"]["Code"] == "ThrottlingException"
    connection = http.client.HTTPConnection(emulator.url.removeprefix("http://"), timeout=30)
    connection.request("POST", "/endpoints/local/invocations", b"{}")
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("x-amzn-errortype"), answer.read()) == (
        400,
        "ThrottlingException",
        b'{"message": null}',
    )
    connection.close()
