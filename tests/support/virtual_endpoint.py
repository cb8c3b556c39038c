"""A whole endpoint on an event loop at virtual time: its containers, what happens to it, and its entries."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from emulator.archives.source import ModelSource
from emulator.containers.container import Container, ContainerSettings, LogSink
from emulator.containers.launch import Command, Program
from emulator.events import Event, Events, Origin
from emulator.hosting.definition import (
    ContainerDefinition,
    EndpointDefinition,
    ModelDefinition,
    Resources,
    VariantDefinition,
)
from emulator.hosting.endpoint import Endpoint
from emulator.hosting.model_files import ModelFiles
from emulator.hosting.workspace import Workspace
from emulator.invocation import Invocation
from emulator.limits import Limits
from emulator.observers.recent_entries import RecentEntries
from tests.support.virtual_containers import MODEL_BYTES, VirtualContainer, VirtualContract, VirtualFiles, VirtualSource
from tests.support.virtual_time import VirtualTimeLoop

RUNS = Command(("true",), Path())
LIMITS = Limits(memory_watermark=1.0)
MANY = ContainerDefinition(RUNS, Path("archives"))


def resources(models_in_memory: int = 3, models_on_disk: int = 6) -> Resources:
    """Of an instance that has room for that many of the models of virtual containers."""
    return Resources(models_in_memory * MODEL_BYTES, models_on_disk * MODEL_BYTES, vcpus=2)


class VirtualEndpoint:
    """One endpoint. Its containers are ``contract``'s, which is called for each run of one."""

    def __init__(
        self,
        directory: Path,
        *variants: VariantDefinition,
        limits: Limits = LIMITS,
        contract: Callable[[], VirtualContract] = VirtualContract,
        files: Callable[[], VirtualFiles] = VirtualFiles,
        seed: int = 1,
    ) -> None:
        self.loop = VirtualTimeLoop()
        self.happened: list[tuple[float, Origin, Event]] = []
        self.containers: dict[str, list[VirtualContainer]] = {}  # the runs of each, by INSTANCE/CONTAINER
        self.cannot_start: Exception | None = None
        self._contract = contract
        self.clock = self.loop.clock()
        self.events = events = Events()
        self.entries = RecentEntries(self.clock)
        self.entries.listen_to(events)
        events.subscribe(lambda event, origin: self.happened.append((self.loop.time(), origin, event)))
        self._workspace = Workspace(
            directory,
            self._new_container,
            limits,
            events,
            self.clock,
            random.Random(seed),
            lambda _: cast(ModelSource, VirtualSource()),
            lambda *_: cast(ModelFiles, files()),
        ).endpoint("e", "us-east-1")
        model = ModelDefinition([MANY])
        self._definition = EndpointDefinition("e", list(variants) or [VariantDefinition(model, resources(), name="A")])

    def _new_container(self, _: Program, settings: ContainerSettings, __: Limits, ___: LogSink, ____: Any) -> Container:
        if self.cannot_start is not None:
            raise self.cannot_start
        container = VirtualContainer(self._contract())
        self.containers.setdefault(f"{settings.scratch.name}/{settings.name}", []).append(container)
        return container

    def live(self, story: Callable[[], Awaitable[Any]]) -> Any:
        """Start it, let the story happen, and stop it; what the story returns."""

        async def life() -> Any:
            self.endpoint = Endpoint(self._definition, self._workspace)
            await self.endpoint.start()
            result = await story()
            await self.endpoint.stop()
            return result

        return self.loop.run(life())

    async def invoke(self, target_model: str, **fields: Any) -> Invocation:
        """A call, once it has been answered. Raises AwsError."""
        call = Invocation("e", b"", self.clock.elapsed(), target_model=target_model, **fields)
        await self.endpoint.variant_for(call).invoke(call)
        return call

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for _, _, event in self.happened if isinstance(event, kind)]

    @property
    def texts(self) -> list[str]:
        """The sentences of what happened."""
        return [entry["text"] for entry in self.entries.since(0) if entry["type"] == "event"]
