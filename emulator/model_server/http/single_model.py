"""The contract of a single-model container, whose model is on its disk before it starts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from emulator.model_server.http.connection import Request
from emulator.model_server.http.response import RequestError, Response
from emulator.model_server.http.server import Action, Server, invoke, ping
from emulator.model_server.workers.environments import Environments
from emulator.model_server.workers.model import Model, State
from emulator.model_server.workers.models import gpus
from emulator.model_server.workers.spawner import Spawner

_log = logging.getLogger(__name__)
_NAME = "model"  # the model's name in SageMaker's inference toolkit


class SingleModelServer(Server):
    """Loads its one model, and serves it.

    It ends when its model's workers have died: then the platform replaces the container at once, and callers wait for
    the new one. If it reloaded the model itself, invocations and health checks would fail meanwhile.
    """

    def __init__(
        self,
        spawner: Spawner,
        directory: str,
        handler: str | None,
        workers: int,
        grace_seconds: float,
        invocation_seconds: float,
        environments: Environments | None = None,
    ) -> None:
        """``directory`` may be missing: a pipeline's step before or after a model may be a handler alone.

        ``environments``: that of a model with a requirements.txt; None = it runs as others.
        """
        self._environments = environments
        self._spawner, self._handler, self._workers = spawner, handler, workers
        self._grace_seconds = grace_seconds
        self._model = Model(_NAME, directory, self._on_lost, invocation_seconds)

    def start(self, failed: Callable[[], None]) -> None:
        self._failed = failed
        self._loading = asyncio.create_task(self._load())

    async def stop(self) -> None:
        await self._model.stop(self._grace_seconds)

    def _actions(self, path: list[str]) -> dict[str, Action]:
        match path:
            case ["ping"]:
                return {"GET": self._ping}
            case ["invocations"]:
                return {"POST": self._invoke}
        return {}

    async def _ping(self, request: Request) -> Response:
        self._check_loaded()
        return await ping(request)

    async def _invoke(self, request: Request) -> Response:
        self._check_loaded()
        try:
            return await invoke(self._model, request)
        except RequestError as error:
            if error.status == 404:  # it was still in the queue when the last worker died
                self._check_loaded()
            raise

    def _check_loaded(self) -> None:
        if self._model.state is not State.LOADED:
            raise RequestError(503, "ServiceUnavailableException", f"The model is {self._model.state.value}.")

    async def _load(self) -> None:
        try:
            if self._environments is None:
                await self._load_in(self._spawner)
            else:
                async with self._environments.spawner_for(self._model.name, self._model.url) as spawner:
                    await self._load_in(spawner or self._spawner)
        except Exception as error:
            if self._model.state is State.LOADING:
                _log.error("The model could not be loaded: %s", error)
                self._failed()
            return
        if self._model.state is State.LOADING:
            self._model.state = State.LOADED

    async def _load_in(self, spawner: Spawner) -> None:
        await self._model.load(spawner, self._workers, self._handler, gpus()[0])

    def _on_lost(self, model: Model) -> None:
        _log.error("No worker process of the model is left")
        model.state = State.UNLOADING
        self._failed()
