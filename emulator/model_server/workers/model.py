"""One model: its worker processes, and its queue of invocations."""

from __future__ import annotations

import asyncio
import enum
import logging
import os
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from emulator.model_server.http.response import Response, not_found
from emulator.model_server.workers.sources import Sources
from emulator.model_server.workers.spawner import Spawner
from emulator.model_server.workers.worker_process import WorkerProcess

_log = logging.getLogger(__name__)


class State(enum.Enum):
    """A model's state, in words for messages."""

    LOADING = "being loaded"
    LOADED = "loaded"
    UNLOADING = "being unloaded"


class _Job(NamedTuple):
    response: asyncio.Future[Response]
    fields: dict[str, Any]
    body: bytes


class Renewal(NamedTuple):
    """The load of a model that takes the place of another, because its handler has changed."""

    successor: Model
    task: asyncio.Task[None]

    @property
    def is_outdated(self) -> bool:
        """Whether the handler has changed again since this began."""
        return self.successor.sources is not None and bool(self.successor.sources.changed())


class Model:
    """One model. Its workers share its invocations, first come, first served."""

    def __init__(self, name: str, url: str, lost: Callable[[Model], None], invocation_seconds: float) -> None:
        """``url`` is the model's directory. ``lost`` is called when the last worker has died."""
        self.name, self.url, self._lost, self._invocation_seconds = name, url, lost, invocation_seconds
        self.state = State.LOADING
        self.unload: asyncio.Task[None] | None = None  # the unload under way
        self.renewal: Renewal | None = None  # under way
        self.sources: Sources | None = None  # if a change of the handler matters
        self._workers: set[WorkerProcess] = set()
        self._idle: deque[WorkerProcess] = deque()
        self._queue: deque[_Job] = deque()
        self._settled = asyncio.Event()  # set while nobody waits for a response

    async def load(self, spawner: Spawner, workers: int, handler: str | None, gpu: int | None) -> dict[str, Any]:
        """Start the workers, each of which loads the model. Returns what one of them has imported and set.

        Raises RequestError or EnvironmentChanged; no worker is left then.
        """
        self._workers = {
            WorkerProcess(spawner, self._on_idle, self._on_death, self._invocation_seconds) for _ in range(workers)
        }
        fields = {"model_name": self.name, "model_dir": os.path.abspath(self.url), "handler": handler, "gpu": gpu}
        loads = [asyncio.ensure_future(worker.load(fields)) for worker in self._workers]
        try:
            return (await asyncio.gather(*loads))[0]
        except Exception:
            await self.kill()
            await asyncio.gather(*loads, return_exceptions=True)
            raise

    async def invoke(self, fields: dict[str, Any], body: bytes) -> Response:
        """The response to an invocation, from the first idle worker. Raises RequestError.

        When this is cancelled, an invocation that is still in the queue is removed.
        """
        response: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._settled.clear()
        if self._idle:
            self._idle.popleft().run(response, fields, body)
        else:
            self._queue.append(_Job(response, fields, body))
        try:
            return await response
        except asyncio.CancelledError:
            self._settle()
            if response.done() and not response.cancelled() and response.exception() is None:
                response.result().discard()  # the caller has gone
            raise

    async def stop(self, grace_seconds: float) -> None:
        """End the workers, and wait until their memory is released.

        Invocations under way whose callers wait are finished first, for up to ``grace_seconds``; a load under way is
        stopped.
        """
        loading, self.state = self.state is State.LOADING, State.UNLOADING
        if loading:
            await self.kill()
        else:
            await self._settled_within(grace_seconds)
            await self._end_workers()

    async def _settled_within(self, seconds: float) -> None:
        """Wait until nobody waits for a response, but no longer than that."""
        settled = asyncio.ensure_future(self._settled.wait())
        try:
            await asyncio.wait([settled], timeout=seconds)
        finally:
            settled.cancel()
        if not self._settled.is_set():
            _log.warning("Model %s: cutting off what is still under way after %g s", self.name, seconds)

    async def _end_workers(self) -> None:
        """Shut down idle workers, kill busy ones, and wait until their memory is released."""
        for worker in self._workers:
            if worker in self._idle:
                worker.shut_down()
            else:
                worker.kill()
        await self._wait_ended()

    async def kill(self) -> None:
        """Kill the workers, and wait until their memory is released."""
        for worker in self._workers:
            worker.kill()
        await self._wait_ended()

    async def _wait_ended(self) -> None:
        await asyncio.gather(*(worker.ended for worker in self._workers))
        self._abandon_queue()

    def _on_idle(self, worker: WorkerProcess) -> None:
        while self._queue:
            job = self._queue.popleft()
            if not job.response.done():
                worker.run(*job)
                return
        self._idle.append(worker)
        self._settle()

    def _on_death(self, worker: WorkerProcess) -> None:
        # It is not replaced: workers mostly die because memory runs out. When the last one has died, the platform loads
        # the model again, or restarts a single-model container, with all workers.
        self._workers.discard(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        _log.error("Model %s: a worker process died, %d left", self.name, len(self._workers))
        if not self._workers:
            self._lost(self)
            self._abandon_queue()
        self._settle()

    def _settle(self) -> None:
        queued = any(not job.response.done() for job in self._queue)
        if not queued and not any(worker.is_awaited for worker in self._workers):
            self._settled.set()

    def _abandon_queue(self) -> None:
        for job in self._queue:
            if not job.response.done():
                job.response.set_exception(not_found(self.name))
        self._queue.clear()
