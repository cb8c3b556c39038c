"""The models: the workers of each, and the queue of invocations before them."""

from __future__ import annotations

import asyncio
import enum
import logging
import os
from collections import deque
from collections.abc import Coroutine
from typing import Any, NamedTuple

from emulator.containers.handler.answer import Answer, Refusal, conflict, failure, not_found
from emulator.containers.handler.process import Worker
from emulator.containers.handler.spawner import Spawner

_log = logging.getLogger(__name__)


class State(enum.Enum):
    """Where a model is between its load and its unload."""

    LOADING = "being loaded"
    LOADED = "loaded"
    UNLOADING = "being unloaded"


class _Job(NamedTuple):
    answer: asyncio.Future[Answer]
    fields: dict[str, Any]
    body: bytes


class Model:
    """One model: its workers share its invocations, first come, first served."""

    def __init__(self, name: str, url: str) -> None:
        self.name, self.url = name, url
        self.state = State.LOADING
        self._workers: set[Worker] = set()
        self._idle: deque[Worker] = deque()
        self._queue: deque[_Job] = deque()
        self._settled = asyncio.Event()  # no invocation is queued or under way

    async def load(self, spawner: Spawner, workers: int, handler: str | None, gpu: int | None) -> None:
        """Start the workers and have each load the model. Raises Refusal, and then none is left."""
        self._workers = {Worker(spawner, self._on_idle, self._on_death) for _ in range(workers)}
        order = {"model_name": self.name, "model_dir": self.url, "handler": handler, "gpu": gpu}
        loads = [asyncio.ensure_future(worker.load(order)) for worker in self._workers]
        try:
            await asyncio.gather(*loads)
        except Refusal:
            await self.kill()
            await asyncio.gather(*loads, return_exceptions=True)
            raise

    def invoke(self, fields: dict[str, Any], body: bytes) -> asyncio.Future[Answer]:
        """Have an invocation answered as soon as a worker is idle. An invocation that is cancelled leaves the queue."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._settled.clear()
        if self._idle:
            self._idle.popleft().run(answer, fields, body)
        else:
            self._queue.append(_Job(answer, fields, body))
        return answer

    async def settle(self, seconds: float) -> None:
        """Wait until no invocation is queued or under way, but no longer than that."""
        try:
            await asyncio.wait_for(self._settled.wait(), seconds)
        except asyncio.TimeoutError:
            _log.warning("Model %s: invocations are cut off after %s s", self.name, seconds)

    async def let_go(self) -> None:
        """End the workers and wait until their memory is back; one that is still busy is killed."""
        for worker in self._workers:
            if worker in self._idle:
                worker.let_go()
            else:
                worker.kill()
        await self._ended()

    async def kill(self) -> None:
        """End the workers at once and wait until their memory is back."""
        for worker in self._workers:
            worker.kill()
        await self._ended()

    async def _ended(self) -> None:
        await asyncio.gather(*(worker.ended for worker in self._workers))
        self._abandon_queue()

    def _on_idle(self, worker: Worker) -> None:
        while self._queue:
            job = self._queue.popleft()
            if not job.answer.done():
                worker.run(*job)
                return
        self._idle.append(worker)
        if len(self._idle) == len(self._workers):
            self._settled.set()

    def _on_death(self, worker: Worker) -> None:
        # A dead worker is not replaced: the usual cause is a lack of memory, and the last one's death makes the
        # platform load the model again, with all its workers.
        self._workers.discard(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        _log.error("Model %s: a worker process died, %d left", self.name, len(self._workers))
        if len(self._idle) == len(self._workers):
            self._settled.set()
        if not self._workers:
            self._abandon_queue()

    @property
    def alive(self) -> bool:
        """Whether any worker is left."""
        return bool(self._workers)

    def _abandon_queue(self) -> None:
        for job in self._queue:
            if not job.answer.done():
                job.answer.set_exception(not_found(self.name))
        self._queue.clear()


class Models:
    """All models of the server, by name."""

    def __init__(self, spawner: Spawner, handler: str | None, workers_per_model: int, grace_seconds: float) -> None:
        """``grace_seconds`` is how long unloading a model waits for its invocations under way."""
        self._spawner = spawner
        self._handler = handler
        self._workers_per_model = workers_per_model
        self._grace_seconds = grace_seconds
        self._models: dict[str, Model] = {}
        self._unloads: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._gpus = _count_gpus()
        self._loads = 0
