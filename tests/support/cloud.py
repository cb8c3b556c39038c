"""An emulator to which everything comes through the API: models, configurations and endpoints for tests, by boto3."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from tests.support.emulator_in_process import InProcessEmulator
from tests.support.emulator_process import Emulator
from tests.support.files import files_below
from tests.support.processes import wait_until_ended
from tests.support.scripted_models import SCRIPTED_CONTAINER
from tests.support.waiting import PATIENCE, eventually

ROLE = "arn:aws:iam::123456789012:role/tests"
ACCOUNT_ARN = "arn:aws:sagemaker:us-east-1:123456789012"


class Cloud:
    """One state directory and one S3 directory, and the emulator that runs on them now."""

    def __init__(
        self, directory: Path, *arguments: str, kind: type[InProcessEmulator] | type[Emulator] = InProcessEmulator
    ) -> None:
        """``kind`` of emulator: one in this process can only be stopped."""
        self.directory, self.state, self.s3 = directory, directory / "state", directory / "s3"
        (self.s3 / "bucket").mkdir(parents=True)
        self.arguments = ("--limit", "stop_seconds=1", *arguments)
        self.kind = kind
        self.emulator: InProcessEmulator | Emulator
        self._seen: list[psutil.Process] = []

    def launch(self) -> InProcessEmulator | Emulator:
        """Start an emulator, without waiting for it."""
        self.emulator = self.kind("--no-endpoint", "--s3", str(self.s3), *self.arguments, state=self.state)
        return self.emulator

    def start(self) -> Cloud:
        self.launch().wait_ready()
        self.connect()
        return self

    def connect(self) -> None:
        """Make the clients of the emulator that runs now."""
        self.api = self.emulator.client_of("sagemaker", read_timeout=60, max_pool_connections=50)
        self.runtime = self.emulator.client_of("sagemaker-runtime", read_timeout=60, max_pool_connections=50)

    def process(self) -> Emulator:
        """The emulator, of which the test does what can only be done to a process."""
        assert isinstance(self.emulator, Emulator)
        return self.emulator

    def end(self, number: int = signal.SIGTERM) -> None:
        """End the emulator by a signal; by SIGKILL, its worker as well. Nothing of it is left."""
        processes = self.emulator.processes()
        self._seen += processes
        if number == signal.SIGKILL:
            assert self.process()
            for process in processes[:2]:
                process.kill()
        elif isinstance(self.emulator, Emulator):
            self.emulator.signal(number)
        else:
            self.emulator.stop()
        self.emulator.wait()
        self.wait_until_gone()

    def wait_until_gone(self) -> None:
        """No process that was seen runs any more."""
        wait_until_ended(self._seen)

    def close(self) -> None:
        if self.emulator.runs():
            self.end()

    # What is there

    def containers(self) -> list[psutil.Process]:
        """The processes of the containers, their keepers included."""
        if isinstance(self.emulator, Emulator):
            found = self.emulator.worker().children(recursive=True)
        else:
            found = self.emulator.processes()
        self._seen += found
        return found

    def disks(self) -> list[Path]:
        """All directories of endpoints, and all files in them."""
        below = self._instances()
        return [*(below.iterdir() if below.exists() else ()), *files_below(below)]

    def instances_of(self, endpoint: str) -> list[str]:
        """The instances that have a disk."""
        below = self._instances() / endpoint
        return sorted(path.name for path in below.glob("*/i-*"))

    def _instances(self) -> Path:
        pid = self.emulator.worker().pid if isinstance(self.emulator, Emulator) else os.getpid()
        return self.state / "instances" / str(pid)

    # Making things

    def model(self, name: str, image: str = f"command:{SCRIPTED_CONTAINER}", data: str = "", **script: Any) -> str:
        """A model whose container, which hosts one model, keeps to that script."""
        container = {"Image": image, "Environment": {"SCRIPT": json.dumps(script)}}
        if data:
            container["ModelDataUrl"] = f"s3://bucket/{data}"
        self.api.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
        return name

    def config(self, name: str, *variants: tuple[str, str, float, int]) -> str:
        """A configuration of variants, each given by its name, its model, its weight and its number of instances."""
        self.api.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[
                {
                    "VariantName": variant,
                    "ModelName": model,
                    "InstanceType": "ml.m5.large",
                    "InitialVariantWeight": weight,
                    "InitialInstanceCount": count,
                }
                for variant, model, weight, count in variants
            ],
        )
        return name

    def simple(self, name: str, count: int = 1, **options: Any) -> str:
        """A model and a configuration with it as variant AllTraffic, both of that name."""
        return self.config(self.model(name, **options), ("AllTraffic", name, 1.0, count))

    def create(self, endpoint: str, config: str) -> str:
        self.api.create_endpoint(EndpointName=endpoint, EndpointConfigName=config)
        return endpoint

    def update(self, endpoint: str, config: str, **more: Any) -> None:
        self.api.update_endpoint(EndpointName=endpoint, EndpointConfigName=config, **more)

    def adjust(self, endpoint: str, *changes: dict[str, Any]) -> None:
        self.api.update_endpoint_weights_and_capacities(EndpointName=endpoint, DesiredWeightsAndCapacities=changes)

    def delete(self, endpoint: str) -> None:
        """Delete an endpoint, and wait until it is gone."""
        self.api.delete_endpoint(EndpointName=endpoint)
        self.api.get_waiter("endpoint_deleted").wait(EndpointName=endpoint, WaiterConfig={"Delay": 1})

    def describe(self, endpoint: str) -> dict[str, Any]:
        return self.api.describe_endpoint(EndpointName=endpoint)

    def status(self, endpoint: str) -> str:
        return self.describe(endpoint)["EndpointStatus"]

    def settled(self, endpoint: str, status: str = "InService", seconds: float = PATIENCE) -> dict[str, Any]:
        """What is described of an endpoint once nothing is being done to it."""

        def now() -> dict[str, Any] | None:
            described = self.describe(endpoint)
            return described if described["EndpointStatus"] in ("InService", "Failed") else None

        described = eventually(now, seconds, f"{endpoint} is {status}")
        assert described["EndpointStatus"] == status, described
        return described

    def invoke(self, endpoint: str, **more: Any) -> str:
        """The body of an answer."""
        answer = self.runtime.invoke_endpoint(EndpointName=endpoint, Body=b"{}", **more)
        return answer["Body"].read().decode()

    def in_flight(self, endpoint: str) -> int:
        """How many invocations are under way on an endpoint's instances."""
        with urllib.request.urlopen(self.emulator.url + "/_localmme/state") as answer:
            endpoints = {each["endpoint_name"]: each for each in json.load(answer)["endpoints"]}
        variants = endpoints[endpoint]["variants"]
        return sum(instance["in_flight"] for variant in variants for instance in variant["instances"])

    def arn(self, endpoint: str) -> str:
        return f"{ACCOUNT_ARN}:endpoint/{endpoint.lower()}"
