"""One model: its worker processes, and the queue of invocations before them."""

from __future__ import annotations

import asyncio
import enum
import logging
import os
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from emulator.model_server.http.answer import Answer, not_found
from emulator.model_server.workers.spawner import Spawner
from emulator.model_server.workers.worker_process import WorkerProcess

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
    """One model. Its workers share its invocations, first come, first served."""

    def __init__(self, name: str, url: str, lost: Callable[[Model], None], invocation_seconds: float) -> None:
        """``lost`` is called when the last worker has died."""
        self.name, self.url, self._lost, self._invocation_seconds = name, url, lost, invocation_seconds
        self.state = State.LOADING
        self.unload: asyncio.Task[None] | None = None  # the unload under way
        self._workers: set[WorkerProcess] = set()
        self._idle: deque[WorkerProcess] = deque()
        self._queue: deque[_Job] = deque()
        self._settled = asyncio.Event()  # nobody waits for an answer

    async def load(self, spawner: Spawner, workers: int, handler: str | None, gpu: int | None) -> None:
        """Start the workers and have each load the model. Raises Refusal, and then none is left."""
        self._workers = {
            WorkerProcess(spawner, self._on_idle, self._on_death, self._invocation_seconds) for _ in range(workers)
        }
        order = {"model_name": self.name, "model_dir": os.path.abspath(self.url), "handler": handler, "gpu": gpu}
        loads = [asyncio.ensure_future(worker.load(order)) for worker in self._workers]
        try:
            await asyncio.gather(*loads)
        except Exception:
            await self.kill()
            await asyncio.gather(*loads, return_exceptions=True)
            raise

    async def invoke(self, fields: dict[str, Any], body: bytes) -> Answer:
        """The answer to an invocation, by the first worker that is idle. Raises Refusal.

        When this is cancelled, an invocation that is still in the queue leaves it.
        """
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._settled.clear()
        if self._idle:
            self._idle.popleft().run(answer, fields, body)
        else:
            self._queue.append(_Job(answer, fields, body))
        try:
            return await answer
        except asyncio.CancelledError:
            self._settle()
            if answer.done() and not answer.cancelled() and answer.exception() is None:
                answer.result().discard()  # it came too late for whoever waited
            raise

    async def stop(self, grace_seconds: float) -> None:
        """End the workers, and wait until their memory is back.

        Invocations under way that somebody waits for are finished first, for as long as the grace lasts; a load
        under way is stopped.
        """
        loading, self.state = self.state is State.LOADING, State.UNLOADING
        if loading:
            await self.kill()
        else:
            await self._settled_within(grace_seconds)
            await self._let_go()

    async def _settled_within(self, seconds: float) -> None:
        """Wait until nobody waits for an answer any more, but no longer than that."""
        settled = asyncio.ensure_future(self._settled.wait())
        try:
            await asyncio.wait([settled], timeout=seconds)
        finally:
            settled.cancel()
        if not self._settled.is_set():
            _log.warning("Model %s: cutting off what is still under way after %g s", self.name, seconds)

    async def _let_go(self) -> None:
        """End the workers, the idle ones gently, and wait until their memory is back."""
        for worker in self._workers:
            if worker in self._idle:
                worker.let_go()
            else:
                worker.kill()
        await self._gone()

    async def kill(self) -> None:
        """End the workers at once, and wait until their memory is back."""
        for worker in self._workers:
            worker.kill()
        await self._gone()

    async def _gone(self) -> None:
        await asyncio.gather(*(worker.ended for worker in self._workers))
        self._abandon_queue()

    def _on_idle(self, worker: WorkerProcess) -> None:
        while self._queue:
            job = self._queue.popleft()
            if not job.answer.done():
                worker.run(*job)
                return
        self._idle.append(worker)
        self._settle()

    def _on_death(self, worker: WorkerProcess) -> None:
        # It is not replaced: workers mostly die for want of memory, and when the last one has died the platform
        # loads the model, or starts the server of a single one, again, with all its workers.
        self._workers.discard(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        _log.error("Model %s: a worker process died, %d left", self.name, len(self._workers))
        if not self._workers:
            self._lost(self)
            self._abandon_queue()
        self._settle()

    def _settle(self) -> None:
        queued = any(not job.answer.done() for job in self._queue)
        if not queued and not any(worker.awaited for worker in self._workers):
            self._settled.set()

    def _abandon_queue(self) -> None:
        for job in self._queue:
            if not job.answer.done():
                job.answer.set_exception(not_found(self.name))
        self._queue.clear()
