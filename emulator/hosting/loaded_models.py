"""The models in a container's memory: loaded once however many invocations wait, least recently used out first."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from emulator.aws.errors import too_many_open_files
from emulator.clock import Clock
from emulator.containers.contract import ContainerContract, invocation_path
from emulator.containers.errors import refusal_explained
from emulator.errors import ContainerError, ContainerTimeout, ContainerUnreachable, TooManyOpenFiles
from emulator.events import Events, LoadFailed, LoadStarted, ModelLoaded, ModelUnloaded, Warned
from emulator.hosting.errors import (
    VolumeFull,
    container_failed,
    container_too_slow,
    model_not_ready,
    no_response,
    no_room_in_memory,
    no_room_on_volume,
)
from emulator.hosting.pinned_lru import PinnedEntry, PinnedLru, SingleFlight
from emulator.hosting.storage_volume import StorageVolume, StoredModel
from emulator.limits import Limits
from emulator.timeouts import in_time

# [ours] In which a container notices that a process of it was killed; how often it is asked.
LOST_SECONDS, LOOK_SECONDS = 5.0, 0.02
OTHER_LOST_SECONDS = 0.5  # [ours] what is left of it when it has noticed the end of another model


@dataclass(frozen=True)
class MemoryBudget:
    """How much memory a container may take, and how its use is read."""

    budget_bytes: int
    used: Callable[[], Awaitable[int]]  # bytes in use now
    max_models: int | None = None  # more than that many are never loaded, whatever the memory


@dataclass(eq=False, kw_only=True)
class LoadedModel(PinnedEntry):
    """A model in memory. It is pinned while an invocation uses it, and keeps its files on disk pinned."""

    name: str
    path: str  # where it is invoked
    stored: StoredModel
    memory: LoadedModels  # where it is
    # By the clock's ``elapsed``: when the last of its invocations that have ended did; before that, when it was loaded.
    last_used: float = 0.0
    # Set when the model is to be unloaded as soon as it is idle; done when it is.
    idle: asyncio.Future[None] | None = None


@dataclass(eq=False)
class Unload:
    """A model that is being unloaded, or is as soon as it is idle."""

    model: LoadedModel
    task: asyncio.Task[None]


async def _none(look: bool) -> int:
    return 0


class LoadedModels:
    """The memory of one running container; it ends with that container.

    Loading goes on for ``Limits.load_seconds`` whether or not a caller still waits, and unloading is
    waited for before the same model is loaded again. A model that failed to load is tried afresh at
    its next use.
    """

    def __init__(
        self,
        contract: ContainerContract,
        deliver: Callable[[Path], Awaitable[str]],
        volume: StorageVolume,
        memory: MemoryBudget,
        limits: Limits,
        events: Events,
        clock: Clock,
        *,
        cache: bool = True,
        load_slots: int = 1,
        killed_for_memory: Callable[[bool], Awaitable[int]] = _none,
    ) -> None:
        """``cache=False`` is ModelCacheSetting Disabled: a model leaves memory and disk after its
        invocation, and at most ``load_slots`` models load at once. See ``Container.killed_for_memory``."""
        self.models: PinnedLru[LoadedModel] = PinnedLru()
        self._contract = contract
        self._deliver = deliver
        self._volume = volume
        self._memory = memory
        self._limits = limits
        self._events = events
        self._clock = clock
        self._origin = events.origin
        self._cache = cache
        self._killed_for_memory = killed_for_memory
        self._load_slots = None if cache else asyncio.Semaphore(load_slots)
        self._loads: SingleFlight[LoadedModel] = SingleFlight(self.models, self._fetch_and_load, self.release)
        self._unloads: dict[str, Unload] = {}  # by the container's name of the model
        self._making_room = asyncio.Lock()  # one load at a time decides what has to leave for it
        self._freed = asyncio.Event()  # set when something became idle or left, for who waits for room
        self._loading = 0  # loads for which room has been made
        self._reserved = 0  # bytes that they are expected to take
        self._changes = 0  # counts every load and unload, to tell whether a measurement was disturbed
        self._footprints: dict[str, int] = {}  # bytes of memory a model took when it was measured
        self._base_bytes = 0  # in use when no model was loaded
        self._warned_of_unload = False

    async def use(self, target_model: str, deadline: float) -> LoadedModel:
        """The model, loaded and pinned; give it back with ``release``.

        ``deadline`` is on the event loop's clock. Raises ModelNotReadyException when it passes while
        the model is still on its way, and what the load raised when it failed.
        """
        model = self.models.pin(target_model)
        if model is not None:
            return model
        pause = max(0.0, deadline - asyncio.get_running_loop().time())
        model = await self._loads.join(target_model, pause)
        if model is None:
            raise model_not_ready(target_model)
        return model

    def release(self, model: LoadedModel) -> None:
        """Give back what ``use`` returned."""
        self.models.unpin(model)
        if model.pins:
            return
        if model.idle is not None:
            if not model.idle.done():
                model.idle.set_result(None)
        elif not self._cache and self.models.get(model.target_model) is model:
            self._unload_when_idle(model, "model cache is disabled")
        self._freed.set()

    async def has_lost(self, model: LoadedModel) -> bool:
        """Whether the container, which answered 404, no longer knows this model: it is loaded again at its next use.

        If it does, the 404 is the handler's own answer.
        """
        if self.models.get(model.target_model) is not model:
            return True  # another caller has found out already
        try:
            if await self._contract.is_loaded(model.name, model.target_model):
                return False
        except ContainerError:
            return False
        if self.models.get(model.target_model) is model:
            self.models.remove(model)
            self._volume.release(model.stored)
            self._freed.set()
        return True

    def begin_to_load(self, target_model: str) -> None:
        """Load a model without a call that wants it."""
        if self.models.get(target_model) is None:
            self._loads.begin(target_model)

    def unload(self, target_model: str, reason: str) -> bool:
        """Unload a model as soon as it is idle; False if it is not in memory."""
        model = self.models.get(target_model)
        if model is not None:
            self._unload_when_idle(model, reason)
        return model is not None

    def reload(self, stored: StoredModel, reason: str) -> bool:
        """Fetch the archive of a model anew at its next use, and let what is in use now come to its end.

        False while it is on its way into memory.
        """
        model = self.models.get(stored.target_model)
        if model is None and stored.target_model in self._loads:
            return False
        self._volume.retire(stored, reason)
        if model is not None:
            self._unload_when_idle(model, reason)
        return True

    def begin_to_unload(self, reason: str) -> list[asyncio.Task[None]]:
        """Unload the idle model that was used longest ago; the tasks that unload what was not in use by now."""
        model = self.models.pop_idle()
        if model is not None:
            return [self._start_unload(model, reason)]
        return [unload.task for unload in self._unloads.values() if not unload.model.pins]

    async def unload_one(self, reason: str) -> bool:
        """Wait until one more model that is not in use has been unloaded; False if there is none."""
        tasks = self.begin_to_unload(reason)
        if tasks:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return bool(tasks)

    def close(self) -> None:
        """The container has ended: nothing is loaded any more, and who waits for a load gets an error.

        What is being unloaded ends by itself, when its call to the container fails.
        """
        for target_model in self._loads:
            self._events.publish(LoadFailed(target_model, "its container ended"))
        self._loads.abandon(no_response(self._origin))
        for model in self.models.clear():
            self._volume.release(model.stored)

    def has(self, target_model: str) -> bool:
        """Whether a model is in memory or on its way there."""
        return self.models.get(target_model) is not None or target_model in self._loads

    def in_transit(self) -> tuple[list[str], list[str]]:
        """The target models that are being loaded, and those that are being unloaded."""
        return list(self._loads), [unload.model.target_model for unload in self._unloads.values()]

    def footprint(self, target_model: str) -> int | None:
        """Bytes of memory that a model took when it was loaded alone; None = it was not measured."""
        return self._footprints.get(target_model)

    def next_victim(self) -> str:
        """The target model that leaves first when a load needs room: the least recently used idle one; "" = none."""
        model = self.models.next_idle()
        return model.target_model if model is not None else ""

    def expected_load_bytes(self, used: int) -> int:
        """What a model that was not measured before is expected to take, with ``used`` bytes of memory in use."""
        if self.models:
            return max(0, used - self._base_bytes) // len(self.models)
        return int(self._memory.budget_bytes * self._limits.memory_guess)

    # In

    async def _fetch_and_load(self, target_model: str) -> LoadedModel:
        deadline = asyncio.get_running_loop().time() + self._limits.load_seconds

        async def unpin_one(reason: str) -> bool:
            # What is idle in memory may leave the disk as well, once it is unloaded.
            if await self.unload_one(reason):
                return True
            return self._models_present() > 0 and await self._wait_until_freed(deadline)

        self._events.publish(LoadStarted(target_model))
        try:
            # One whose archive has changed is another model by now, and need not be waited for.
            await self._wait_for_unload(target_model, lambda model: not model.stored.retired)
            async with self._load_slots or contextlib.nullcontext():
                try:
                    stored = await self._volume.fetch(target_model, unpin_one)
                except VolumeFull as error:
                    raise no_room_on_volume(target_model, str(error)) from None
                return await self._load(stored, deadline)
        except Exception as error:
            self._events.publish(LoadFailed(target_model, str(error.__cause__ or error)))
            raise

    async def _wait_for_unload(self, target_model: str, which: Callable[[LoadedModel], bool]) -> bool:
        """Wait until such a model of that name is gone; False if none is on its way out."""
        unloads = [u for u in self._unloads.values() if u.model.target_model == target_model and which(u.model)]
        if unloads:
            await asyncio.wait([unload.task for unload in unloads])
        return bool(unloads)

    async def _load(self, stored: StoredModel, deadline: float) -> LoadedModel:
        """Takes over the pin of ``stored``."""
        path = invocation_path(stored.name)
        model = LoadedModel(
            stored.target_model, stored.size_bytes, name=stored.name, path=path, stored=stored, memory=self
        )
        try:
            before, expected = await self._make_room(stored, deadline)
        except BaseException:
            self._volume.release(stored)
            raise
        started = self._clock.elapsed()
        try:
            await self._load_into_container(model, deadline, before)
        except BaseException:
            # The container may have registered it all the same, or may yet come to load it.
            self._start_unload(model)
            raise
        finally:
            self._changes += 1
            self._loading -= 1
            self._reserved -= expected
            self._freed.set()
        model.last_used = self._clock.elapsed()
        self._events.publish(ModelLoaded(model.target_model, model.last_used - started))
        return model

    async def _load_into_container(self, model: LoadedModel, deadline: float, before: int) -> None:
        """``before`` is the bytes of memory in use before the load."""
        clock, changes = asyncio.get_running_loop().time, self._changes
        kept = False
        try:
            url = await self._deliver(model.stored.directory)
            while True:
                timeout = max(0.0, deadline - clock())
                killed = await self._killed_for_memory(False)
                answer = await self._contract.load(model.name, model.target_model, url, timeout)
                status, said = answer.status, answer.body.decode("utf-8", "replace")
                if 200 <= status < 300:
                    known = await self._measure_footprint(model, before, changes)
                    if not (await self._killed_for_memory(not known) > killed and await self._is_lost_soon(model)):
                        return
                    self._footprints.pop(model.target_model, None)
                    status, said = 507, "Its process was killed: the model needs more memory than there is."
                if status == 409:
                    if await self._contract.is_loaded(model.name, model.target_model):
                        if kept:
                            return
                        # It may be left over from a load that failed, with nothing behind it: Multi Model Server
                        # can register a model after it has refused it. What the container keeps, is loaded.
                        kept = True
                        await self._unload_from_container(model)
                        continue
                    # Triton knows a model by its target model: it has the version that is about to leave.
                    if await self._wait_for_unload(model.target_model, lambda other: other.name != model.name):
                        continue
                if status != 507 or not await self.unload_one("container answered 507"):
                    raise container_failed(self._origin, status, said) from refusal_explained(status, said)
                # A model that was refused may stay registered, as in Multi Model Server: forget it.
                await self._unload_from_container(model)
        except ContainerTimeout:
            raise container_too_slow(self._origin) from None
        except ContainerUnreachable as error:
            raise no_response(self._origin) from error
        except TooManyOpenFiles:
            raise too_many_open_files() from None
        except ContainerError as error:
            raise container_failed(self._origin, 0, str(error)) from None

    async def _measure_footprint(self, model: LoadedModel, before: int, changes: int) -> bool:
        """Measure what a model took, if it was loaded alone for the first time; False if it is still unknown."""
        if model.target_model not in self._footprints and self._loading == 1 and self._changes == changes:
            after = await self._memory.used()
            if self._changes == changes:
                self._footprints[model.target_model] = max(after - before, 0)
        return model.target_model in self._footprints

    async def _is_lost_soon(self, model: LoadedModel) -> bool:
        """Whether a model that was loaded goes with a process that has been killed. Raises ContainerError when the
        whole container goes."""
        clock = asyncio.get_running_loop().time
        until = clock() + LOST_SECONDS
        while await self._contract.is_loaded(model.name, model.target_model):
            if clock() > until:
                return False
            for other in list(self.models):
                if await self.has_lost(other):  # perhaps it was that one's, or it went before
                    until = min(until, clock() + OTHER_LOST_SECONDS)
            await asyncio.sleep(LOOK_SECONDS)
        return True

    async def _make_room(self, stored: StoredModel, deadline: float) -> tuple[int, int]:
        """Unload idle models until this one fits; wait while all are busy.

        Returns the bytes in use then, and those that are now reserved for the model. A model that is
        alone is always let in: whether it fits is then for the container to say.
        """
        async with self._making_room:
            while True:
                used = await self._memory.used()
                expected = self._expected_bytes(stored, used)
                reason = self._reason_to_unload(used + expected)
                if reason is None:
                    self._loading += 1
                    self._reserved += expected
                    self._changes += 1
                    return used, expected
                if not (await self.unload_one(reason) or await self._wait_until_freed(deadline)):
                    raise no_room_in_memory(stored.target_model, self._limits.load_seconds)

    def _reason_to_unload(self, wanted: int) -> str | None:
        """Why a model has to be unloaded before one more takes memory use to ``wanted`` bytes; None if none has to."""
        present = self._models_present()
        if not present:
            return None
        if self._memory.max_models is not None and present >= self._memory.max_models:
            return f"{self._memory.max_models} models are loaded, the most that are allowed"
        if wanted + self._reserved > self._memory.budget_bytes * self._limits.memory_watermark:
            return "memory pressure"
        return None

    def _models_present(self) -> int:
        """How many models are in the container, or on their way in or out."""
        return len(self.models) + self._loading + len(self._unloads)

    def _expected_bytes(self, stored: StoredModel, used: int) -> int:
        """What a model took last time. The first time: what the others took on average, its size on disk at least."""
        footprint = self._footprints.get(stored.target_model)
        if footprint is not None:
            return footprint
        if not self.models and not self._loading and not self._unloads:
            self._base_bytes = used
        return max(stored.size_bytes, self.expected_load_bytes(used))

    async def _wait_until_freed(self, until: float) -> bool:
        """Wait until a model became idle or left; False if the time is over before."""
        self._freed.clear()
        try:
            await in_time(self._freed.wait(), max(0.0, until - asyncio.get_running_loop().time()))
        except asyncio.TimeoutError:
            return False
        return True

    # Out

    def _unload_when_idle(self, model: LoadedModel, reason: str) -> None:
        self.models.remove(model)
        if model.pins:
            model.idle = asyncio.get_running_loop().create_future()
        self._start_unload(model, reason)

    def _start_unload(self, model: LoadedModel, reason: str = "") -> asyncio.Task[None]:
        # Registered at once, so that a new caller of this model waits for it to be gone.
        task = asyncio.create_task(self._unload(model, reason))
        self._unloads[model.name] = Unload(model, task)
        return task

    async def _unload(self, model: LoadedModel, reason: str) -> None:
        """``reason`` is empty for a model that failed to load."""
        try:
            if model.idle is not None:
                await model.idle
            self._changes += 1
            started = self._clock.elapsed()
            confirmed = await self._unload_from_container(model)
            self._changes += 1
            if reason:
                how = "" if confirmed else "; the container did not confirm it"
                self._events.publish(ModelUnloaded(model.target_model, reason + how, self._clock.elapsed() - started))
        finally:
            del self._unloads[model.name]
            self._volume.release(model.stored)
            if not self._cache:
                self._volume.retire(model.stored, reason or "it failed to load")
            self._freed.set()

    async def _unload_from_container(self, model: LoadedModel) -> bool:
        """Have the container unload a model; whether it is gone, according to the container."""
        try:
            answer = await self._contract.unload(model.name, model.target_model)
        except ContainerError:
            return False
        gone = 200 <= answer.status < 300 or answer.status == 404
        if not gone and not self._warned_of_unload:
            self._warned_of_unload = True
            self._events.publish(
                Warned(
                    f"The container answered an unload with {answer.status}, and may keep the model in its memory "
                    "(TorchServe does so at the first unload). If it still has it at the next load, it is asked again. "
                    "This is told once."
                )
            )
        return gone
