"""The contract of a single-model container: answered while its model loads and works, and when it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from emulator.model_server.http.response import RequestError
from emulator.model_server.http.single_model import SingleModelServer
from tests.support.fake_workers import GRACE_SECONDS, FakeServer, FakeWorkers
from tests.support.virtual_time import in_virtual_time


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> FakeWorkers:
    return FakeWorkers(monkeypatch)


class OneModel(FakeServer):
    """A server that has been started, and whether it has said that it can no longer serve."""

    def __init__(self, per_model: int = 1, environments: Any = None) -> None:
        spawner: Any = None  # which forks processes
        server = SingleModelServer(spawner, "/opt/ml/model", None, per_model, GRACE_SECONDS, 60.0, environments)
        super().__init__(server)
        self.has_failed = False
        server.start(self._fail)

    def _fail(self) -> None:
        self.has_failed = True

    async def statuses(self) -> tuple[int, int]:
        """Of a ping and of an invocation."""
        return (await self.call("GET", "/ping"))[0], (await self.call("POST", "/invocations"))[0]


def test_it_is_healthy_once_its_model_is_loaded(workers: FakeWorkers) -> None:
    async def main() -> None:
        server = OneModel()
        await asyncio.sleep(1)
        status, error = await server.call("GET", "/ping")
        assert (status, error["type"]) == (503, "ServiceUnavailableException")
        assert error["message"] == "The model is being loaded."
        assert await server.statuses() == (503, 503)
        await asyncio.sleep(2)
        assert await server.call("POST", "/invocations", b"x") == (200, b"answer to x")
        assert await server.statuses() == (200, 200)
        assert workers.all[0].model["model_dir"] == "/opt/ml/model"
        assert not server.has_failed

    in_virtual_time(main())


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/", 404),
        ("GET", "/models", 404),
        ("POST", "/models", 404),
        ("GET", "/models/model", 404),
        ("POST", "/models/model/invoke", 404),
        ("POST", "/invocations/", 404),
        ("POST", "/invocations/more", 404),
        ("GET", "/invocations", 405),
        ("POST", "/ping", 405),
    ],
)
def test_there_is_nothing_else(workers: FakeWorkers, method: str, path: str, status: int) -> None:
    async def main() -> None:
        assert (await OneModel().call(method, path))[0] == status

    in_virtual_time(main())


def test_a_model_that_cannot_be_loaded_is_the_end(workers: FakeWorkers, caplog: pytest.LogCaptureFixture) -> None:
    workers.cannot_load = RequestError(507, "InternalServerException", "no room")

    async def main() -> None:
        server = OneModel()
        await asyncio.sleep(5)
        assert server.has_failed
        assert await server.statuses() == (503, 503)

    in_virtual_time(main())
    assert "The model could not be loaded: no room" in caplog.text


def test_the_death_of_the_last_worker_is_the_end_and_all_who_wait_are_told(workers: FakeWorkers) -> None:
    async def main() -> None:
        server = OneModel(per_model=2)
        await asyncio.sleep(3)
        workers.all[0].die()
        assert not server.has_failed and await server.statuses() == (200, 200)
        calls = [asyncio.ensure_future(server.call("POST", "/invocations")) for _ in range(3)]
        await asyncio.sleep(0.5)
        workers.all[1].die()
        # The one that it had, and those in the queue: a 404 would be the model's.
        assert [(await call)[0] for call in calls] == [500, 503, 503]
        assert server.has_failed
        assert await server.statuses() == (503, 503)

    in_virtual_time(main())


@pytest.mark.parametrize("after, end", [(1, "killed"), (5, "shut down")], ids=["while it loads", "while it is idle"])
def test_its_end_is_no_failure(workers: FakeWorkers, after: float, end: str) -> None:
    async def main() -> None:
        server = OneModel()
        await asyncio.sleep(after)
        await server.stop()
        await asyncio.sleep(1)
        assert ([worker.end for worker in workers.all], server.has_failed) == ([end], False)
        assert await server.statuses() == (503, 503)

    in_virtual_time(main())


def test_a_model_whose_requirements_cannot_be_installed_ends_it(workers: FakeWorkers) -> None:
    class NoEnvironments:
        @asynccontextmanager
        async def spawner_for(self, name: str, model_dir: str) -> AsyncIterator[None]:
            assert (name, model_dir) == ("model", "/opt/ml/model")
            raise RequestError(500, "InternalServerException", "requirements.txt cannot be installed")
            yield

    async def main() -> None:
        server = OneModel(environments=NoEnvironments())
        await asyncio.sleep(1)
        assert server.has_failed and not workers.all

    in_virtual_time(main())
