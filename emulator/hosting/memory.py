"""The models in a container's memory: loaded once however many ask, least recently used out first."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from emulator.containers.contract import ContainerContract
from emulator.errors import (
    AwsError,
    ContainerError,
    ContainerTimeout,
    Origin,
    ServiceUnavailable,
    VolumeFull,
    container_failed,
    container_too_slow,
    model_not_ready,
    no_room_on_volume,
)
from emulator.events import Events, LoadFailed, ModelLoaded, ModelUnloaded
from emulator.hosting.residents import Resident, Residents
from emulator.hosting.volume import StorageVolume, StoredModel, model_name
from emulator.limits import Limits


@dataclass(frozen=True)
class MemoryBudget:
    """How much a container may take, and how its use is told."""

    budget_bytes: int
    used: Callable[[], Awaitable[int]]  # bytes in use now
    max_models: int | None = None  # more than that many are never loaded, whatever the memory


@dataclass(eq=False, kw_only=True)
class LoadedModel(Resident):
    """A model in memory. It is pinned while an invocation uses it, and keeps its files on disk pinned."""

    name: str
    stored: StoredModel
    # Set when the model has to leave as soon as it is idle; done when it is.
    leaving: asyncio.Future[None] | None = None


@dataclass(eq=False)
class Arrival:
    """A model on its way into memory, and how many callers wait for it."""

    waiting: int = 0
    task: asyncio.Task[LoadedModel] = field(init=False)


class LoadedModels:
    """The memory of one running container; it ends with that container.

    Loading goes on for ``Limits.load_seconds`` whether or not a caller still waits, and unloading is
    waited for before the same model is loaded again. A model that failed to load is tried afresh at
    its next use.
    """

    def __init__(
        self,
        contract: ContainerContract,
        model_url: Callable[[Path], str],
        volume: StorageVolume,
        memory: MemoryBudget,
        limits: Limits,
        events: Events,
        origin: Origin,
        *,
        cache: bool = True,
        load_slots: int = 1,
    ) -> None:
        """``cache=False`` is ModelCacheSetting Disabled: a model leaves memory and disk after its
        invocation, and at most ``load_slots`` models load at once."""
        self.models: Residents[LoadedModel] = Residents()
        self._contract = contract
        self._model_url = model_url
        self._volume = volume
        self._memory = memory
        self._limits = limits
        self._events = events
        self._origin = origin
        self._cache = cache
        self._load_slots = None if cache else asyncio.Semaphore(load_slots)
        self._arrivals: dict[str, Arrival] = {}
        self._departures: dict[str, asyncio.Task[None]] = {}
        self._room = asyncio.Lock()  # one load at a time decides what has to leave for it
        self._freed = asyncio.Event()  # set when something became idle or left, for who waits for room
        self._loading = 0  # loads for which room has been made
        self._reserved = 0  # bytes that they are expected to take
        self._moves = 0  # counts every load and unload, to tell whether a measurement was disturbed
        self._footprints: dict[str, int] = {}  # bytes of memory a model took when it was measured
        self._base_bytes = 0  # in use when no model was loaded

    async def use(self, target_model: str, deadline: float) -> LoadedModel:
        """The model, loaded and pinned; give it back with ``release``.

        ``deadline`` is on the event loop's clock. Raises ModelNotReadyException when it passes while
        the model is still on its way, and what the load raised when it failed.
        """
        model = self.models.pin(target_model)
        if model is not None:
            return model
        arrival = self._arrivals.get(target_model)
        if arrival is None:
            arrival = self._arrivals[target_model] = Arrival()
            arrival.task = asyncio.create_task(self._bring_in(target_model, arrival))
            arrival.task.add_done_callback(_look_at)
        arrival.waiting += 1
        try:
            await asyncio.wait([arrival.task], timeout=max(0.0, deadline - asyncio.get_running_loop().time()))
        except asyncio.CancelledError:
            if arrival.task.done() and not _look_at(arrival.task):
                self.release(arrival.task.result())
            arrival.waiting -= 1
            raise
        if not arrival.task.done():
            arrival.waiting -= 1
            raise model_not_ready(target_model)
        if arrival.task.cancelled():
            raise container_failed(self._origin, 0, "The container has ended.")
        return arrival.task.result()

    def release(self, model: LoadedModel) -> None:
        """Give back what ``use`` returned."""
        self.models.unpin(model)
        if not model.pins:
            self._became_idle(model)

    def lost(self, model: LoadedModel) -> None:
        """The container no longer knows this model: load it again at its next use."""
        if self.models.get(model.target_model) is model:
            self.models.remove(model)
            self._volume.models.unpin(model.stored)
            self._freed.set()

    def renew(self, target_model: str, reason: str) -> None:
        """Unload a model as soon as it is idle and delete its files; its next use fetches the archive anew."""
        model = self.models.get(target_model)
        if model is not None:
            self._retire(model, reason, delete=True)

    async def unload_least_recently_used(self, reason: str) -> bool:
        """Unload the idle model that was used longest ago; False if there is none."""
        model = self.models.pop_idle()
        if model is None:
            return False
        await asyncio.wait([self._depart(model, reason, delete=False)])
        return True

    def close(self) -> None:
        """The container has ended: nothing is loaded any more, and who waits for a load gets an error."""
        for arrival in self._arrivals.values():
            arrival.task.cancel()
        self._arrivals = {}
        for departure in self._departures.values():
            departure.cancel()
        self._departures = {}
        for model in self.models.clear():
            self._volume.models.unpin(model.stored)

    def in_transit(self) -> tuple[list[str], list[str]]:
        """The target models that are being loaded, and those that are being unloaded."""
        return list(self._arrivals), list(self._departures)

    # In

    async def _bring_in(self, target_model: str, arrival: Arrival) -> LoadedModel:
        deadline = asyncio.get_running_loop().time() + self._limits.load_seconds
        try:
            departure = self._departures.get(target_model)
            if departure is not None:
                await asyncio.wait([departure])
            async with self._load_slots or contextlib.nullcontext():
                stored = await self._fetch(target_model)
                try:
                    model = await self._load(stored, deadline)
                except BaseException:
                    self._volume.models.unpin(stored)
                    raise
            model.pins = arrival.waiting
            self.models.add(model)
        except AwsError as error:
            self._events.publish(LoadFailed(target_model, error.message))
            raise
        finally:
            self._arrivals.pop(target_model, None)
        if not model.pins:
            self._became_idle(model)
        return model

    async def _fetch(self, target_model: str) -> StoredModel:
        while True:
            try:
                return await self._volume.fetch(target_model)
            except VolumeFull as error:
                # What is idle in memory may leave the disk as well, once it is unloaded.
                if not await self.unload_least_recently_used("storage volume full"):
                    raise no_room_on_volume(target_model, str(error)) from None

    async def _load(self, stored: StoredModel, deadline: float) -> LoadedModel:
        target_model, name = stored.target_model, model_name(stored.target_model)
        before, expected = await self._make_room(stored, deadline)
        moves, started = self._moves, time.perf_counter()
        try:
            await self._load_into_container(name, stored, deadline)
            if self._loading == 1 and self._moves == moves and target_model not in self._footprints:
                after = await self._memory.used()
                if self._moves == moves:
                    self._footprints[target_model] = max(after - before, 0)
        finally:
            self._moves += 1
            self._loading -= 1
            self._reserved -= expected
            self._freed.set()
        self._events.publish(ModelLoaded(target_model, time.perf_counter() - started))
        return LoadedModel(target_model, stored.size_bytes, name=name, stored=stored)

    async def _load_into_container(self, name: str, stored: StoredModel, deadline: float) -> None:
        clock = asyncio.get_running_loop().time
        try:
            while True:
                url = self._model_url(stored.directory)
                answer = await self._contract.load(name, url, max(0.0, deadline - clock()))
                if 200 <= answer.status < 300 or answer.status == 409:  # 409: it is loaded already
                    return
                # A model that was refused may stay registered, as in Multi Model Server: forget it.
                await self._forget(name)
                if answer.status != 507 or not await self.unload_least_recently_used("container answered 507"):
                    raise container_failed(self._origin, answer.status, answer.body.decode("utf-8", "replace"))
        except ContainerTimeout:
            asyncio.create_task(self._forget(name))  # should the load ever end, it must not stay
            raise container_too_slow(self._origin) from None
        except ContainerError as error:
            raise container_failed(self._origin, 0, str(error)) from None

    async def _make_room(self, stored: StoredModel, deadline: float) -> tuple[int, int]:
        """Unload idle models until this one fits; wait while all are busy.

        Returns the bytes in use then, and those that are now reserved for the model. A model that is
        alone is always let in: whether it fits is then for the container to say.
        """
        async with self._room:
            while True:
                used = await self._memory.used()
                expected = self._expected_bytes(stored, used)
                obstacle = self._obstacle(used + expected)
                if obstacle is None:
                    self._loading += 1
                    self._reserved += expected
                    self._moves += 1
                    return used, expected
                if not await self.unload_least_recently_used(obstacle):
                    await self._wait_until_freed(stored.target_model, deadline)

    def _obstacle(self, wanted: int) -> str | None:
        """What is in the way of a memory use of ``wanted`` bytes by one model more; None if nothing is."""
        others = len(self.models) + self._loading + len(self._departures)
        if not others:
            return None
        if self._memory.max_models is not None and others >= self._memory.max_models:
            return f"{self._memory.max_models} models are the most that may be loaded"
        if wanted + self._reserved > self._memory.budget_bytes * self._limits.memory_watermark:
            return "memory pressure"
        return None

    def _expected_bytes(self, stored: StoredModel, used: int) -> int:
        """What a model took last time. The first time: what the others took on average, its size on disk at least."""
        footprint = self._footprints.get(stored.target_model)
        if footprint is not None:
            return footprint
        if self.models:
            guess = (used - self._base_bytes) // len(self.models)
        else:
            guess = int(self._memory.budget_bytes * self._limits.memory_guess)
            if not self._loading and not self._departures:
                self._base_bytes = used
        return max(stored.size_bytes, guess)

    async def _wait_until_freed(self, target_model: str, deadline: float) -> None:
        self._freed.clear()
        pause = deadline - asyncio.get_running_loop().time()
        try:
            await asyncio.wait_for(self._freed.wait(), max(pause, 0.0))
        except asyncio.TimeoutError:
            raise ServiceUnavailable(
                f"Model {target_model} was not loaded: all models in memory were busy for "
                f"{self._limits.load_seconds:.3g} s."
            ) from None

    # Out

    def _became_idle(self, model: LoadedModel) -> None:
        if model.leaving is not None:
            if not model.leaving.done():
                model.leaving.set_result(None)
        elif not self._cache and self.models.get(model.target_model) is model:
            self._retire(model, "model cache is disabled", delete=True)
        else:
            self._freed.set()

    def _retire(self, model: LoadedModel, reason: str, delete: bool) -> None:
        self.models.remove(model)
        if model.pins:
            model.leaving = asyncio.get_running_loop().create_future()
        self._depart(model, reason, delete)

    def _depart(self, model: LoadedModel, reason: str, delete: bool) -> asyncio.Task[None]:
        # Registered at once, so that a new caller of this model waits for it to be gone.
        task = self._departures[model.target_model] = asyncio.create_task(self._unload(model, reason, delete))
        return task

    async def _unload(self, model: LoadedModel, reason: str, delete: bool) -> None:
        try:
            if model.leaving is not None:
                await model.leaving
            self._moves += 1
            started = time.perf_counter()
            if not await self._forget(model.name):
                reason += "; the container did not confirm it"
            self._moves += 1
            self._events.publish(ModelUnloaded(model.target_model, reason, time.perf_counter() - started))
        finally:
            self._departures.pop(model.target_model, None)
            self._volume.models.unpin(model.stored)
            self._freed.set()
            if delete and not model.stored.pins:
                await self._volume.delete(model.stored, reason)

    async def _forget(self, name: str) -> bool:
        """Tell the container to unload a model; whether it is gone as far as the container says."""
        try:
            answer = await self._contract.unload(name)
        except ContainerError:
            return False
        return 200 <= answer.status < 300 or answer.status == 404


def _look_at(task: asyncio.Task[LoadedModel]) -> BaseException | None:
    """What a finished load raised. Looking also tells asyncio that it was noticed, if every caller has left."""
    return asyncio.CancelledError() if task.cancelled() else task.exception()
