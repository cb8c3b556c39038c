"""The models in a container's memory: loaded once however many invocations wait, least recently used out first."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from emulator.aws.errors import too_many_open_files
from emulator.clock import Clock
from emulator.containers.contract import ContainerContract, invocation_path
from emulator.containers.errors import refusal_explained
from emulator.errors import ContainerError, ContainerTimeout, ContainerUnreachable, TooManyOpenFiles
from emulator.events import (
    Events,
    LoadFailed,
    LoadRetried,
    LoadStarted,
    ModelLoaded,
    ModelLost,
    ModelNotReady,
)
from emulator.hosting.errors import (
    VolumeFull,
    container_failed,
    container_too_slow,
    model_not_ready,
    no_response,
    no_room_in_memory,
    no_room_on_volume,
)
from emulator.hosting.load_progress import LoadProgress
from emulator.hosting.loaded_model import LoadedModel
from emulator.hosting.memory_use import MemoryBudget, MemoryUse
from emulator.hosting.pinned_lru import PinnedLru, SingleFlight
from emulator.hosting.storage_volume import StorageVolume, StoredModel
from emulator.hosting.unloads import Unload, Unloads
from emulator.invocation import InvocationMeasurements
from emulator.limits import Limits
from emulator.timeouts import in_time

# [ours] In which a container notices that a process of it was killed; how often it is asked.
LOST_SECONDS, LOOK_SECONDS = 5.0, 0.02
OTHER_LOST_SECONDS = 0.5  # [ours] what is left of it when it has noticed the end of another model


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
        self._memory = MemoryUse(memory, limits)
        self._limits = limits
        self._events = events
        self._clock = clock
        self._origin = events.origin
        self._cache = cache
        self._killed_for_memory = killed_for_memory
        self._load_slots = None if cache else asyncio.Semaphore(load_slots)
        self._loads: SingleFlight[LoadedModel] = SingleFlight(self.models, self._fetch_and_load, self.release)
        self._unloads = Unloads(contract, self._memory, self.models, self._is_gone, events, clock)
        self._making_room = asyncio.Lock()  # one load at a time decides what has to leave for it
        self._freed = asyncio.Event()  # set when something became idle or left, for who waits for room
        self._progress: dict[str, LoadProgress] = {}  # by target model

    async def use(
        self, target_model: str, deadline: float, measurements: InvocationMeasurements | None = None
    ) -> LoadedModel:
        """The model, loaded and pinned; give it back with ``release``.

        ``deadline`` is on the event loop's clock; ``measurements`` get the steps of the wait. Raises
        ModelNotReadyException when it passes while the model is still on its way, and what the load raised when it
        failed.
        """
        model = self.models.pin(target_model)
        if model is not None:
            return model
        pause = max(0.0, deadline - asyncio.get_running_loop().time())
        began, progress = self._clock.elapsed(), self._progress_of(target_model)
        try:
            model = await self._loads.join(target_model, pause)
        finally:
            if measurements is not None:
                measurements.steps += progress.between(began, self._clock.elapsed())
        if model is None:
            self._events.publish(ModelNotReady(target_model, progress.doing, self._clock.elapsed() - began))
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

    async def has_lost(self, model: LoadedModel, why: str = "it answered 404") -> bool:
        """Whether the container no longer knows this model: it is loaded again at its next use.

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
            self._events.publish(ModelLost(model.target_model, f"the container no longer has it: {why}"))
        return True

    def begin_to_load(self, target_model: str) -> None:
        """Load a model without a call that wants it."""
        if self.models.get(target_model) is None:
            self._loads.begin(target_model)

    def unload(self, target_model: str, reason: str) -> bool:
        """Unload a model as soon as it is idle; False if it is not in memory."""
        model = self.models.get(target_model)
        if model is not None:
            self._unload_when_idle(model, reason, measured=True)
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
            self._unload_when_idle(model, reason, measured=True)
        return True

    def begin_to_unload(self, reason: str, made_room_for: str, used: int | None = None) -> list[Unload]:
        """Unload the idle model that was used longest ago, for another one; all unloads of what is not in use by now.

        ``used`` is what is in use before, if that is known: then it is read afterwards too.
        """
        model = self.models.pop_idle()
        if model is not None:
            return [self._unloads.begin(Unload(model, reason, made_room_for, used))]
        return [unload for unload in self._unloads if not unload.model.pins]

    async def unload_one(self, reason: str, made_room_for: str, used: int | None = None) -> Unload | None:
        """Wait until one more model that is not in use has been unloaded; None if there is none."""
        unloads = self.begin_to_unload(reason, made_room_for, used)
        if unloads:
            await asyncio.wait([unload.task for unload in unloads], return_when=asyncio.FIRST_COMPLETED)
        return next((unload for unload in unloads if unload.task.done()), None)

    def close(self) -> None:
        """The container has ended: nothing is loaded any more, and who waits for a load gets an error.

        What is being unloaded ends by itself, when its call to the container fails.
        """
        self._unloads.close()
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
        return list(self._loads), [unload.model.target_model for unload in self._unloads]

    def footprint(self, target_model: str) -> int | None:
        """Bytes of memory that a model took when it was loaded alone; None = it was not measured."""
        return self._memory.footprint(target_model)

    def next_victim(self) -> str:
        """The target model that leaves first when a load needs room: the least recently used idle one; "" = none."""
        model = self.models.next_idle()
        return model.target_model if model is not None else ""

    def expected_load_bytes(self, used: int) -> int:
        """What a model that was not measured before is expected to take, with ``used`` bytes of memory in use."""
        return self._memory.expected(used, len(self.models))

    # In

    async def _fetch_and_load(self, target_model: str) -> LoadedModel:
        deadline = asyncio.get_running_loop().time() + self._limits.load_seconds
        progress = self._progress_of(target_model)

        async def unpin_one(reason: str) -> bool:
            # What is idle in memory may leave the disk as well, once it is unloaded.
            if await self.unload_one(reason, target_model):
                return True
            return self._models_present() > 0 and await self._wait_until_freed(deadline)

        self._events.publish(LoadStarted(target_model))
        try:
            # One whose archive has changed is another model by now, and need not be waited for.
            await self._unloads.wait_for(target_model, lambda model: not model.stored.retired)
            async with self._load_slots or contextlib.nullcontext():
                try:
                    stored = await self._volume.fetch(target_model, unpin_one, progress)
                except VolumeFull as error:
                    raise no_room_on_volume(target_model, str(error)) from None
                return await self._load(stored, deadline, progress)
        except Exception as error:
            self._events.publish(LoadFailed(target_model, str(error.__cause__ or error)))
            raise
        finally:
            self._progress.pop(target_model, None)

    def _progress_of(self, target_model: str) -> LoadProgress:
        progress = self._progress.get(target_model)
        if progress is None:
            progress = self._progress[target_model] = LoadProgress(self._origin.container, self._clock.elapsed)
        return progress

    async def _load(self, stored: StoredModel, deadline: float, progress: LoadProgress) -> LoadedModel:
        """Takes over the pin of ``stored``."""
        path = invocation_path(stored.name)
        model = LoadedModel(
            stored.target_model, stored.size_bytes, name=stored.name, path=path, stored=stored, memory=self
        )
        progress.enter("make room")
        try:
            before, expected = await self._make_room(stored, deadline)
        except BaseException:
            self._volume.release(stored)
            raise
        progress.enter("load")
        started = self._clock.elapsed()
        try:
            after = await self._load_into_container(model, deadline, before, progress)
        except BaseException:
            # The container may have registered it all the same, or may yet come to load it.
            self._unloads.begin(Unload(model))
            raise
        finally:
            self._memory.end_load(expected)
            self._freed.set()
        model.last_used = self._clock.elapsed()
        self._events.publish(
            ModelLoaded(
                model.target_model,
                model.last_used - started,
                model.last_used - progress.began,
                before,
                after,
                self._memory.footprint(model.target_model),
            )
        )
        return model

    async def _load_into_container(
        self, model: LoadedModel, deadline: float, before: int, progress: LoadProgress
    ) -> int | None:
        """Bytes of memory in use after the load, if they were read; ``before`` those before it."""
        clock, changes = asyncio.get_running_loop().time, self._memory.changes
        kept = False

        def retry(reason: str) -> None:
            self._events.publish(LoadRetried(model.target_model, reason))
            progress.enter("load")

        try:
            url = await self._deliver(model.stored.directory)
            while True:
                timeout = max(0.0, deadline - clock())
                killed = await self._killed_for_memory(False)
                answer = await self._contract.load(model.name, model.target_model, url, timeout)
                status, said = answer.status, answer.body.decode("utf-8", "replace")
                if 200 <= status < 300:
                    after = await self._memory.measure_load(model.target_model, before, changes)
                    known = self._memory.footprint(model.target_model) is not None
                    if not (await self._killed_for_memory(not known) > killed and await self._is_lost_soon(model)):
                        return after
                    self._memory.forget(model.target_model)
                    status, said = 507, "Its process was killed: the model needs more memory than there is."
                if status == 409:
                    if await self._contract.is_loaded(model.name, model.target_model):
                        if kept:
                            return None
                        # It may be left over from a load that failed, with nothing behind it: Multi Model Server
                        # can register a model after it has refused it. What the container keeps, is loaded.
                        kept = True
                        await self._unloads.unload(model)
                        retry("container answered 409: it had the model, perhaps of a load that failed")
                        continue
                    # Triton knows a model by its target model: it has the version that is about to leave.
                    progress.enter("wait")
                    if await self._unloads.wait_for(model.target_model, lambda other: other.name != model.name):
                        retry("container answered 409: it still had the former version")
                        continue
                progress.enter("make room")
                if status != 507 or not await self.unload_one("container answered 507", model.target_model):
                    raise container_failed(self._origin, status, said) from refusal_explained(status, said)
                # A model that was refused may stay registered, as in Multi Model Server: forget it.
                await self._unloads.unload(model)
                retry(f"container answered 507: {said}" if said else "container answered 507")
        except ContainerTimeout:
            raise container_too_slow(self._origin) from None
        except ContainerUnreachable as error:
            raise no_response(self._origin) from error
        except TooManyOpenFiles:
            raise too_many_open_files() from None
        except ContainerError as error:
            raise container_failed(self._origin, 0, str(error)) from None

    async def _is_lost_soon(self, model: LoadedModel) -> bool:
        """Whether a model that was loaded goes with a process that has been killed. Raises ContainerError when the
        whole container goes."""
        clock = asyncio.get_running_loop().time
        until = clock() + LOST_SECONDS
        while await self._contract.is_loaded(model.name, model.target_model):
            if clock() > until:
                return False
            for other in list(self.models):
                if await self.has_lost(other, "a process was killed"):  # perhaps it was that one's, or it went before
                    until = min(until, clock() + OTHER_LOST_SECONDS)
            await asyncio.sleep(LOOK_SECONDS)
        return True

    async def _make_room(self, stored: StoredModel, deadline: float) -> tuple[int, int]:
        """Unload idle models until this one fits; wait while all are busy.

        Returns the bytes in use then, and those that are now reserved for the model. A model that is
        alone is always let in: whether it fits is then for the container to say.
        """
        async with self._making_room:
            used = await self._memory.read()
            while True:
                expected = self._expected_bytes(stored, used)
                reason = self._memory.reason_to_unload(used + expected, self._models_present())
                if reason is None:
                    self._memory.begin_load(expected)
                    return used, expected
                unload = await self.unload_one(reason, stored.target_model, used)
                if unload is None and not await self._wait_until_freed(deadline):
                    raise no_room_in_memory(stored.target_model, self._limits.load_seconds)
                if unload is not None and unload.used_after is not None and unload.read_at == self._memory.changes:
                    used = unload.used_after  # nothing has changed since: to read it may take a second
                else:
                    used = await self._memory.read()

    def _models_present(self) -> int:
        """How many models are in the container, or on their way in or out."""
        return len(self.models) + self._memory.loading + len(self._unloads)

    def _expected_bytes(self, stored: StoredModel, used: int) -> int:
        """What a model took last time. The first time: what the others took on average, its size on disk at least."""
        footprint = self._memory.footprint(stored.target_model)
        if footprint is not None:
            return footprint
        if not self.models and not self._memory.loading and not self._unloads:
            self._memory.set_base(used)
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

    def _unload_when_idle(self, model: LoadedModel, reason: str, *, measured: bool = False) -> None:
        self.models.remove(model)
        if model.pins:
            model.idle = asyncio.get_running_loop().create_future()
        self._unloads.begin(Unload(model, reason, measured=measured))

    def _is_gone(self, unload: Unload) -> None:
        self._volume.release(unload.model.stored)
        if not self._cache:
            self._volume.retire(unload.model.stored, unload.reason or "it failed to load")
        self._freed.set()
