"""What can run code on this machine through the API, when that is switched off, and when it is by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from emulator.aws.errors import AwsError
from emulator.errors import SetupError
from emulator.hosting.definition import (
    EndpointDefinition,
)
from emulator.services.sagemaker import endpoint_configs, endpoints, endpoints_at_start, models
from emulator.services.sagemaker.control_plane import ControlPlane
from emulator.services.sagemaker.records import EndpointRecord, ModelRecord
from emulator.services.sagemaker.registry import Registry
from emulator.services.sagemaker.start_requests import StartRequests
from localmme.server_setup import set_up_server
from tests.support.emulator_process import Emulator
from tests.support.own_addresses import own_addresses
from tests.support.waiting import eventually

Start = Callable[..., Emulator]


class Hosted:
    """An endpoint, as far as restoring one goes."""

    failure = ""

    def fail(self, reason: str) -> None:
        self.failure = reason


class Endpoints:
    """Those that were added; none is started."""

    def __init__(self) -> None:
        self.added: list[tuple[EndpointDefinition, Hosted]] = []

    def __iter__(self) -> Any:
        return iter(())

    def add(self, definition: EndpointDefinition) -> Hosted:
        self.added.append((definition, Hosted()))
        return self.added[-1][1]

    def in_background(self, work: Any) -> None:
        work.close()


def control_plane(directory: Path, local_code: bool) -> ControlPlane:
    (directory / "models").mkdir(exist_ok=True)
    registry = Registry.open(directory / "registry.db")
    locate = lambda url, multi_model: directory / "models"  # noqa: E731
    return ControlPlane(registry, Endpoints(), "us-east-1", directory, locate, 20, local_code=local_code)  # type: ignore[arg-type]


def asked(image: str) -> dict[str, Any]:
    container = {"Image": image, "Mode": "MultiModel", "ModelDataUrl": "s3://b/"}
    return {"ModelName": "m", "ExecutionRoleArn": "arn:aws:iam::123456789012:role/x", "PrimaryContainer": container}


@pytest.mark.parametrize("image", ["command:true", "handler:", "handler:handler.py", "some/image:1"])
def test_no_model_is_created_that_would_run_here(tmp_path: Path, image: str) -> None:
    (tmp_path / "handler.py").touch()
    off = control_plane(tmp_path, local_code=False)
    with pytest.raises(AwsError, match="--local-code") as caught:
        asyncio.run(models.create(off, asked(image)))
    assert caught.value.code == "AccessDeniedException"
    assert off.registry.get(ModelRecord, "m") is None
    asyncio.run(models.create(control_plane(tmp_path, local_code=True), asked(image)))


def test_what_was_created_while_it_was_allowed_does_not_run_when_it_is_not(tmp_path: Path) -> None:
    on = control_plane(tmp_path, local_code=True)
    variant = {"VariantName": "v", "ModelName": "m", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    asyncio.run(models.create(on, asked("command:true")))
    asyncio.run(endpoint_configs.create(on, {"EndpointConfigName": "c", "ProductionVariants": [variant]}))
    asyncio.run(endpoints.create(on, {"EndpointName": "e", "EndpointConfigName": "c"}))
    assert len(on.endpoints.added[0][0].variants) == 1  # type: ignore[attr-defined]

    off = control_plane(tmp_path, local_code=False)
    with pytest.raises(AwsError, match="--local-code"):
        asyncio.run(endpoints.create(off, {"EndpointName": "another", "EndpointConfigName": "c"}))
    record = off.registry.get(EndpointRecord, "e")
    assert record is not None
    asyncio.run(endpoints.restore(off, record, asyncio.Event()))
    [(definition, hosted)] = off.endpoints.added  # type: ignore[attr-defined]
    assert (len(definition.variants), "--local-code" in hosted.failure) == (0, True)
    assert record.deployments.failure == ""  # it runs again when that is allowed again


def test_what_the_command_line_gave_is_not_concerned(tmp_path: Path) -> None:
    off = control_plane(tmp_path, local_code=False)
    variant = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large"}
    requests = StartRequests(
        [asked("some/image")],
        [{"EndpointConfigName": "local", "ProductionVariants": [variant]}],
        [{"EndpointName": "local", "EndpointConfigName": "local"}],
    )
    asyncio.run(endpoints_at_start.create(off, requests, None, tmp_path))
    asyncio.run(endpoints.create(off, {"EndpointName": "second", "EndpointConfigName": "local"}))
    assert [each.name for each, _ in off.endpoints.added] == ["second"]  # type: ignore[attr-defined]


def test_a_record_cannot_say_of_itself_that_it_was_given(tmp_path: Path) -> None:
    off = control_plane(tmp_path, local_code=False)
    with pytest.raises(AwsError, match="--local-code"):
        models.definition(off, ModelRecord("m", asked("command:true"), directory="."))


@pytest.mark.parametrize(
    "host, local_code, is_on",
    [
        ("127.0.0.1", None, True),
        ("localhost", None, True),
        ("0.0.0.0", None, False),
        ("127.0.0.1", False, False),
        ("0.0.0.0", True, True),
    ],
)
def test_it_is_off_where_others_reach_the_emulator(
    tmp_path: Path, host: str, local_code: bool | None, is_on: bool
) -> None:
    made = set_up_server(host, 0, str(tmp_path), None, local_code=local_code)
    made.listener.close()
    assert made.local_code is is_on


def test_it_is_on_where_access_is_controlled(tmp_path: Path) -> None:
    access = tmp_path / "access.yaml"
    access.write_text(
        "Users: [{UserName: a, AccessKeyId: K, SecretAccessKey: s, "
        'Statement: {Effect: Allow, Action: "*", Resource: "*"}}]'
    )
    made = set_up_server("0.0.0.0", 0, str(tmp_path), None, str(access))
    made.listener.close()
    assert made.local_code


def test_a_host_that_was_given_by_name_may_be_called_by_it(tmp_path: Path) -> None:
    made = set_up_server("localhost", 0, str(tmp_path), None, allow_hosts=["A.test"], allow_origins=["http://a:80"])
    made.listener.close()
    assert (made.allowed_hosts, made.allowed_origins) == (("a.test", "localhost"), ("http://a",))


def test_options_that_say_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="--allow-origin"):
        set_up_server("127.0.0.1", 0, str(tmp_path), None, allow_origins=["*"])


def test_others_than_this_machine_reach_it_and_cannot_run_code(start: Start, tmp_path: Path) -> None:
    s3 = tmp_path / "buckets"
    s3.mkdir()
    emulator = start("--no-endpoint", "--s3", str(s3), "--host", "0.0.0.0", "--allow-host", "compose-name").wait_ready()
    eventually(lambda: "--local-code" in emulator.log)  # it comes by another pipe than what it is ready by
    assert emulator.log.count("--local-code") == 1
    marker, port = tmp_path / "ran", emulator.url.rpartition(":")[2]
    for address in own_addresses():
        emulator.url = f"http://{address}:{port}"
        client = emulator.client_of("sagemaker")
        assert client.list_models()["Models"] == []
        with pytest.raises(ClientError, match="AccessDenied.*--local-code"):
            client.create_model(**asked(f"command:touch {marker}"))
    assert not marker.exists()
