"""An endpoint: a name that takes invocations, and the production variant behind it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulator.artifacts.bucket import LocalBucket
from emulator.containers.base import Container, LogSink
from emulator.containers.contract import Answer, Invocation, StreamedAnswer
from emulator.containers.process import PACKAGE_ROOT, ProcessContainer
from emulator.errors import (
    Origin,
    SetupError,
    endpoint_not_in_service,
    inference_component_not_supported,
    target_container_not_supported,
    variant_not_found,
)
from emulator.events import EndpointStatus, Events
from emulator.hosting.container_log import ContainerLog
from emulator.hosting.history import History, ModelCounts
from emulator.hosting.instance import Caching, Instance, Resources
from emulator.limits import Limits

CONTAINER_NAME = "primary"  # what SageMaker calls the container of a model that has only one
VARIANT_NAME = "AllTraffic"  # what the SageMaker SDK calls the only variant


@dataclass(frozen=True)
class EndpointDefinition:
    """What an endpoint is made of: the parts of CreateModel and CreateEndpointConfig that matter here."""

    name: str
    models: Path  # the directory that stands for ModelDataUrl
    command: Sequence[str]  # what runs as the container
    resources: Resources
    working_directory: Path = PACKAGE_ROOT
    environment: Mapping[str, str] = field(default_factory=dict)
    caching: Caching = field(default_factory=Caching)
    region: str = "us-east-1"


class Endpoint:
    """One endpoint, from Creating to InService or Failed, and to Deleting."""

    def __init__(
        self, definition: EndpointDefinition, directory: Path, logs: Path, limits: Limits, events: Events
    ) -> None:
        """``directory`` holds the instance's disk, ``logs`` the files of the containers' output."""
        self.definition = definition
        self.status = "Creating"
        self.failure_reason = ""
        self.history = History()
        self._directory = directory
        self._bucket = LocalBucket(definition.models)
        self._limits = limits
        self._events = events
        self._in_flight = 0
        self._log = ContainerLog(logs / f"{definition.name}-{CONTAINER_NAME}.log", events)
        own_events = Events()
        own_events.subscribe(self.history)
        own_events.subscribe(events.publish)
        self._instance = Instance(
            self._new_container,
            self._bucket,
            self._directory,
            definition.resources,
            definition.caching,
            limits,
            own_events,
            Origin(CONTAINER_NAME, definition.name, definition.region),
            self._log,
        )

    async def start(self) -> None:
        """Bring the endpoint InService. Raises SetupError, with the reason, when it is Failed instead."""
        self._become("Creating")
        try:
            await self._instance.start()
        except SetupError as error:
            self._become("Failed", str(error))
            raise
        self._become("InService")

    async def stop(self) -> None:
        """Refuse new invocations, let those under way end (``Limits.drain_seconds``), stop the container."""
        self._become("Deleting")
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._limits.drain_seconds
        while self._in_flight and clock() < deadline:
            await asyncio.sleep(0.02)
        await self._instance.stop()
        self._log.close()

    async def invoke(self, invocation: Invocation) -> Answer:
        """InvokeEndpoint. Raises the AwsError that SageMaker would answer with."""
        self._check(invocation)
        self._in_flight += 1
        try:
            deadline = asyncio.get_running_loop().time() + self._limits.invocation_seconds
            return await self._instance.invoke(invocation, deadline)
        finally:
            self._in_flight -= 1

    async def invoke_stream(self, invocation: Invocation) -> StreamedAnswer:
        """InvokeEndpointWithResponseStream. The caller must close the answer."""
        self._check(invocation)
        with ExitStack() as under_way:
            self._in_flight += 1
            under_way.callback(self._has_ended)
            deadline = asyncio.get_running_loop().time() + self._limits.stream_invocation_seconds
            answer = await self._instance.invoke_stream(invocation, deadline)
            answer.closing.push(under_way.pop_all())
        return answer

    def _has_ended(self) -> None:
        self._in_flight -= 1

    async def state(self) -> dict[str, Any]:
        """What is where and how often it was used, as plain data."""
        instance = await self._instance.state()
        return {
            "endpoint_name": self.definition.name,
            "status": self.status,
            "failure_reason": self.failure_reason,
            "variant_name": VARIANT_NAME,
            "models": await self._models(instance),
            "instance": instance,
        }

    async def _models(self, instance: dict[str, Any]) -> list[dict[str, Any]]:
        in_s3 = dict(await asyncio.to_thread(list, self._bucket.archives()))
        on_disk = {model["target_model"]: model["size_bytes"] for model in instance["volume"]["models"]}
        in_memory = {model["target_model"] for model in instance["memory"]["models"]}
        counts = self.history.models
        return [
            {
                "target_model": name,
                "in_s3": name in in_s3,
                "on_disk": name in on_disk,
                "in_memory": name in in_memory,
                "size_bytes": in_s3.get(name, 0),
                "size_on_disk_bytes": on_disk.get(name, 0),
                **dataclasses.asdict(counts.get(name) or ModelCounts()),
            }
            for name in sorted({*in_s3, *on_disk, *in_memory, *counts})
        ]

    def _check(self, invocation: Invocation) -> None:
        if self.status != "InService":
            raise endpoint_not_in_service(self.definition.name, self.status)
        if invocation.target_variant and invocation.target_variant != VARIANT_NAME:
            raise variant_not_found(self.definition.name, invocation.target_variant)
        if invocation.target_container_hostname:
            raise target_container_not_supported(self.definition.name)
        if invocation.inference_component:
            raise inference_component_not_supported(self.definition.name)

    def _become(self, status: str, reason: str = "") -> None:
        self.status, self.failure_reason = status, reason
        self._events.publish(EndpointStatus(self.definition.name, status, reason))

    def _new_container(self, log: LogSink) -> Container:
        environment = {**self.definition.environment, "SAGEMAKER_MULTI_MODEL": "true"}
        return ProcessContainer(
            CONTAINER_NAME,
            self.definition.command,
            self.definition.working_directory,
            environment,
            self._directory,
            self._limits,
            log,
        )
