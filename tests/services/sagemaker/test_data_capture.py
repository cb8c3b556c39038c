"""Data capture: its configuration through the API, and an invocation that ends in an object of S3."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from emulator.aws.errors import AwsError
from emulator.clock import Clock
from emulator.limits import Limits
from emulator.observers.captured_invocations import CapturedInvocations
from emulator.services.runtime.app import RuntimeApp
from emulator.services.s3.app import S3App
from emulator.storage.object_store import open_store
from emulator.storage.read_through import ReadThrough
from tests.support.asgi_client import call_service
from tests.support.fake_containers import DirectControlPlane, FakeContainers
from tests.support.files import archive
from tests.support.store_as_real_s3 import StoreAsRealS3

CAPTURE = {
    "EnableCapture": True,
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": "s3://bucket/captured/",
    "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
    "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]},
}
VARIANT = {"VariantName": "A", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
SUMMARY = {"CurrentSamplingPercentage": 100, "DestinationS3Uri": "s3://bucket/captured/", "KmsKeyId": ""}


async def created(control_plane: DirectControlPlane, config: str, capture: Any) -> tuple[int, dict[str, Any]]:
    """The answer to a CreateEndpointConfig with that DataCaptureConfig."""
    return await control_plane.call(
        "CreateEndpointConfig", EndpointConfigName=config, ProductionVariants=[VARIANT], DataCaptureConfig=capture
    )


@pytest.mark.parametrize(
    ("changes", "has_s3", "words"),
    [
        ({}, True, None),
        ({"KmsKeyId": "alias/key"}, True, None),
        ({"DestinationS3Uri": "https://s3.amazonaws.com/bucket/x"}, True, None),
        ({"EnableCapture": False}, False, None),
        ({}, False, "DataCaptureConfig needs a directory that stands for S3: start with --s3 DIRECTORY, or set"),
        ({"DestinationS3Uri": "s3://bucket/a/../b"}, True, "DataCaptureConfig.DestinationS3Uri cannot begin a key: "),
        ({"DestinationS3Uri": "s3://..."}, True, "is not the name of a bucket"),
        ({"DestinationS3Uri": "https://example.com/x"}, True, "is not a URL of S3: write s3://BUCKET/PREFIX"),
        ({"DestinationS3Uri": "s3://later/x"}, True, None),
        ({"DestinationS3Uri": "s3://Here_/x"}, True, None),
        ({"DestinationS3Uri": "s3://CAP_/x"}, True, "names the bucket CAP_, which does not exist and cannot be"),
        ({"DestinationS3Uri": "https://s3.amazonaws.com/CAP_/x"}, True, "DestinationS3Uri names the bucket CAP_"),
        ({"DestinationS3Uri": "s3://endpoints/x"}, True, "created. The emulator serves something else at /endpoints/."),
        ({"CaptureOptions": []}, True, "'dataCaptureConfig.captureOptions' failed to satisfy constraint"),
        ({"InitialSamplingPercentage": 101}, True, "less than or equal to 100"),
    ],
)  # fmt: skip
def test_a_configuration_is_kept_or_refused(
    tmp_path: Path, containers: FakeContainers, changes: dict[str, Any], has_s3: bool, words: str | None
) -> None:
    async def scenario() -> None:
        control_plane = DirectControlPlane(tmp_path, has_s3=has_s3)
        (tmp_path / "s3" / "Here_").mkdir()
        await control_plane.configure("m")
        capture = {**CAPTURE, **changes}
        status, answer = await created(control_plane, "c", capture)
        if words is None:
            assert status == 200, answer
            described = (await control_plane.call("DescribeEndpointConfig", EndpointConfigName="c"))[1]
            assert described["DataCaptureConfig"] == capture
        else:
            assert (status, answer["__type"]) == (400, "ValidationException")
            assert words in answer["message"]
        await control_plane.close()

    asyncio.run(scenario())


def test_an_endpoint_captures_what_its_configuration_says_and_an_update_changes_it(
    tmp_path: Path, containers: FakeContainers
) -> None:
    async def scenario() -> None:
        control_plane, s3 = DirectControlPlane(tmp_path), S3App(tmp_path / "s3")
        writer = CapturedInvocations(s3.put, seconds=3600)
        writer.listen_to(control_plane.events)
        runtime = RuntimeApp(control_plane.endpoints, Limits(), control_plane.events, Clock())

        async def in_service() -> dict[str, Any]:
            while await control_plane.status("e") in ("Creating", "Updating"):
                await asyncio.sleep(0.001)
            described = (await control_plane.call("DescribeEndpoint", EndpointName="e"))[1]
            assert described["EndpointStatus"] == "InService"
            capture: dict[str, Any] = described.get("DataCaptureConfig", {})
            return capture

        async def invoke(body: bytes) -> None:
            headers = {
                "content-type": "text/csv",
                "x-amzn-sagemaker-target-model": "a.tar.gz",
                "x-amzn-sagemaker-inference-id": body.decode(),
            }
            path = "/endpoints/e/invocations"
            response = await call_service(runtime, "sagemaker", "POST", path, headers, body)
            assert response.status == 200, response.body

        await control_plane.configure("m")
        await control_plane.configure("plain")
        assert (await created(control_plane, "on", CAPTURE))[0] == 200
        assert (await created(control_plane, "off", {**CAPTURE, "EnableCapture": False}))[0] == 200
        await control_plane.call("CreateEndpoint", EndpointName="e", EndpointConfigName="on")
        described = (await control_plane.call("DescribeEndpoint", EndpointName="e"))[1]
        assert described["DataCaptureConfig"] == {"EnableCapture": True, "CaptureStatus": "Stopped", **SUMMARY}
        assert await in_service() == {"EnableCapture": True, "CaptureStatus": "Started", **SUMMARY}
        await invoke(b"1")
        excluded = [{"VariantPropertyType": "DataCaptureConfig"}]
        for config, capture in (
            ("off", {"EnableCapture": False, "CaptureStatus": "Stopped", **SUMMARY}),
            ("plain", {}),
            ("on", {"EnableCapture": True, "CaptureStatus": "Started", **SUMMARY}),
        ):
            update = {"RetainAllVariantProperties": True, "ExcludeRetainedVariantProperties": excluded}
            status, answer = await control_plane.call(
                "UpdateEndpoint", EndpointName="e", EndpointConfigName=config, **update
            )
            assert status == 200, answer
            assert await in_service() == capture
            await invoke(config.encode())
        await writer.flush()
        headers = {"host": "localhost"}
        listed = await call_service(s3, "s3", "GET", "/bucket?list-type=2&prefix=captured/e/A/", headers)
        assert listed.body.count(b"<Key>captured/e/A/") == 1
        await control_plane.close()
        await s3.stop()

    archive(tmp_path / "s3" / "bucket" / "a.tar.gz", {"x": "1"})

    async def with_containers() -> None:
        async with containers.serving():
            await scenario()

    asyncio.run(with_containers())
    [file] = (tmp_path / "s3" / "bucket" / "captured" / "e" / "A").rglob("*.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["eventMetadata"]["inferenceId"] for line in lines] == ["1", "on"]
    assert lines[0]["captureData"]["endpointInput"]["data"] == "1"
    assert lines[0]["captureData"]["endpointOutput"] == {
        "observedContentType": "application/octet-stream",
        "mode": "OUTPUT",
        "data": "eyJtb2RlbHMiOiBbXX0=",
        "encoding": "BASE64",
    }


def test_captured_data_may_go_to_a_bucket_that_only_real_s3_has_yet(tmp_path: Path) -> None:
    (tmp_path / "there" / "public").mkdir(parents=True)
    real = StoreAsRealS3(open_store(tmp_path / "there", "us-east-1"))
    read_through = ReadThrough(tmp_path / "here", "us-east-1", ["*"], real)

    async def scenario() -> None:
        s3 = S3App(tmp_path / "here", read_through=read_through)
        await s3.put("public", "key", [b"line", b"s"])
        with pytest.raises(AwsError, match="The specified bucket does not exist"):
            await s3.put("none", "key", [b"lines"])
        await s3.stop()

    try:
        asyncio.run(scenario())
    finally:
        read_through.close()
    assert (tmp_path / "here" / "public" / "key").read_bytes() == b"lines"
