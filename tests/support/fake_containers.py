"""Endpoints and the control plane in the test's own process, on containers that are no processes."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from emulator.clock import Clock
from emulator.containers import launch
from emulator.containers.container import Container
from emulator.containers.docker.engine import Engine
from emulator.containers.process.environment import InheritedEnvironment
from emulator.events import Events
from emulator.hosting.endpoints import Endpoints
from emulator.hosting.workspace import Workspace
from emulator.limits import Limits
from emulator.services.sagemaker import TARGET_PREFIX
from emulator.services.sagemaker.app import SageMakerApp
from emulator.services.sagemaker.control_plane import ControlPlane
from emulator.services.sagemaker.model_data_location import locator
from emulator.services.sagemaker.registry import Registry
from tests.support.asgi_client import call_service

HEALTHY = b'HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{"models": []}'

Life = Callable[[int], Awaitable[None]]  # of the run with that number, from 0: it dies when this returns


async def for_ever(_: int) -> None:
    await asyncio.Event().wait()


class FakeContainers:
    """Containers that answer 200 to everything, and live as long as ``life`` says."""

    def __init__(self) -> None:
        self.life: Life = for_ever
        self.running = 0
        self.failing: list[str] = []  # what the next call of that name raises an error for
        self.port = 0
        self._numbers = itertools.count()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(_answer, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()

    def new(self, *_: Any, **__: Any) -> FakeContainer:
        return FakeContainer(self, next(self._numbers))


class FakeContainer(Container):
    host = "127.0.0.1"

    def __init__(self, all_of_them: FakeContainers, number: int) -> None:
        self._all, self._number, self.port = all_of_them, number, all_of_them.port
        self._living: asyncio.Future[None] | None = None

    def _fail(self, call: str) -> None:
        if call in self._all.failing:
            self._all.failing.remove(call)
            raise OSError(f"{call} failed")

    async def start(self) -> None:
        self._fail("start")
        self._all.running += 1
        self._living = asyncio.ensure_future(self._all.life(self._number))

    async def wait(self) -> str:
        assert self._living is not None
        await asyncio.wait([self._living])
        return "ended with exit code 1"

    async def stop(self, seconds: float | None = None) -> None:
        await asyncio.sleep(0)
        if self._living is not None:
            self._living.cancel()
            self._living = None
            self._all.running -= 1
        self._fail("stop")

    async def memory_used(self) -> int:
        return 0

    async def cpu_seconds(self) -> float | None:
        return None

    async def deliver(self, model_directory: Path) -> str:
        return str(model_directory)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, OSError):
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(HEALTHY)
    writer.close()


@pytest.fixture
def containers(monkeypatch: pytest.MonkeyPatch) -> FakeContainers:
    """What every process container of an instance is, in this test."""
    containers = FakeContainers()
    monkeypatch.setattr(launch, "ProcessContainer", containers.new)
    return containers


def workspace(directory: Path, **limits: float) -> Workspace:
    events = Events()
    return Workspace(
        directory / "disks",
        functools.partial(
            launch.new_container, engine=Engine(directory / "state", events), inherited=InheritedEnvironment({})
        ),
        Limits(**limits),  # type: ignore[arg-type]
        events,
        Clock(),
    )


class DirectControlPlane:
    """The control plane over a directory, called as the ASGI application that it is."""

    def __init__(self, directory: Path, region: str = "us-east-1", has_s3: bool = True, **limits: float) -> None:
        self.directory = directory
        (directory / "s3" / "bucket").mkdir(parents=True, exist_ok=True)
        self.registry = Registry.open(directory / "registry.db")
        place = workspace(directory, **limits)
        self.events = place.events
        self.endpoints = Endpoints(place)
        locate = locator(directory / "s3")
        s3_root = directory / "s3" if has_s3 else None
        self.control_plane = ControlPlane(
            self.registry, self.endpoints, region, directory, locate, 1000, s3_root=s3_root
        )
        self.application = SageMakerApp(self.control_plane)

    async def call(self, operation: str, **asked: Any) -> tuple[int, dict[str, Any]]:
        """The status of the answer, and what it says."""
        headers = {"x-amz-target": f"{TARGET_PREFIX}{operation}"}
        response = await call_service(self.application, "sagemaker", "POST", "/", headers, json.dumps(asked).encode())
        return response.status, response.json()

    async def status(self, endpoint: str) -> str:
        """As DescribeEndpoint tells it; what is wrong, if it refuses."""
        _, told = await self.call("DescribeEndpoint", EndpointName=endpoint)
        return told.get("EndpointStatus") or told["message"]

    async def configure(self, name: str) -> None:
        """A model and an endpoint configuration of that name."""
        container = {"Image": "command:true", "Mode": "MultiModel", "ModelDataUrl": "s3://bucket/"}
        role = "arn:aws:iam::123456789012:role/tests"
        answers = [
            await self.call("CreateModel", ModelName=name, ExecutionRoleArn=role, PrimaryContainer=container),
            await self.call(
                "CreateEndpointConfig",
                EndpointConfigName=name,
                ProductionVariants=[
                    {"VariantName": "A", "ModelName": name, "InstanceType": "ml.t2.medium", "InitialInstanceCount": 1}
                ],
            ),
        ]
        assert [status for status, _ in answers] == [200, 200], answers

    async def close(self) -> None:
        await self.application.stop()
        await self.endpoints.stop()
        self.registry.close()
