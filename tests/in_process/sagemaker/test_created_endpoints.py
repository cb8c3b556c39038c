"""Endpoints that are created through the API, whose containers are processes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.aws_clients import invalid
from tests.support.control_plane import ARN, ControlPlane, running_control_plane
from tests.support.scripted_models import SCRIPTED_CONTAINER
from tests.support.waiting import eventually

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with running_control_plane(tmp_path_factory.mktemp("control-plane")) as control_plane:
        yield control_plane


@pytest.fixture
def name() -> str:
    """One that nothing has yet."""
    return f"n{next(NUMBERS)}"


def test_a_handler_and_a_command_are_found_from_where_the_emulator_was_started(
    control_plane: ControlPlane, name: str
) -> None:
    (control_plane.directory / "here").mkdir(exist_ok=True)
    handler = control_plane.directory / "here" / "other.py"
    handler.write_text(control_plane.handler.read_text().replace("return model,", "return 'elsewhere',"))
    (control_plane.directory / "here" / "service.py").write_text("def handle(data, context): return [b'served']")
    control_plane.create_endpoint(name, Image="handler:here/service.py:handle")
    assert control_plane.invoke(name) == "served"
    control_plane.delete_endpoint(name)
    control_plane.create_endpoint(name, Image="handler:here/other.py")
    assert control_plane.invoke(name) == "elsewhere"
    control_plane.delete_endpoint(name)
    server = control_plane.directory / "server.sh"
    server.write_text(f"#!/bin/sh\nexec {SCRIPTED_CONTAINER}\n")
    server.chmod(0o755)
    control_plane.create_endpoint(name, Image="command:./server.sh")
    assert json.loads(control_plane.invoke(name))["answer"] == "I am a"
    deployed = control_plane.sagemaker.describe_endpoint(EndpointName=name)["ProductionVariants"][0]["DeployedImages"]
    assert [image["SpecifiedImage"] for image in deployed] == ["command:./server.sh"]
    control_plane.delete_endpoint(name)


def test_the_environment_and_the_mode_are_those_of_the_container(control_plane: ControlPlane, name: str) -> None:
    cues = json.dumps({"invoke": {"environment": True}})
    environment = {"SCRIPT": cues, "MINE": " two\nlines é "}
    control_plane.create_endpoint(name, Image=f"command:{SCRIPTED_CONTAINER}", Environment=environment)
    seen = json.loads(control_plane.invoke(name))["environment"]
    assert seen["MINE"] == " two\nlines é " and seen["SAGEMAKER_MULTI_MODEL"] == "true"
    control_plane.delete_endpoint(name)


def test_an_endpoint_that_is_being_changed_cannot_be_changed_again(control_plane: ControlPlane, name: str) -> None:
    sagemaker, arn = control_plane.sagemaker, f"{ARN}:endpoint/{name}"
    gate = control_plane.directory / name  # what is created or changed waits for it
    cues = json.dumps({"start": {"until": str(gate)}})
    control_plane.create_model(name, Image=f"command:{SCRIPTED_CONTAINER}", Environment={"SCRIPT": cues})
    control_plane.create_config(name, name)
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)

    def all_refused() -> bool:
        in_progress = f'Cannot update in-progress endpoint "{arn}".'
        return (
            in_progress
            == invalid(sagemaker.update_endpoint, EndpointName=name, EndpointConfigName=name)
            == invalid(
                sagemaker.update_endpoint_weights_and_capacities,
                EndpointName=name,
                DesiredWeightsAndCapacities=[{"VariantName": "V", "DesiredWeight": 1.0}],
            )
            == invalid(sagemaker.delete_endpoint, EndpointName=name)
        )

    assert sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "Creating"
    assert all_refused()
    gate.touch()
    control_plane.wait_in_service(name)
    gate.unlink()
    sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=name)
    assert sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "Updating"
    assert all_refused()
    gate.touch()
    control_plane.wait_in_service(name)
    control_plane.delete_endpoint(name)


def test_an_endpoint_that_cannot_be_had_is_failed_with_the_reason_and_can_be_deleted(
    control_plane: ControlPlane, name: str
) -> None:
    sagemaker = control_plane.sagemaker
    cues = json.dumps({"start": {"exit": 3, "lines": ["it is broken"]}})
    control_plane.create_model(name, Image=f"command:{SCRIPTED_CONTAINER}", Environment={"SCRIPT": cues})
    control_plane.create_config(name, name)
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)

    def failed() -> Any:
        described = sagemaker.describe_endpoint(EndpointName=name)
        return described if described["EndpointStatus"] == "Failed" else None

    described = eventually(failed, what="the endpoint is Failed")
    assert "it is broken" in described["FailureReason"] and "ProductionVariants" not in described
    words = f'Cannot update failed endpoint "{ARN}:endpoint/{name}".'
    assert invalid(sagemaker.update_endpoint, EndpointName=name, EndpointConfigName=name) == words
    control_plane.delete_endpoint(name)
