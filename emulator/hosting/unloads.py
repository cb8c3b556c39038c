"""The models on their way out of a container's memory: why, for whom, and what that gave back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from emulator.clock import Clock
from emulator.containers.contract import ContainerContract
from emulator.errors import ContainerError
from emulator.events import Events, ModelUnloaded, Warned
from emulator.hosting.loaded_model import LoadedModel
from emulator.hosting.memory_use import MemoryUse
from emulator.hosting.pinned_lru import PinnedLru


@dataclass(eq=False)
class Unload:
    """A model that is being unloaded, or is as soon as it is idle."""

    model: LoadedModel
    reason: str = ""  # empty for a model that failed to load
    made_room_for: str = ""  # the target model that needs its place
    # Bytes of memory in use before it. If they are known, those after it are read as well.
    used_before: int | None = None
    measured: bool = False  # whether they are read before: nobody waits for its end
    used_after: int | None = None
    read_at: int = 0  # MemoryUse.changes when ``used_after`` was read
    idle_seconds: float | None = None  # since its last use; None = it was in use
    task: asyncio.Task[None] = field(init=False)


class Unloads:
    """Those of one run of a container."""

    def __init__(
        self,
        contract: ContainerContract,
        memory: MemoryUse,
        models: PinnedLru[LoadedModel],
        when_gone: Callable[[Unload], None],
        events: Events,
        clock: Clock,
    ) -> None:
        """``models`` are those that stay; ``when_gone`` is called at the end of each unload, however it went."""
        self._contract = contract
        self._memory = memory
        self._models = models
        self._when_gone = when_gone
        self._events = events
        self._clock = clock
        self._under_way: dict[str, Unload] = {}  # by the container's name of the model
        self._closed = self._warned = False

    def __len__(self) -> int:
        return len(self._under_way)

    def __iter__(self) -> Iterator[Unload]:
        return iter(list(self._under_way.values()))

    def begin(self, unload: Unload) -> Unload:
        """Unload a model, which must no longer be one of those that stay."""
        model = unload.model
        if unload.reason and not model.pins:
            unload.idle_seconds = self._clock.elapsed() - model.last_used
        # Registered at once, so that a new caller of this model waits for it to be gone.
        self._under_way[model.name] = unload
        unload.task = asyncio.create_task(self._run(unload))
        return unload

    async def wait_for(self, target_model: str, which: Callable[[LoadedModel], bool]) -> bool:
        """Wait until such a model of that name is gone; False if none is on its way out."""
        tasks = [each.task for each in self if each.model.target_model == target_model and which(each.model)]
        if tasks:
            await asyncio.wait(tasks)
        return bool(tasks)

    def close(self) -> None:
        """The container has ended, and its models with it. What is being unloaded ends by itself, as its call fails."""
        self._closed = True

    async def _run(self, unload: Unload) -> None:
        model, memory = unload.model, self._memory
        try:
            if model.idle is not None:
                await model.idle
            if unload.measured:
                unload.used_before = await memory.read()
            memory.changes += 1
            changes, started = memory.changes, self._clock.elapsed()
            confirmed = await self.unload(model)
            seconds = self._clock.elapsed() - started
            alone = memory.changes == changes and not memory.loading
            memory.changes += 1
            if unload.reason and not self._closed:
                leaked = await self._measure(unload, alone) if unload.used_before is not None else 0
                self._events.publish(
                    ModelUnloaded(
                        model.target_model,
                        unload.reason if confirmed else f"{unload.reason}; the container did not confirm it",
                        seconds,
                        unload.made_room_for,
                        unload.idle_seconds,
                        unload.used_before,
                        unload.used_after,
                        leaked,
                    )
                )
        finally:
            del self._under_way[model.name]
            self._when_gone(unload)

    async def _measure(self, unload: Unload, alone: bool) -> int:
        """Read what is in use after an unload; the bytes that the model has leaked, if it was unloaded alone."""
        target_model, before, changes = unload.model.target_model, unload.used_before, self._memory.changes
        unload.used_after, unload.read_at = await self._memory.read(), changes
        if before is None or not alone or self._memory.changes != changes:
            return 0
        others = (model.target_model for model in self._models)
        return self._memory.leaked(target_model, before, unload.used_after, others)

    async def unload(self, model: LoadedModel) -> bool:
        """Have the container unload a model; whether it is gone, according to the container."""
        try:
            answer = await self._contract.unload(model.name, model.target_model)
        except ContainerError:
            return False
        gone = 200 <= answer.status < 300 or answer.status == 404
        if not gone and not self._warned:
            self._warned = True
            self._events.publish(
                Warned(
                    f"The container answered an unload with {answer.status}, and may keep the model in its memory "
                    "(TorchServe does so at the first unload). If it still has it at the next load, it is asked again. "
                    "This is told once."
                )
            )
        return gone
