"""Which spawner forks a model's workers, and what that has imported before: without processes."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import pytest

from emulator.model_server.workers import frames, preloader, preloading
from emulator.model_server.workers.preloader import Preloader
from emulator.model_server.workers.spawner import Spawner
from emulator.model_server.workers.worker_process import EnvironmentChanged


class FakeSpawner:
    """A spawner whose branches import by name only; ``behaviour`` says what comes of a module that is not fit."""

    def __init__(self, behaviour: Mapping[str, str] = MappingProxyType({}), modules: Sequence[str] = ()) -> None:
        self.behaviour, self.modules = behaviour, list(modules)
        self.requests: list[dict[str, Any]] = []  # of all branches
        self.adopted: list[FakeSpawner] = []
        self.abandoned: list[Any] = []
        self.killed: list[int] = []
        self.cannot_fork = False
        self._writers: dict[int, asyncio.StreamWriter] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def branch(self, theirs: socket.socket) -> int:
        if self.cannot_fork:
            raise OSError(11, "Resource temporarily unavailable")
        reader, writer = await asyncio.open_unix_connection(sock=theirs.dup())
        pid = len(self._writers) + 1
        self._writers[pid] = writer
        self._tasks.append(asyncio.ensure_future(self._import(reader, writer)))
        return pid

    async def _import(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (request,) = frames.Decoder().feed(await reader.read(65536))
        assert request.kind == preloading.PRELOAD
        self.requests.append(request.fields)
        modules = [module for module, _ in request.fields["imports"]]
        for module in modules:
            writer.write(frames.head(preloading.BEGUN, {"module": module}))
            match self.behaviour.get(module):
                case "dies":
                    writer.close()
                    return
                case "hangs":
                    await asyncio.Event().wait()
                case str(reason):
                    writer.write(frames.head(preloading.UNFIT, {"reason": reason}))
                    writer.close()
                    return
        writer.write(frames.head(preloading.READY, {"failed": {}, "modules": modules}))

    def adopt(self, control: socket.socket, pid: int) -> FakeSpawner:
        control.close()
        branch = FakeSpawner(self.behaviour, [*self.modules, *(m for m, _ in self.requests[-1]["imports"])])
        branch.requests = self.requests
        self.adopted.append(branch)
        return branch

    def abandon(self, branch: Any) -> None:
        self.abandoned.append(branch)

    def kill(self, pid: int) -> None:
        self.killed.append(pid)
        self._writers[pid].close()


def recorded(*modules: str, early: int | None = None, **environment: str) -> dict[str, Any]:
    return {"modules": modules, "early": len(modules) if early is None else early, "environment": environment}


class Server:
    """A server whose models import what a test says."""

    def __init__(self, *behaviour: str, handler: str | None = None, chosen: Sequence[str] | None = None) -> None:
        """``behaviour``: of one module, its name and what comes of it."""
        self.first = FakeSpawner({behaviour[0]: behaviour[1]} if behaviour else {})
        self.preloader = Preloader(cast(Spawner, self.first), handler, chosen)

    async def load(self, *modules: str, directory: str = "/nowhere", **more: Any) -> list[str]:
        """Load a model that imports these. Returns what its spawner had imported."""
        found: list[FakeSpawner] = []

        async def load(spawner: Spawner) -> dict[str, Any]:
            found.append(cast(FakeSpawner, spawner))
            return recorded(*modules, **more)

        await self.preloader.load(directory, load)
        return found[-1].modules


def test_what_one_load_imports_the_next_one_finds() -> None:
    async def main() -> None:
        server = Server()
        assert await server.load("json", "numpy") == []
        assert await server.load("numpy") == ["json", "numpy"]
        assert await server.load("numpy", "pandas") == ["json", "numpy"]
        assert await server.load() == ["json", "numpy", "pandas"]

    asyncio.run(main())


def test_pythons_own_modules_alone_are_not_worth_a_process() -> None:
    async def main() -> None:
        server = Server()
        await server.load("json", "csv")
        assert await server.load("numpy") == []
        assert await server.load() == ["json", "csv", "numpy"]
        assert len(server.first.requests) == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    "behaviour, words",
    [("starts a thread", "starts a thread"), ("dies", "ends the process"), ("hangs", "takes longer than 1 s")],
)
def test_what_is_not_fit_is_left_out_with_what_is_below_it_which_the_log_says_once(
    behaviour: str, words: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    if behaviour == "hangs":
        monkeypatch.setattr(
            preloader, "_IMPORT_SECONDS", 1.0
        )  # in which the imports that do not hang come to their end

    async def main() -> None:
        server = Server("bad.part", behaviour)
        await server.load("numpy", "bad", "bad.part", "bad.part.deep")
        assert await server.load("bad.part.other", "pandas") == ["numpy", "bad"]
        assert await server.load() == ["numpy", "bad", "pandas"]
        assert server.first.killed == ([1] if behaviour == "hangs" else [])

    asyncio.run(main())
    assert caplog.messages.count(f"Each worker imports bad.part itself: its import {words}") == 1


def test_a_load_does_not_wait_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preloader, "_WAIT_SECONDS", 0.05)

    async def main() -> None:
        server = Server("slow", "hangs")
        await server.load("slow")
        assert await server.load() == []

    asyncio.run(main())


def test_a_handler_that_sets_a_variable_gets_workers_that_have_imported_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)

    async def main() -> None:
        server = Server()
        await server.load("numpy")
        spawners: list[Spawner] = []

        async def load(spawner: Spawner) -> dict[str, Any]:
            spawners.append(spawner)
            if cast(FakeSpawner, spawner).modules:
                raise EnvironmentChanged("COLOUR")
            return recorded("pandas", "polars", early=1)

        await server.preloader.load("/model", load)
        await server.preloader.load("/model", load)
        assert [cast(FakeSpawner, spawner).modules for spawner in spawners] == [["numpy"], [], []]
        # Of what it imports, only what comes before the variable is the same for others.
        assert await server.load() == ["numpy", "pandas"]

    asyncio.run(main())
    assert [message.startswith("/model imports all its modules") for message in caplog.messages].count(True) == 1


def test_the_variables_of_the_handler_for_all_models_are_set_before_its_imports(tmp_path: Path) -> None:
    (tmp_path / "h.py").write_text("import os\nos.environ['COLOUR'] = 'red'\nimport numpy\n")

    async def main() -> None:
        server = Server(handler=str(tmp_path / "h.py"))
        await server.preloader.start()
        before: list[list[str]] = []

        async def load(spawner: Spawner) -> dict[str, Any]:
            before.append(cast(FakeSpawner, spawner).modules)
            if before[-1]:
                raise EnvironmentChanged("COLOUR")
            return recorded("numpy", early=0, COLOUR="red")

        await server.preloader.try_handler(load)
        assert before == [["os", "numpy"], []]
        assert server.first.abandoned == server.first.adopted
        assert await server.load() == ["numpy"]
        assert server.first.requests[-1]["environment"] == {"COLOUR": "red"}

    asyncio.run(main())


def test_a_model_with_a_module_of_that_name_gets_workers_that_have_imported_nothing(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "numpy.py").write_text("")

    async def main() -> None:
        server = Server()
        await server.load("numpy", "scipy")
        assert await server.load(directory=str(tmp_path)) == []
        assert await server.load() == ["numpy", "scipy"]

    asyncio.run(main())


def test_the_number_of_spawners_is_limited() -> None:
    async def main() -> None:
        server = Server()
        for number in range(20):
            found = await server.load(f"package{number}")
        assert len(found) == preloader._MOST_SPAWNERS

    asyncio.run(main())


def test_without_another_process_the_first_spawner_goes_on() -> None:
    async def main() -> None:
        server = Server()
        server.first.cannot_fork = True
        await server.load("numpy")
        assert await server.load() == []

    asyncio.run(main())


@pytest.mark.parametrize("chosen, platform", [([], "linux"), (None, "darwin")])
def test_nothing_is_imported_once_if_the_user_or_the_system_does_not_want_it(
    chosen: list[str] | None, platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", platform)

    async def main() -> None:
        server = Server(chosen=chosen)
        await server.preloader.start()
        await server.load("numpy")
        assert await server.load() == []

    asyncio.run(main())


def test_chosen_modules_are_the_only_ones() -> None:
    async def main() -> None:
        server = Server(chosen=["json", "numpy"])
        await server.preloader.start()
        await server.load("pandas")
        assert await server.load() == ["json", "numpy"]
        assert server.first.requests[0]["chosen"] is True

    asyncio.run(main())
