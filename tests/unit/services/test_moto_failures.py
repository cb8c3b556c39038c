"""Calls that their API takes, and moto fails at."""

from __future__ import annotations

import asyncio
import json
import time
from types import SimpleNamespace
from typing import Any

import pytest

from emulator.aws.sessions import Sessions
from emulator.observers.cloudwatch_metrics import CloudWatchMetrics
from emulator.observers.recent_log_lines import RecentLogLines
from emulator.services.moto_services.app import MotoServicesApp
from emulator.services.moto_services.wrong_parameters import omitted
from tests.support.asgi_client import call_service


def test_a_call_that_moto_fails_at_is_not_emulated_and_says_which_parameters_may_help() -> None:
    engine: Any = SimpleNamespace()
    services = MotoServicesApp(CloudWatchMetrics(), RecentLogLines(), engine, "us-east-1", Sessions(time.time))
    headers = {
        "x-amz-target": "AmazonEC2ContainerRegistry_V20150921.PutRegistryScanningConfiguration",
        "content-type": "application/x-amz-json-1.1",
    }
    body = json.dumps({"scanType": "BASIC"}).encode()
    response = asyncio.run(call_service(services, "ecr", "POST", "/", headers, body))
    assert (response.status, response.json()["__type"]) == (501, "NotImplemented"), response
    message = response.json()["message"]
    assert message.startswith("PutRegistryScanningConfiguration with these parameters is not emulated: moto"), message
    assert message.endswith("Optional parameters that it may need: rules."), message


@pytest.mark.parametrize(
    ("document", "parameters", "names"),
    [
        ({"scanType": "BASIC", "rules": []}, {}, []),
        (None, {"rules.member.1.scanFrequency": "MANUAL"}, ["scanType"]),
        ({}, {}, ["scanType", "rules"]),
    ],
)
def test_what_a_call_leaves_out_is_known_in_both_protocols(
    document: dict[str, object] | None, parameters: dict[str, str], names: list[str]
) -> None:
    assert omitted("ecr", "PutRegistryScanningConfiguration", document, parameters) == names
