"""One emulated ML instance: a storage volume, its containers, and how an invocation passes through them."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import logging
import shutil
from typing import Any

from emulator.containers.aws_settings import AwsSettings
from emulator.containers.container import Container, ContainerSettings, LogSink
from emulator.containers.contract import Answer
from emulator.containers.gpu_usage import GpuUsage, gpu_usage
from emulator.containers.launch import Stub
from emulator.errors import EmulatorError
from emulator.events import ContainerUsage, InstanceLost, InstanceObserved, InstanceReplaced, MemoryExceeded, Warned
from emulator.hosting.container_supervisor import ContainerSupervisor
from emulator.hosting.definition import ContainerDefinition, VariantDefinition
from emulator.hosting.errors import NotPossible
from emulator.hosting.loaded_model import LoadedModel
from emulator.hosting.loaded_models import LoadedModels
from emulator.hosting.memory_use import MemoryBudget
from emulator.hosting.metrics_scraping import scrape
from emulator.hosting.multi_model_container import ModelLocation, MultiModelContainer
from emulator.hosting.pipeline import inference_execution
from emulator.hosting.single_model_container import SingleModelContainer
from emulator.hosting.storage_volume import StorageVolume
from emulator.hosting.stub_models import StubModels
from emulator.hosting.tasks import gather_or_cancel
from emulator.hosting.workspace import Workspace
from emulator.state import InstanceFigures, InstanceState, LoadedModelState

log = logging.getLogger("localmme")
ASKED_FOR = "asked for by an operator"


class Instance:
    """Callers speak to it through ``start``, ``execution``, ``state`` and ``stop``, and may look at
    ``healthy``, ``in_flight`` and ``location_of`` to choose one."""

    def __init__(self, definition: VariantDefinition, workspace: Workspace) -> None:
        """``workspace`` is the instance's own."""
        self.instance_id = workspace.events.origin.instance_id
        self.in_flight = 0
        self._exceeded = False  # its memory
        self._definition = definition
        self._workspace = workspace
        self._limits = workspace.limits
        if definition.startup_seconds is not None:
            self._limits = dataclasses.replace(workspace.limits, startup_seconds=definition.startup_seconds)
        self._watch: asyncio.Task[None] | None = None
        self._scraping: list[asyncio.Task[None]] = []
        self._aws_settings: list[AwsSettings] = []  # of its containers
        self._containers: list[ContainerSupervisor[Any]] = []
        for position, name in enumerate(definition.model.container_names()):
            self._containers.append(self._host(definition.model.containers[position], position, name))
        self.multi_model = next((c for c in self._containers if isinstance(c, MultiModelContainer)), None)
        self.execution = inference_execution(self._containers, definition.model.direct)

    async def start(self) -> None:
        """Start the containers and wait until all are healthy. Raises SetupError."""
        began = self._workspace.clock.elapsed()
        await gather_or_cancel(container.start() for container in self._containers)
        self._watch = asyncio.create_task(self._observe(began))
        if self._definition.detailed_observability:
            for container, definition in zip(self._containers, self._definition.model.containers, strict=True):
                if definition.metrics is not None:
                    events = self._workspace.events.within(container=container.name)
                    ask = functools.partial(container.get, accept="text/plain")
                    work = scrape(definition.metrics, ask, events)
                    self._scraping.append(asyncio.create_task(work))

    async def start_in_place_of(self, lost: Instance) -> None:
        """``start``, as the one that replaces another. Raises SetupError."""
        began = self._workspace.clock.elapsed()
        await self.start()
        took = self._workspace.clock.elapsed() - began
        self._workspace.events.publish(InstanceReplaced(lost.instance_id, took))

    async def stop(self) -> None:
        """Stop the containers and delete the instance's disk. May be called at any time."""
        if self._watch is not None:
            self._watch.cancel()
        for task in self._scraping:
            task.cancel()
        await asyncio.gather(*(container.stop() for container in self._containers))
        self._withdraw_credentials()
        await asyncio.to_thread(shutil.rmtree, self._workspace.directory, ignore_errors=True)

    async def lose(self, reason: str, replaced_by: str) -> None:
        """The instance is gone at once, as when its machine fails: nothing of it is stopped in order."""
        self._workspace.events.publish(InstanceLost(reason, replaced_by))
        await asyncio.gather(*(container.lose() for container in self._containers))
        await self.stop()

    # What an operator may ask for. Each raises NotPossible when it cannot be done.

    def unload_model(self, target_model: str) -> None:
        """See MultiModelContainer; so are the next two."""
        self._container_of_many().unload_model(target_model, ASKED_FOR)

    def delete_model(self, target_model: str) -> None:
        self._container_of_many().delete_model(target_model, ASKED_FOR)

    def reload_model(self, target_model: str) -> None:
        self._container_of_many().reload_model(target_model, ASKED_FOR)

    def restart_container(self, name: str) -> None:
        """Stop a container in order, and start it again; invocations under way fail."""
        self._container(name).restart(ASKED_FOR)

    def kill_container(self, name: str) -> None:
        """Kill a container as if it had crashed; it is replaced."""
        self._container(name).restart(f"it was killed: {ASKED_FOR}", 0)

    def _container_of_many(self) -> MultiModelContainer:
        if self.multi_model is None:
            raise NotPossible(f"{self.instance_id} has no multi-model container.")
        return self.multi_model

    def _container(self, name: str) -> ContainerSupervisor[Any]:
        for container in self._containers:
            if container.name == name:
                return container
        raise NotPossible(f"{self.instance_id} has no container {name}.")

    @property
    def container_names(self) -> list[str]:
        return [container.name for container in self._containers]

    @property
    def healthy(self) -> bool:
        """Whether an invocation would not have to wait for a container to be replaced."""
        return all(container.healthy for container in self._containers)

    @property
    def loaded_count(self) -> int:
        """How many models are in memory."""
        loaded = self.multi_model and self.multi_model.loaded
        return len(loaded.models) if loaded else 0

    def location_of(self, target_model: str) -> ModelLocation:
        """Where this instance has a model."""
        return self.multi_model.location_of(target_model) if self.multi_model else ModelLocation.NOWHERE

    async def get(self, path: str) -> Answer:
        """The first container's answer to a GET. Raises ContainerError."""
        return await self._containers[0].get(path, "application/json")

    async def memory_used(self) -> int:
        """Bytes of memory in use by all containers now: they share the instance's."""
        if len(self._containers) == 1:
            return await self._containers[0].memory_used()
        return sum(await asyncio.gather(*(container.memory_used() for container in self._containers)))

    def _storage_used(self) -> int:
        return sum(container.disk_used for container in self._containers)

    async def _observe(self, since: float) -> None:
        """Publish, every ``Limits.observe_seconds``, what the containers use."""
        used_before = [0.0] * len(self._containers)
        while True:
            try:
                used = [await container.cpu_seconds() for container in self._containers]
                memory = [await container.memory_used() for container in self._containers]
                gpus = await self._gpu_usage()
            except EmulatorError as error:  # the engine is gone; whoever invokes will hear of it
                log.debug("instance not observed: %s", error)
            else:
                now = self._workspace.clock.elapsed()
                # A container that was replaced begins at 0 again.
                spent = [
                    None if seconds is None else max(0.0, seconds - before)
                    for seconds, before in zip(used, used_before, strict=True)
                ]
                self._publish_if_exceeded(sum(memory))
                self._workspace.events.publish(self._observed(now - since, spent, memory, gpus))
                since, used_before = now, [seconds or 0.0 for seconds in used]
            await asyncio.sleep(self._limits.observe_seconds)

    async def _gpu_usage(self) -> GpuUsage | None:
        count = self._definition.resources.gpus
        return await asyncio.to_thread(gpu_usage, count) if count else None

    def _observed(
        self, seconds: float, spent: list[float | None], memory: list[int], gpus: GpuUsage | None
    ) -> InstanceObserved:
        """``spent`` and ``memory`` are the processor time and the bytes of each container."""
        resources = self._definition.resources
        percent = [100 * used / resources.memory_bytes for used in memory]
        known = [each for each in spent if each is not None]
        by_container = {}
        if len(self._containers) > 1:
            by_container = {
                container.name: ContainerUsage(*usage)
                for container, usage in zip(self._containers, zip(spent, percent, strict=True), strict=True)
            }
        return InstanceObserved(
            seconds=seconds,
            cpu_seconds=sum(known) if len(known) == len(spent) else None,
            memory_percent=sum(percent),
            disk_percent=100 * self._storage_used() / resources.storage_bytes,
            loaded_models=self.loaded_count if self.multi_model else None,
            in_flight=self.in_flight,
            containers=by_container,
            gpu_percent=gpus.processors if gpus else None,
            gpu_memory_percent=gpus.memory if gpus else None,
        )

    def _publish_if_exceeded(self, used: int) -> None:
        has = self._definition.resources.memory_bytes
        exceeded = used > has and len(self._containers) > 1
        if exceeded and not self._exceeded:
            self._workspace.events.publish(MemoryExceeded(used, has))
        self._exceeded = exceeded

    def figures(self, memory_used: int) -> InstanceFigures:
        """Its state without its models. ``memory_used`` is the result of the method, which takes a while."""
        resources, loaded = self._definition.resources, self.multi_model and self.multi_model.loaded
        return {
            "variant_name": self._definition.name,
            "instance_id": self.instance_id,
            "healthy": self.healthy,
            "in_flight": self.in_flight,
            "containers": [container.state() for container in self._containers],
            "memory": {
                "budget_bytes": int(resources.memory_bytes * self._memory_fraction()),
                "used_bytes": memory_used,
                "max_loaded_models": resources.max_loaded_models,
                "next_victim": loaded.next_victim() if loaded else "",
                "expected_load_bytes": loaded.expected_load_bytes(memory_used) if loaded else 0,
            },
            "volume": {
                "capacity_bytes": resources.storage_bytes,
                "used_bytes": self.multi_model.volume.used_bytes if self.multi_model else 0,
            },
        }

    async def state(self) -> InstanceState:
        """What is where."""
        figures = self.figures(await self.memory_used())
        loaded = self.multi_model and self.multi_model.loaded
        loading, unloading = loaded.in_transit() if loaded else ([], [])
        volume = self.multi_model.volume if self.multi_model else None
        return {
            "instance_id": figures["instance_id"],
            "healthy": figures["healthy"],
            "in_flight": figures["in_flight"],
            "containers": figures["containers"],
            "memory": {
                **figures["memory"],
                "models": [self._in_memory(loaded, model) for model in loaded.models] if loaded else [],
                "loading": loading,
                "unloading": unloading,
            },
            "volume": {
                **figures["volume"],
                "models": [
                    {"target_model": stored.target_model, "size_bytes": stored.size_bytes}
                    for stored in (volume.models if volume else ())
                ],
                "downloading": volume.downloading if volume else [],
            },
        }

    def _in_memory(self, loaded: LoadedModels, model: LoadedModel) -> LoadedModelState:
        clock = self._workspace.clock
        return {
            "target_model": model.target_model,
            "model_name": model.name,
            "in_flight": model.pins,
            "memory_bytes": loaded.footprint(model.target_model),
            "last_used": clock.now() - (clock.elapsed() - model.last_used),
        }

    def _memory_fraction(self) -> float:
        return self._workspace.surroundings.memory_fraction(self._workspace.events.origin.endpoint_name)

    # Making its containers

    def _host(
        self, definition: ContainerDefinition, position: int, name: str
    ) -> MultiModelContainer | SingleModelContainer:
        events = self._workspace.events.within(container=name)
        resources = self._definition.resources
        environment = dict(definition.environment)
        if definition.multi_model:
            environment["SAGEMAKER_MULTI_MODEL"] = "true"
        settings = ContainerSettings(
            name=name,
            environment=environment,
            multi_model=definition.multi_model,
            models=self._workspace.directory / name / ("models" if definition.multi_model else "model"),
            memory_bytes=resources.memory_bytes,
            vcpus=resources.vcpus,
            gpus=resources.gpus,
            position=position,
            shares_instance=len(self._definition.model.containers) > 1,
            scratch=self._workspace.directory,
            architecture=resources.architecture,
            aws=self._new_aws_settings(),
        )

        def launch(log: LogSink) -> Container:
            return self._workspace.new_container(definition.runs, settings, self._limits, log, warn)

        def warn(text: str) -> None:
            events.publish(Warned(text))

        is_stub = isinstance(definition.runs, Stub)
        if is_stub or not definition.multi_model:
            return (StubModels if is_stub else SingleModelContainer)(
                launch,
                definition.model_data,
                definition.compressed,
                settings.models,
                resources.storage_bytes,
                self._limits,
                events,
                self._workspace.clock,
            )
        assert definition.model_data is not None
        source = self._workspace.model_source(definition.model_data)
        files = self._workspace.model_files(settings.models, source, self._limits.archive_files)
        volume = StorageVolume(
            files,
            resources.storage_bytes,
            self._limits,
            events,
            self._workspace.clock,
            self._workspace.surroundings,
        )
        memory = MemoryBudget(
            resources.memory_bytes, self.memory_used, resources.max_loaded_models, self._memory_fraction
        )
        return MultiModelContainer(
            launch, volume, memory, resources, definition.caching, self._limits, events, self._workspace.clock
        )

    def _new_aws_settings(self) -> AwsSettings | None:
        roles = self._workspace.execution_roles
        if roles is None or self._definition.model.isolated:
            return None
        self._aws_settings.append(roles.aws_settings(self._definition.model.role_arn))
        return self._aws_settings[-1]

    def _withdraw_credentials(self) -> None:
        for settings in self._aws_settings:
            if self._workspace.execution_roles is not None:
                self._workspace.execution_roles.withdraw(settings)
