"""Environments are made once, and are whole when they are used. What venv and pip do is stood in for."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import sys
import sysconfig
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from emulator.model_server.handlers import requirements
from emulator.model_server.http.response import RequestError
from emulator.model_server.workers import environments, spawner
from emulator.model_server.workers.environments import Environments
from emulator.model_server.workers.models import Models
from emulator.model_server.workers.preloader import Preloader


class Installer:
    """Stands for venv and pip, and for the processes that run in what they make."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.installs = 0
        self.during: Callable[[Path], Awaitable[None]] = self.nothing  # what happens while pip runs
        self.spawners: list[Any] = []
        self.path: list[str] = []  # where the packages are of the Python that environments are made on
        monkeypatch.setattr(environments, "_run", self.run)
        monkeypatch.setattr(environments, "_look", self.look)
        monkeypatch.setattr(spawner, "start_in", self.start_in)

    async def nothing(self, environment: Path) -> None:
        pass

    async def run(self, lock: int, *command: str, directory: str = "/") -> None:
        if "venv" in command:
            shutil.rmtree(command[-1], ignore_errors=True)
            (Path(command[-1]) / "bin").mkdir(parents=True)
        elif "install" in command:
            self.installs += 1
            await self.during(Path(command[0]).parent.parent)
            (Path(command[0]).parent.parent / "installed").write_text("whole")

    async def look(self, python: str) -> dict[str, Any]:
        return {"version": "3.10", "directories": [str(Path(python).parent)], "path": self.path, "pip": True}

    def start_in(self, python: str) -> Any:
        self.spawners.append(FakeSpawner(python))
        return self.spawners[-1]


class FakeSpawner:
    def __init__(self, python: str) -> None:
        self.environment, self.closed = Path(python).parent.parent, False
        self.is_used = True

    def attach(self, loop: asyncio.AbstractEventLoop, on_lost: Callable[[], None]) -> None:
        self.on_lost = on_lost

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def installer(monkeypatch: pytest.MonkeyPatch) -> Installer:
    return Installer(monkeypatch)


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "requirements.txt").write_text("tiny")
    return str(tmp_path / "model")


@pytest.fixture
def directory(tmp_path: Path) -> str:
    (tmp_path / "cache").mkdir()
    return str(tmp_path / "cache")


async def spawner_of(environments: Environments, model: str) -> Any:
    """That of a model that is loaded."""
    async with environments.spawner_for("m", model) as spawner:
        return spawner


def is_whole(spawner: Any) -> bool:
    return (spawner.environment / "installed").read_text() == "whole"


def test_loads_and_emulators_at_the_same_time_make_it_once(installer: Installer, model: str, directory: str) -> None:
    async def scenario() -> None:
        installer.during = lambda _: asyncio.sleep(0.01)
        one, other = Environments("python", directory), Environments("python", directory)
        found = await asyncio.gather(*(spawner_of(each, model) for each in (one, one, other)))
        assert found[0] is found[1] and all(map(is_whole, found))

    asyncio.run(scenario())
    assert installer.installs == 1 and len(installer.spawners) == 2


def test_what_was_interrupted_is_made_anew(installer: Installer, model: str, directory: str) -> None:
    async def look(environment: Path) -> None:
        assert not requirements.are_installed(str(environment))

    async def scenario() -> None:
        installer.during = look
        first: Any = await spawner_of(Environments("python", directory), model)
        (first.environment / requirements.INSTALLED).unlink()  # as it is until pip has ended
        (first.environment / "installed").write_text("half")
        assert is_whole(await spawner_of(Environments("python", directory), model))

    asyncio.run(scenario())
    assert installer.installs == 2


def test_what_fails_is_removed_and_tried_again(installer: Installer, model: str, directory: str) -> None:
    async def fail(environment: Path) -> None:
        raise environments._PipFailed("no space left on device")

    async def scenario() -> None:
        made_in = Environments("python", directory)
        installer.during = fail
        for _ in range(2):
            with pytest.raises(RequestError, match="^requirements.txt cannot be installed. pip says: no space left"):
                await spawner_of(made_in, model)
            assert not any(each.is_dir() for each in Path(directory).iterdir())
        installer.during = installer.nothing
        assert is_whole(await spawner_of(made_in, model))

    asyncio.run(scenario())


def test_a_load_that_is_given_up_does_not_stop_it_but_the_servers_end_does(
    installer: Installer, model: str, directory: str
) -> None:
    async def scenario() -> None:
        begun, goes_on = asyncio.Event(), asyncio.Event()

        async def wait(environment: Path) -> None:
            begun.set()
            await goes_on.wait()

        installer.during = wait
        made_in = Environments("python", directory)
        load = asyncio.create_task(spawner_of(made_in, model))
        await begun.wait()
        load.cancel()
        load = asyncio.create_task(spawner_of(made_in, model))
        goes_on.set()
        assert is_whole(await load) and installer.installs == 1

        goes_on.clear()
        (Path(model) / "requirements.txt").write_text("other")
        begun.clear()
        load = asyncio.create_task(spawner_of(made_in, model))
        await begun.wait()
        await made_in.stop_installing()
        with pytest.raises(RequestError, match="the server ends"):
            await load
        made_in.close()
        assert [each.closed for each in installer.spawners] == [True]

    asyncio.run(scenario())


def test_after_its_process_has_died_there_is_another_one(installer: Installer, model: str, directory: str) -> None:
    async def scenario() -> None:
        made_in = Environments("python", directory)
        first: Any = await spawner_of(made_in, model)
        assert await spawner_of(made_in, model) is first
        first.on_lost()
        second: Any = await spawner_of(made_in, model)
        assert first.closed and not second.closed

    asyncio.run(scenario())
    assert installer.installs == 1


