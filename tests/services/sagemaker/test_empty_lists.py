"""What SDKs ask for beside models and endpoints: an account that has none of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel

from emulator.events import Warned
from emulator.services.sagemaker.empty_lists import OPERATIONS
from tests.support.fake_containers import DirectControlPlane, FakeContainers

API = ServiceModel(Loader().load_service_model("sagemaker", "service-2"), "sagemaker")
EXPLAINER = {
    "ClarifyExplainerConfig": {
        "ShapConfig": {"ShapBaselineConfig": {"MimeType": "text/csv", "ShapBaseline": "1,2"}},
        "EnableExplanations": "`true`",
    }
}


def called(directory: Path, operation: str, **asked: Any) -> tuple[int, dict[str, Any]]:
    async def call() -> tuple[int, dict[str, Any]]:
        control_plane = DirectControlPlane(directory)
        answer = await control_plane.call(operation, **asked)
        await control_plane.close()
        return answer

    return asyncio.run(call())


@pytest.mark.parametrize("operation", OPERATIONS)
def test_lists_are_empty_and_names_are_not_found(tmp_path: Path, operation: str) -> None:
    model = API.operation_model(operation)
    any_name = "arn:aws:sagemaker:us-east-1:123456789012:artifact/any" if operation == "DescribeArtifact" else "any"
    asked = dict.fromkeys(model.input_shape.required_members, any_name)
    status, answer = called(tmp_path, operation, **asked)
    if operation.startswith("List"):
        (member,) = set(model.output_shape.members) - {"NextToken"}
        assert (status, answer) == (200, {member: []})
    else:
        assert (status, answer) == (400, {"__type": "ResourceNotFound", "message": f'Could not find "{any_name}".'})


def test_the_lists_of_an_endpoint_are_asked_for_with_arguments(tmp_path: Path) -> None:
    assert called(tmp_path, "ListMonitoringSchedules", EndpointName="local")[0] == 200
    status, answer = called(tmp_path, "ListMonitoringSchedules", EndpointName="not a name")
    assert (status, answer["__type"]) == (400, "ValidationException")


def test_an_explainer_is_kept_and_a_warning_says_that_nothing_is_explained(
    tmp_path: Path, containers: FakeContainers
) -> None:
    warned: list[Any] = []

    async def scenario() -> None:
        async with containers.serving():
            control_plane = DirectControlPlane(tmp_path)
            control_plane.events.subscribe(lambda event, _: warned.append(event), Warned)
            await control_plane.configure("explained")
            variant = {"VariantName": "A", "ModelName": "explained", "InstanceType": "ml.m5.large"}
            variants = [{**variant, "InitialInstanceCount": 1}]
            config = {"EndpointConfigName": "with", "ProductionVariants": variants, "ExplainerConfig": EXPLAINER}
            assert (await control_plane.call("CreateEndpointConfig", **config))[0] == 200
            await control_plane.call("CreateEndpoint", EndpointName="e", EndpointConfigName="with")
            for asked in ({"operation": "DescribeEndpointConfig", "EndpointConfigName": "with"},
                          {"operation": "DescribeEndpoint", "EndpointName": "e"}):  # fmt: skip
                assert (await control_plane.call(**asked))[1]["ExplainerConfig"] == EXPLAINER
            while await control_plane.status("e") == "Creating":
                await asyncio.sleep(0.001)
            await control_plane.close()

    asyncio.run(scenario())
    [warning] = [event.text for event in warned if "ExplainerConfig" in event.text]
    assert warning.startswith("Endpoint e has an ExplainerConfig: ")
