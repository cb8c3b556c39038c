"""Endpoints of a file and of options: what the API says of them, and what they have that requests cannot say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from emulator.archives.model_data_url import S3Url
from emulator.errors import SetupError
from emulator.hosting.definition import EndpointDefinition
from emulator.services.sagemaker import endpoints_at_start
from emulator.services.sagemaker.local_settings import LocalInstances
from emulator.services.sagemaker.start_requests import StartRequests
from localmme import endpoint_file
from tests.support.fake_containers import DirectControlPlane

ARN = "arn:aws:sagemaker:us-east-1:123456789012"
Scenario = Callable[[DirectControlPlane, list[tuple[EndpointDefinition, str]]], Awaitable[None]]

MODEL: dict[str, Any] = {
    "ModelName": "m",
    "ExecutionRoleArn": "arn:aws:iam::123456789012:role/of-the-file",
    "Tags": [{"Key": "team", "Value": "of the model"}],
    "VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]},
    "EnableNetworkIsolation": True,
    "Containers": [
        {"Image": "command:true", "Mode": "MultiModel", "ModelDataUrl": "s3/bucket", "Environment": {"LEVEL": "2"}}
    ],
}
CONFIG: dict[str, Any] = {
    "EndpointConfigName": "c",
    "KmsKeyId": "key",
    "Tags": [{"Key": "team", "Value": "of the configuration"}],
    "ProductionVariants": [{"VariantName": "v", "ModelName": "m", "InitialVariantWeight": 0.5, "VolumeSizeInGB": 8}],
}
ENDPOINT: dict[str, Any] = {
    "EndpointName": "e",
    "EndpointConfigName": "c",
    "Tags": [{"Key": "team", "Value": "of the endpoint"}],
}


def requests_of(directory: Path, **container: Any) -> StartRequests:
    """Those of a file in that directory, whose only container has these members as well."""
    model = {**MODEL, "Containers": [{**MODEL["Containers"][0], **container}]}
    (directory / "s3" / "bucket").mkdir(parents=True, exist_ok=True)
    file = directory / "endpoint.yaml"
    file.write_text(json.dumps({"Models": [model], "EndpointConfigs": [CONFIG], "Endpoints": [ENDPOINT]}))
    return endpoint_file.read(file)


def start(directory: Path, requests: StartRequests, scenario: Scenario) -> None:
    """A control plane that is started with these requests. Nothing is hosted but what ``scenario`` starts."""

    async def run() -> None:
        control_plane = DirectControlPlane(directory)
        found = await endpoints_at_start.create(
            control_plane.control_plane, requests, directory / "s3", directory / "state"
        )
        for definition, _ in found:
            control_plane.endpoints.add(definition)
        await scenario(control_plane, found)
        await control_plane.close()

    asyncio.run(run())


def test_what_a_file_says_is_described(tmp_path: Path) -> None:
    async def scenario(control_plane: DirectControlPlane, _: Any) -> None:
        _, model = await control_plane.call("DescribeModel", ModelName="m")
        for name in ("ExecutionRoleArn", "VpcConfig", "EnableNetworkIsolation"):
            assert model[name] == MODEL[name]
        assert model["Containers"] == [{**MODEL["Containers"][0], "ModelDataUrl": "s3://bucket/"}]
        _, config = await control_plane.call("DescribeEndpointConfig", EndpointConfigName="c")
        assert (config["KmsKeyId"], config["ProductionVariants"]) == ("key", CONFIG["ProductionVariants"])
        _, endpoint = await control_plane.call("DescribeEndpoint", EndpointName="e")
        assert endpoint["EndpointConfigName"] == "c"

    start(tmp_path, requests_of(tmp_path), scenario)


def test_the_tags_of_a_file_are_listed(tmp_path: Path) -> None:
    async def scenario(control_plane: DirectControlPlane, _: Any) -> None:
        for resource, request in (("model/m", MODEL), ("endpoint-config/c", CONFIG), ("endpoint/e", ENDPOINT)):
            _, answer = await control_plane.call("ListTags", ResourceArn=f"{ARN}:{resource}")
            assert answer["Tags"] == request["Tags"]

    start(tmp_path, requests_of(tmp_path), scenario)


def test_model_data_that_is_in_no_bucket_is_described_by_its_file_url(tmp_path: Path) -> None:
    elsewhere = tmp_path / "ä b"
    elsewhere.mkdir()

    async def scenario(control_plane: DirectControlPlane, found: list[tuple[EndpointDefinition, str]]) -> None:
        _, model = await control_plane.call("DescribeModel", ModelName="m")
        assert model["Containers"][0]["ModelDataUrl"] == f"{tmp_path.as_uri()}/%C3%A4%20b/"
        assert found[0][0].variants[0].model.containers[0].model_data == elsewhere

    start(tmp_path, requests_of(tmp_path, ModelDataUrl="./ä b"), scenario)


def test_a_url_of_s3_is_of_real_s3_although_a_bucket_of_that_name_is_here(tmp_path: Path) -> None:
    async def scenario(control_plane: DirectControlPlane, found: list[tuple[EndpointDefinition, str]]) -> None:
        assert found[0][0].variants[0].model.containers[0].model_data == S3Url("bucket", "models/")

    start(tmp_path, requests_of(tmp_path, ModelDataUrl="s3://bucket/models/"), scenario)


def test_local_settings_hold_for_every_endpoint_of_the_configuration(tmp_path: Path) -> None:
    requests = requests_of(tmp_path)
    local = LocalInstances(memory_bytes=1 << 30, max_loaded_models=3, gpus=-1)
    requests = StartRequests(
        requests.models, requests.endpoint_configs, requests.endpoints, tmp_path, reload=True, instances=local
    )

    async def scenario(control_plane: DirectControlPlane, _: Any) -> None:
        status, answer = await control_plane.call("CreateEndpoint", EndpointName="another", EndpointConfigName="c")
        assert status == 200, answer
        for name in ("e", "another"):
            endpoint = control_plane.endpoints.get(name)
            assert endpoint is not None
            [variant] = endpoint.definition.variants
            has = variant.resources
            assert (has.memory_bytes, has.storage_bytes, has.max_loaded_models, has.gpus) == (1 << 30, 8 << 30, 3, -1)
            assert variant.model.containers[0].caching.reload

    start(tmp_path, requests, scenario)


def test_an_endpoint_that_has_become_impossible_says_why_and_takes_no_other_with_it(tmp_path: Path) -> None:
    handler = tmp_path / "handler.py"
    handler.touch()
    requests = requests_of(tmp_path, Image="handler:handler.py")
    handler.unlink()

    async def scenario(control_plane: DirectControlPlane, found: list[tuple[EndpointDefinition, str]]) -> None:
        [(definition, impossible)] = found
        assert not definition.variants and "There is no handler file" in impossible

    start(tmp_path, requests, scenario)


def test_what_a_file_creates_is_not_kept(tmp_path: Path) -> None:
    async def scenario(control_plane: DirectControlPlane, _: Any) -> None:
        assert (await control_plane.call("ListModels"))[1]["Models"]

    start(tmp_path, requests_of(tmp_path), scenario)

    async def after(control_plane: DirectControlPlane, _: Any) -> None:
        for kind in ("Models", "EndpointConfigs", "Endpoints"):
            assert await control_plane.call(f"List{kind}") == (200, {kind: []})

    start(tmp_path, StartRequests(), after)


def test_the_name_of_an_endpoint_that_is_kept_is_refused(tmp_path: Path) -> None:
    async def create(control_plane: DirectControlPlane, _: Any) -> None:
        await control_plane.configure("e")
        assert (await control_plane.call("CreateEndpoint", EndpointName="E", EndpointConfigName="e"))[0] == 200

    requests = requests_of(tmp_path)
    start(tmp_path, StartRequests(), create)
    with pytest.raises(SetupError, match=f"An endpoint e was created through the API, and {tmp_path}/state keeps it"):
        start(tmp_path, requests, create)
