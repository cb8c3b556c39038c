"""A model server in the test's own process, whose workers are no processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from emulator.model_server.http.connection import Request
from emulator.model_server.http.multi_model import MultiModelServer
from emulator.model_server.http.response import RequestError, Response
from emulator.model_server.http.server import Server
from emulator.model_server.workers import model
from emulator.model_server.workers.models import Models

GRACE_SECONDS = 25.0


class FakeWorker:
    """A worker that takes its time, which is virtual, and dies when the test says so."""

    def __init__(self, workers: FakeWorkers, idle: Callable[[Any], None], dead: Callable[[Any], None]) -> None:
        self._workers, self._idle, self._dead = workers, idle, dead
        self._work: asyncio.Task[None] | None = None
        self._reply: asyncio.Future[Response] | None = None
        self.model: dict[str, Any] = {}
        self.end = ""  # how it ended
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        workers.all.append(self)

    async def load(self, model: dict[str, Any]) -> dict[str, Any]:
        self.model = model
        self._work = asyncio.ensure_future(asyncio.sleep(self._workers.load_seconds))
        try:
            await self._work
        except asyncio.CancelledError:
            raise RequestError(500, "InternalServerException", "killed while loading the model") from None
        if self._workers.cannot_load is not None:
            raise self._workers.cannot_load
        self._idle(self)
        return {"modules": [], "files": [], "early": 0, "environment": {}}

    @property
    def is_awaited(self) -> bool:
        return self._reply is not None and not self._reply.done()

    def run(self, reply: asyncio.Future[Response], fields: dict[str, Any], body: bytes) -> None:
        self._reply = reply
        self._workers.invoked.append(body.decode())
        self._work = asyncio.ensure_future(self._answer(reply, body))

    async def _answer(self, reply: asyncio.Future[Response], body: bytes) -> None:
        await asyncio.sleep(self._workers.answer_seconds)
        if not reply.done():
            reply.set_result(Response(200, None, [], b"answer to " + body))
        self._idle(self)

    def die(self) -> None:
        """Its process has ended, of itself."""
        self._stop("died")
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(RequestError(500, "InternalServerException", "The worker process died"))
        self._dead(self)

    def shut_down(self) -> None:
        self._stop("shut down")

    def kill(self) -> None:
        self._stop("killed")
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(RequestError(500, "InternalServerException", "The worker process died"))

    def _stop(self, how: str) -> None:
        if not self.ended.done():
            self.end = how
            self.ended.set_result(None)
        if self._work is not None:
            self._work.cancel()


class FakeWorkers:
    """All workers of a server, and what they are to do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.all: list[FakeWorker] = []
        self.invoked: list[str] = []  # the bodies, in the order in which workers got them
        self.load_seconds, self.answer_seconds = 2.0, 1.0
        self.cannot_load: Exception | None = None
        monkeypatch.setattr(model, "WorkerProcess", lambda _, idle, dead, __: FakeWorker(self, idle, dead))

    def server(self, per_model: int = 1, reload: bool = False) -> FakeServer:
        spawner: Any = None  # which forks processes
        return FakeServer(MultiModelServer(Models(spawner, None, per_model, GRACE_SECONDS, 60.0, reload=reload)))


class FakeServer:
    """Speaks to a server as the platform does."""

    def __init__(self, server: Server) -> None:
        self.stop = server.stop
        self._respond = server.respond

    async def call(self, method: str, path: str, body: bytes = b"", query: str = "") -> tuple[int, Any]:
        """Status and content of the response: what is in its JSON, else its bytes."""
        headers = [("Host", "127.0.0.1:8080")]
        response = await self._respond(Request(method, path, query, headers, body, keep_alive=True, chunked=True))
        assert isinstance(response.body, bytes)
        is_json = ("Content-Type", "application/json") in response.headers
        return response.status, json.loads(response.body) if is_json else response.body

    async def load(self, name: str, url: str = "/") -> int:
        status, _ = await self.call("POST", "/models", json.dumps({"model_name": name, "url": url}).encode())
        return status

    async def unload(self, name: str) -> int:
        return (await self.call("DELETE", f"/models/{name}"))[0]

    async def invoke(self, name: str, body: bytes = b"") -> tuple[int, Any]:
        return await self.call("POST", f"/models/{name}/invoke", body)

    async def page(self, query: str = "") -> tuple[list[str], str | None]:
        """The names on a page of the list, and the token of the next one."""
        status, listing = await self.call("GET", "/models", query=query)
        assert status == 200
        return [model["modelName"] for model in listing["models"]], listing.get("nextPageToken")
