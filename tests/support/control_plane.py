"""For tests of the control plane: an emulator without endpoints, and bare HTTP to it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.emulator_in_process import InProcessEmulator
from tests.support.emulator_process import Emulator
from tests.support.files import archive
from tests.support.repository import REPOSITORY
from tests.support.waiting import eventually

ROLE = "arn:aws:iam::123456789012:role/service-role/hosting"
ARN = "arn:aws:sagemaker:us-east-1:123456789012"
AWSS_IMAGES = "*.dkr.ecr.*.amazonaws.com/sagemaker-*"  # a handler runs in their place
HANDLER = """
import pathlib

def model_fn(model_dir):
    return pathlib.Path(model_dir, "answer.txt").read_text()

def transform_fn(model, data, content_type, accept):
    return model, "text/plain"
"""


class ControlPlane:
    """An emulator with a bucket ``bucket``, in which ``models/a.tar.gz`` is, and ``handler.py`` where it runs."""

    def __init__(self, directory: Path, kind: type[InProcessEmulator] | type[Emulator] = InProcessEmulator) -> None:
        self.directory, self.kind = directory, kind
        self.s3 = directory / "s3"
        archive(self.s3 / "bucket" / "models" / "a.tar.gz", {"answer.txt": "I am a"})
        self.handler = directory / "handler.py"
        self.handler.write_text(HANDLER)
        self.start()

    def start(self) -> None:
        """With the same directories each time."""
        arguments = ("--no-endpoint", "--s3", str(self.s3), "--map-image", f"{AWSS_IMAGES}=handler:handler.py")
        path = {"PYTHONPATH": str(REPOSITORY)}
        state = self.directory / "state"
        self.emulator: InProcessEmulator | Emulator
        self.emulator = self.kind(*arguments, state=state, directory=self.directory, environment=path)
        try:
            self.emulator.wait_ready()
        except AssertionError:
            self.emulator.stop()
            raise
        self.sagemaker = self.emulator.client_of("sagemaker")

    def container(self, **members: Any) -> dict[str, Any]:
        """A ContainerDefinition that works, and then these."""
        container = {"Image": "handler:handler.py", "Mode": "MultiModel", "ModelDataUrl": "s3://bucket/models/"}
        return {**container, **members}

    def create_model(self, name: str, **container: Any) -> str:
        """Its ARN."""
        asked = {"ModelName": name, "ExecutionRoleArn": ROLE, "PrimaryContainer": self.container(**container)}
        return self.sagemaker.create_model(**asked)["ModelArn"]

    def create_config(self, name: str, model: str, **variant: Any) -> str:
        """Its ARN."""
        return self.sagemaker.create_endpoint_config(
            EndpointConfigName=name, ProductionVariants=[variant_of(model, **variant)]
        )["EndpointConfigArn"]

    def create_endpoint(self, name: str, **container: Any) -> str:
        """Its ARN, of an endpoint that is InService; its model and its configuration have its name as well."""
        self.create_model(name, **container)
        self.create_config(name, name)
        arn = self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)["EndpointArn"]
        self.wait_in_service(name)
        return arn

    def wait_in_service(self, name: str) -> dict[str, Any]:
        """What the endpoint is described as then."""

        def settled() -> Any:
            described = self.sagemaker.describe_endpoint(EndpointName=name)
            return described if described["EndpointStatus"] in ("InService", "Failed") else None

        described = eventually(settled, what=f"{name} is InService")
        assert described["EndpointStatus"] == "InService", described
        return described

    def delete_endpoint(self, name: str) -> None:
        """All three of that name."""
        self.sagemaker.delete_endpoint(EndpointName=name)
        self.sagemaker.delete_endpoint_config(EndpointConfigName=name)
        self.sagemaker.delete_model(ModelName=name)
        eventually(lambda: name not in [each["EndpointName"] for each in self.endpoints()], what=f"{name} is gone")

    def endpoints(self) -> list[dict[str, Any]]:
        return self.sagemaker.list_endpoints(MaxResults=100)["Endpoints"]

    def invoke(self, endpoint: str, target_model: str = "a.tar.gz", **asked: Any) -> str:
        asked = {"EndpointName": endpoint, "TargetModel": target_model, "Body": b"?", **asked}
        return self.emulator.client().invoke_endpoint(**asked)["Body"].read().decode()


def variant_of(model: str, **members: Any) -> dict[str, Any]:
    """A ProductionVariant that works, and then these."""
    variant = {"VariantName": "V", "ModelName": model, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    return {**variant, **members}


class RawClient:
    """Bare HTTP on one connection, for what boto3 would not send."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)

    def post(self, target: str | None, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers with names in lower case, and body of the answer."""
        headers = {"Content-Type": "application/x-amz-json-1.1"}
        if target is not None:
            headers["X-Amz-Target"] = target
        self._connection.request("POST", "/", body, headers)
        answer = self._connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def call(self, operation: str, asked: Any) -> tuple[int, Any]:
        """Status and JSON of the answer."""
        status, _, body = self.post(f"SageMaker.{operation}", json.dumps(asked).encode())
        return status, json.loads(body)

    def close(self) -> None:
        self._connection.close()


@contextmanager
def running_control_plane(directory: Path) -> Iterator[ControlPlane]:
    """One that is stopped at the end of the block; nothing in it may have failed inside the emulator."""
    control_plane = ControlPlane(directory)
    yield control_plane
    control_plane.emulator.stop()
    assert "inside the emulator" not in control_plane.emulator.log
