"""A container that hosts many models: each is loaded when it is invoked."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from contextlib import suppress

from emulator.archives.source import Version
from emulator.aws.errors import AwsError
from emulator.clock import Clock
from emulator.containers.container import Container, LogSink
from emulator.containers.contract import ContainerContract
from emulator.events import ArchiveChanged, Events
from emulator.hosting.container_supervisor import ContainerSupervisor
from emulator.hosting.definition import Caching, Resources
from emulator.hosting.errors import NotPossible, no_response
from emulator.hosting.loaded_model import LoadedModel
from emulator.hosting.loaded_models import LoadedModels
from emulator.hosting.memory_use import MemoryBudget
from emulator.hosting.storage_volume import StorageVolume
from emulator.hosting.tasks import cancel
from emulator.invocation import Invocation
from emulator.limits import Limits
from emulator.state import Place


class ModelLocation(enum.IntEnum):
    """Where an instance has a model; the more, the sooner it can be invoked."""

    NOWHERE = 0
    ON_DISK = 1
    IN_MEMORY = 2  # or on its way there


class MultiModelContainer(ContainerSupervisor[LoadedModel]):
    """Sends each invocation to its model, after loading the model if necessary."""

    def __init__(
        self,
        new_container: Callable[[LogSink], Container],
        volume: StorageVolume,
        memory: MemoryBudget,
        resources: Resources,
        caching: Caching,
        limits: Limits,
        events: Events,
        clock: Clock,
    ) -> None:
        super().__init__(new_container, limits, events, clock)
        self.volume = volume
        self.loaded: LoadedModels | None = None  # while it is healthy
        self._memory = memory
        self._resources = resources
        self._caching = caching
        self._watch: asyncio.Task[None] | None = None

    def location_of(self, target_model: str) -> ModelLocation:
        """Where a model is."""
        if self.loaded is not None and self.loaded.has(target_model):
            return ModelLocation.IN_MEMORY
        return ModelLocation.ON_DISK if self.volume.models.get(target_model) else ModelLocation.NOWHERE

    def moving(self) -> dict[str, Place]:
        """The models that are on their way, or in use by invocations, and which of it."""
        places: dict[str, Place] = {}
        if self.loaded is not None:
            loading, unloading = self.loaded.in_transit()
            places |= {model.target_model: "pinned" for model in self.loaded.models if model.pins}
            places |= dict.fromkeys(unloading, "unloading")
            places |= dict.fromkeys(loading, "loading")
        return places | dict.fromkeys(self.volume.downloading, "downloading")

    async def start(self) -> None:
        await self.volume.open()
        await super().start()
        self._watch = asyncio.create_task(self._watch_archives())

    async def stop(self, seconds: float | None = None) -> None:
        if self._watch is not None:
            await cancel([self._watch])
        await super().stop(seconds)
        await self.volume.close()

    @property
    def disk_used(self) -> int:
        return self.volume.used_bytes

    async def _check_health(self, contract: ContainerContract) -> None:
        await contract.ping()
        await contract.check_list()

    def _on_healthy(self, container: Container) -> None:
        self.loaded = LoadedModels(
            self._contract,
            container.deliver,
            self.volume,
            self._memory,
            self._limits,
            self._events,
            self._clock,
            cache=self._caching.enabled,
            load_slots=self._resources.vcpus,
            killed_for_memory=container.killed_for_memory,
        )

    def _on_unhealthy(self) -> None:
        if self.loaded is not None:
            self.loaded.close()
            self.loaded = None

    def _pin(self, invocation: Invocation) -> LoadedModel | None:
        assert self.loaded is not None
        if self._caching.reload:  # it may have changed
            return None
        model = self.loaded.models.pin(invocation.target_model)
        invocation.measurements.cache_hit = model is not None
        return model

    async def _prepare(self, invocation: Invocation, deadline: float) -> LoadedModel:
        target_model, loaded, measurements = invocation.target_model, self.loaded, invocation.measurements
        assert loaded is not None
        if self._caching.reload:
            if loaded.has(target_model) and not loaded.models.get(target_model):
                # It is on its way, perhaps as it was before the last change.
                with suppress(AwsError):
                    loaded.release(await loaded.use(target_model, deadline, measurements))
            began = self._clock.elapsed()
            await self._reload_if_changed(target_model)
            measurements.steps += (("wait", self.name, began, self._clock.elapsed()),)
            if self.loaded is not loaded:
                raise no_response(self._origin)
            measurements.cache_hit = loaded.models.get(target_model) is not None
        return await loaded.use(target_model, deadline, measurements)

    def _release(self, model: LoadedModel) -> None:
        model.memory.release(model)

    async def _has_lost(self, model: LoadedModel) -> bool:
        return await model.memory.has_lost(model)

    def _on_out_of_memory(self, model: LoadedModel) -> None:
        model.memory.begin_to_unload("container answered 507 to an invocation", model.target_model)

    # What an operator may ask for. Each raises NotPossible when it cannot be done now.

    def unload_model(self, target_model: str, reason: str) -> None:
        """Unload a model, as soon as it is idle. Its files stay."""
        if self.loaded is None or not self.loaded.unload(target_model, reason):
            raise NotPossible(f"{target_model} is not in memory.")

    def delete_model(self, target_model: str, reason: str) -> None:
        """Delete a model from the disk, and unload it before, as soon as it is idle: its next use downloads it anew."""
        stored = self.volume.models.get(target_model)
        if stored is None:
            raise NotPossible(f"{target_model} is not on the disk.")
        if self.loaded is None:
            self.volume.retire(stored, reason)
        elif not self.loaded.reload(stored, reason):
            raise NotPossible(f"{target_model} is being loaded.")

    def reload_model(self, target_model: str, reason: str) -> None:
        """Download a model's archive again and load it, at once; calls under way end with what they have."""
        loaded = self.loaded
        if loaded is None:
            raise NotPossible("The container is being replaced.")
        self.delete_model(target_model, reason)
        loaded.begin_to_load(target_model)

    # Archives that change

    async def _reload_if_changed(self, target_model: str) -> None:
        stored = self.volume.models.get(target_model)
        if stored is None or not await self.volume.changed([stored]):
            return
        if self.loaded is None or self.volume.models.get(target_model) is not stored:
            return  # the container has ended meanwhile, or another caller has found out
        if self.loaded.reload(stored, "its archive has changed"):
            self._events.publish(ArchiveChanged(target_model, reloaded=True))

    async def _watch_archives(self) -> None:
        """Warn, once, of each archive that is served in an older version than the one in S3."""
        warned: dict[str, Version] = {}
        while not self._caching.reload:
            await asyncio.sleep(self.volume.watch_seconds)
            for stored, version in await self.volume.changed(list(self.volume.models)):
                if warned.get(stored.target_model) != version:
                    warned[stored.target_model] = version
                    self._events.publish(ArchiveChanged(stored.target_model, reloaded=False))
