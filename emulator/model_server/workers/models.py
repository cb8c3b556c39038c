"""All models of a multi-model server: loads, finds and unloads them."""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import glob
import itertools
import logging
import os
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from emulator.model_server.http.response import RequestError, conflict, failure, not_found
from emulator.model_server.workers.environments import Environments
from emulator.model_server.workers.model import Model, Renewal, State
from emulator.model_server.workers.preloader import Preloader
from emulator.model_server.workers.sources import Sources
from emulator.model_server.workers.spawner import Spawner
from emulator.model_server.workers.worker_process import WorkerProcess

_log = logging.getLogger(__name__)


class Models:
    """The models by name. A load or an unload continues when its caller goes away."""

    def __init__(
        self,
        spawner: Spawner,
        handler: str | None,
        workers_per_model: int,
        grace_seconds: float,
        invocation_seconds: float,
        environments: Environments | None = None,
        preload: Sequence[str] | None = None,
        reload: bool = False,
    ) -> None:
        """An unload waits up to ``grace_seconds`` for invocations under way; a handler may take up to
        ``invocation_seconds`` to begin its response. ``environments``: of models with a requirements.txt; None = they
        run as others. ``preload`` as for Preloader. With ``reload``, a handler that changes is imported anew, see
        ``current``."""
        self._preloader, self._handler, self._preload = Preloader(spawner, handler, preload), handler, preload
        self._environments, self._preloaders = environments, WeakKeyDictionary[Spawner, Preloader]()
        self._workers_per_model, self._grace_seconds = workers_per_model, grace_seconds
        self._invocation_seconds, self._reload = invocation_seconds, reload
        self._models: dict[str, Model] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._gpus = itertools.cycle(gpus())

    async def prepare(self) -> None:
        """Import what the workers will have in common, and the handler for all models, if there is one.

        Raises RequestError when the handler cannot be used.
        """
        await self._preloader.start()
        if self._handler is not None:
            try:
                await self._preloader.try_handler(self._import_handler)
            except RequestError as error:
                if self._environments is None:
                    raise
                _log.warning("The models' environments may have what is missing: %s", error)

    async def _import_handler(self, spawner: Spawner) -> dict[str, Any]:
        worker = WorkerProcess(spawner, lambda worker: None, lambda worker: None, self._invocation_seconds)
        try:
            return await worker.load({"model_name": "", "model_dir": None, "handler": self._handler, "gpu": None})
        finally:
            worker.kill()
            await worker.ended

    async def load(self, name: str, url: str) -> None:
        """Load the model in the directory ``url``. Raises RequestError; the model is not known then."""
        if name in self._models:
            raise conflict(f"Model {name} is {self._models[name].state.value}.")
        if not os.path.isdir(url):
            raise RequestError(404, "ModelNotFoundException", f"Model not found in model store: {url}")
        model = self._models[name] = Model(name, url, self._forget, self._invocation_seconds)
        if self._reload:
            model.sources = Sources(os.path.dirname(self._handler) if self._handler else os.path.join(url, "code"))
        await _outlasting(self._task(self._load(model)))

    async def unload(self, name: str) -> None:
        """Unload a model, and return when its processes have ended.

        Invocations under way whose callers wait are finished first, for up to ``grace_seconds``; a load under way is
        stopped.
        Raises RequestError when there is no such model.
        """
        model = self._models.get(name)
        if model is None:
            raise not_found(name)
        if model.unload is None:
            model.unload = self._task(self._unload(model))
        await _outlasting(model.unload)

    def get(self, name: str) -> Model:
        """A loaded model. Raises RequestError when it does not exist or is not loaded."""
        model = self._models.get(name)
        if model is None or model.state is not State.LOADED:
            raise not_found(name)
        return model

    async def current(self, name: str) -> Model:
        """A loaded model whose handler is as it is on disk now: if that has changed, the model is loaded anew.

        Raises RequestError when the model does not exist, is not loaded, or cannot be loaded with the handler as it is.
        The next call tries that again; if the handler has changed meanwhile, it does not wait for a load under way.
        """
        while True:
            model = self.get(name)
            if model.renewal is not None and model.renewal.is_outdated:
                self._task(model.renewal.successor.stop(0))  # it may never end: its handler may wait for something
                model.renewal = None
            if model.sources is None or not (changed := model.sources.changed()):
                return model
            renewal = model.renewal = model.renewal or self._renewal(model, changed)
            try:
                await _outlasting(renewal.task)
            except RequestError:
                if renewal.successor.state is not State.UNLOADING:
                    raise
            else:
                return self.get(name)

    def page(self, after: str, limit: int) -> tuple[list[Model], bool]:
        """Up to ``limit`` loaded models whose names sort after ``after``, and whether there are more.

        A model that stays loaded is on exactly one page, whatever is loaded or unloaded meanwhile.
        """
        names = sorted(name for name, model in self._models.items() if model.state is State.LOADED)
        start = bisect.bisect_right(names, after)
        page = names[start : start + limit]
        return [self._models[name] for name in page], start + limit < len(names)

    async def stop(self) -> None:
        """Unload all models."""

        async def unload(name: str) -> None:
            with contextlib.suppress(RequestError):  # its workers got the signal as well, and have ended
                await self.unload(name)

        await asyncio.gather(*(unload(name) for name in list(self._models)))

    async def _load(self, model: Model) -> None:
        try:
            await self._start_workers(model)
        except Exception:
            if model.state is State.LOADING:
                self._forget(model)
                raise
        if model.state is State.UNLOADING:
            raise failure(f"Model {model.name} was unloaded while it was being loaded.")
        model.state = State.LOADED

    def _renewal(self, model: Model, changed: Sequence[str]) -> Renewal:
        _log.info("Model %s is loaded anew: %s changed", model.name, ", ".join(map(os.path.basename, changed)))
        successor = Model(model.name, model.url, self._forget, self._invocation_seconds)
        successor.sources = model.sources and model.sources.anew()
        return Renewal(successor, self._task(self._renew(model, successor)))

    async def _renew(self, model: Model, successor: Model) -> None:
        """Put a model with new workers in the place of this one, which ends when it has answered."""
        try:
            await self._start_workers(successor)
        finally:
            if model.renewal is not None and model.renewal.successor is successor:
                model.renewal = None
        is_wanted = successor.state is State.LOADING and model.state is State.LOADED
        if not is_wanted or self._models.get(model.name) is not model:
            await successor.kill()
            raise not_found(model.name)
        successor.state = State.LOADED
        self._models[model.name] = successor
        self._task(model.stop(self._grace_seconds))

    async def _start_workers(self, model: Model) -> None:
        gpu = next(self._gpus)

        async def load(spawner: Spawner) -> dict[str, Any]:
            if model.state is not State.LOADING:
                raise failure(f"Model {model.name} was unloaded while it was being loaded.")
            recorded = await model.load(spawner, self._workers_per_model, self._handler, gpu)
            if model.sources is not None:
                model.sources.add(recorded["files"])
            return recorded

        async with self._preloader_of(model) as preloader:
            await preloader.load(model.url, load)

    @contextlib.asynccontextmanager
    async def _preloader_of(self, model: Model) -> AsyncIterator[Preloader]:
        """What decides where the workers of a model are forked: in its own environment, if it has one."""
        if self._environments is None:
            yield self._preloader
            return
        async with self._environments.spawner_for(model.name, model.url) as spawner:
            if spawner is not None and spawner not in self._preloaders:
                self._preloaders[spawner] = Preloader(spawner, self._handler, self._preload)
                await self._preloaders[spawner].start()
            yield self._preloaders[spawner] if spawner is not None else self._preloader

    async def _unload(self, model: Model) -> None:
        stops = [model.stop(self._grace_seconds)]
        if model.renewal is not None:
            stops.append(model.renewal.successor.stop(0))
        await asyncio.gather(*stops)
        self._forget(model)

    def _forget(self, model: Model) -> None:
        if self._models.get(model.name) is model:
            del self._models[model.name]

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)  # asyncio itself keeps only a weak reference
        task.add_done_callback(self._tasks.discard)
        return task


async def _outlasting(task: asyncio.Task[None]) -> None:
    """Wait for a task, which goes on when this is cancelled. Its error is of no interest then."""
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        raise


def gpus() -> list[int | None]:
    """The numbers of the GPUs that models are spread over; [None] = the CPU."""
    count = len(glob.glob("/dev/nvidia[0-9]*"))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        count = min(count, sum(device.strip() not in ("", "-1") for device in visible.split(",")))
    return [*range(count)] or [None]
