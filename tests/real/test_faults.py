"""What AWS's clients make of faults: the exceptions of the SDK for JavaScript, its retries, the AWS CLI's words."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.aws_cli import aws
from tests.support.aws_clients import REGION
from tests.support.emulator_in_process import InProcessEmulator, in_process_emulators
from tests.support.real_clients import javascript
from tests.support.real_servers.making import NotProvisioned

STATUSES = {
    "ThrottlingException": 400,
    "ModelNotReadyException": 429,
    "ServiceUnavailable": 503,
    "InternalFailure": 500,
    "InternalDependencyException": 530,
    "ModelError": 424,
    "AccessDeniedException": 403,
    "ValidationError": 400,
}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessEmulator]:
    directory = tmp_path_factory.mktemp("stub")
    (directory / "stub.yaml").write_text("Answers: [{Chunks: [a, b]}]")
    with in_process_emulators(directory) as start:
        yield start("--stub", str(directory / "stub.yaml")).wait_in_service()


def inject(emulator: InProcessEmulator, fault: str, target_model: str, **members: Any) -> None:
    """For the next call of a model, or so many."""
    connection = http.client.HTTPConnection(emulator.url.removeprefix("http://"), timeout=60)
    token = (emulator.state_directory / "console-token").read_text()
    body = json.dumps({"fault": fault, "times": 1, "target_model": target_model, **members})
    connection.request("POST", "/_localmme/actions/fault", body, {"X-Localmme-Token": token})
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.real
def test_the_javascript_sdk_has_each_fault_as_its_exception_and_tries_again(emulator: InProcessEmulator) -> None:
    for fault in STATUSES:
        inject(emulator, fault, fault)
    inject(emulator, "ThrottlingException", "retried", times=2)
    inject(emulator, "ModelStreamError", "streamed", chunks=1)
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_ENDPOINT_URL": emulator.url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "placeholder",
        "AWS_SECRET_ACCESS_KEY": "placeholder",
    }
    try:
        saw = javascript.run_script(*STATUSES, environment=environment, script=javascript.FAULTS)
    except NotProvisioned as reason:
        pytest.skip(str(reason))
    assert saw.pop("retried") == 3
    assert saw.pop("streamed") == ["ModelStreamError", ["a"]]
    assert {name: found[:2] for name, found in saw.items()} == {name: [name, code] for name, code in STATUSES.items()}
    assert saw["ModelError"][2] == 500


def test_the_aws_cli_names_a_fault(emulator: InProcessEmulator, tmp_path: Path) -> None:
    inject(emulator, "ModelNotReadyException", "m")
    words = ("--endpoint-name", "local", "--target-model", "m", "--body", "{}", str(tmp_path / "answer"))
    refused = aws(emulator, "sagemaker-runtime", "invoke-endpoint", *words)
    assert refused.returncode != 0
    assert "An error occurred (ModelNotReadyException) when calling the InvokeEndpoint operation" in refused.stderr