def test_it_is_made_anew_for_other_packages_below_it(
    installer: Installer, model: str, directory: str, tmp_path: Path
) -> None:
    installed = tmp_path / "site-packages" / "tiny-1.0.dist-info"
    installed.mkdir(parents=True)
    installer.path = [str(tmp_path / "python310.zip"), str(installed.parent)]

    async def scenario() -> None:
        made_in = Environments("python", directory)
        first = await spawner_of(made_in, model)
        assert await spawner_of(made_in, model) is first
        installed.rename(installed.with_name("tiny-2.0.dist-info"))  # which pip took for what the file pins
        assert await spawner_of(made_in, model) is not first

    asyncio.run(scenario())
    assert installer.installs == 2


def test_a_process_without_models_ends_when_another_one_is_loaded(
    installer: Installer, model: str, directory: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        made_in: Any = Environments("python", directory)
        async with made_in.spawner_for("m", model) as first:
            first.is_used = False  # it has forked nothing yet
            assert await spawner_of(made_in, str(tmp_path)) is None
            assert not first.closed
        assert await spawner_of(made_in, model) is first and not first.closed  # for the next model with that file
        first.is_used = True
        await spawner_of(made_in, str(tmp_path))
        assert not first.closed
        first.is_used = False
        await spawner_of(made_in, str(tmp_path))
        assert first.closed
        assert await spawner_of(made_in, model) is not first

    asyncio.run(scenario())
    assert installer.installs == 1


def test_those_that_nobody_has_used_for_long_are_deleted_when_one_is_made(
    installer: Installer, model: str, directory: str
) -> None:
    def age(environment: Path) -> None:
        for path in (environment, environment / requirements.INSTALLED):
            if path.exists():
                os.utime(path, (0, 0))

    async def made(text: str, by: Environments) -> Path:
        (Path(model) / "requirements.txt").write_text(text)
        return (await spawner_of(by, model)).environment

    async def scenario() -> None:
        ended, running = Environments("python", directory), Environments("python", directory)
        unused, used_again = await made("unused", ended), await made("used again", ended)
        in_use = await made("in use", running)
        ended.close()
        unfinished, other = Path(directory, "0" * 24), Path(directory, "mine")
        unfinished.mkdir()
        other.mkdir()
        for each in (unused, used_again, in_use, unfinished, other):
            age(each)
        again = Environments("python", directory)
        await made("used again", again)
        again.close()
        new = await made("new", Environments("python", directory))
        assert {each for each in Path(directory).iterdir() if each.is_dir()} == {used_again, in_use, other, new}
        running.close()
        await made("newer", Environments("python", directory))
        assert not in_use.exists() and used_again.exists()

    asyncio.run(scenario())


def test_a_model_without_requirements_has_none(installer: Installer, tmp_path: Path, directory: str) -> None:
    assert asyncio.run(spawner_of(Environments("python", directory), str(tmp_path))) is None


def test_they_are_kept_where_only_this_user_gets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept = Path(environments.cache())
    assert kept == tmp_path / "localmme" / "environments"
    kept.chmod(0o755)
    environments.cache()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    kept.rename(tmp_path / "elsewhere")
    kept.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RequestError, match="is not this user's own directory. Set XDG_CACHE_HOME"):
        environments.cache()
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    with pytest.raises(RequestError, match="Set HOME or XDG_CACHE_HOME"):
        environments.cache()


def test_a_handler_that_misses_something_before_there_is_a_model_is_tried_with_the_models(
    monkeypatch: pytest.MonkeyPatch, directory: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def start(preloader: Preloader) -> None:
        pass

    async def fail(preloader: Preloader, load: Any) -> None:
        raise RequestError(500, "InternalServerException", "No module named 'torch'")

    monkeypatch.setattr(Preloader, "start", start)
    monkeypatch.setattr(Preloader, "try_handler", fail)
    no_spawner: Any = None
    with pytest.raises(RequestError):
        asyncio.run(Models(no_spawner, "handler.py", 1, 25.0, 60.0).prepare())
    asyncio.run(Models(no_spawner, "handler.py", 1, 25.0, 60.0, Environments("python", directory)).prepare())
    assert "No module named 'torch'" in caplog.text


def python(tmp_path: Path, script: str) -> str:
    (tmp_path / "python").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "python").chmod(0o755)
    return str(tmp_path / "python")


def test_a_program_in_front_of_python_may_say_something(tmp_path: Path) -> None:
    seen = asyncio.run(environments._look(python(tmp_path, f'echo Hello.\nexec {sys.executable} "$@"')))
    assert seen["version"] == sys.version and sysconfig.get_path("purelib") in seen["path"]


@pytest.mark.parametrize("script", ["echo Hello.", ""])
def test_a_program_that_is_no_python_is_an_error(tmp_path: Path, script: str) -> None:
    with pytest.raises(RequestError, match="python does not work: it does not run what follows -c"):
        asyncio.run(environments._look(python(tmp_path, script)))


def test_what_pip_says_may_be_long(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    says = "for size in 2000000 900000; do head -c $size /dev/zero | tr '\\0' a; echo; done; echo ERROR: b; exit 1"
    with open(tmp_path / "lock", "w") as lock, pytest.raises(environments._PipFailed, match="^b$"):
        asyncio.run(environments._run(lock.fileno(), "sh", "-c", says))
    assert "pip: aaa" in caplog.text and len(caplog.text) < 10_000
