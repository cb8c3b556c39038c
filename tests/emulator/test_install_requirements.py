"""Models' requirements.txt are installed in environments, which are kept."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.model_server_process import Embedded, embedded, obedient
from tests.support.waiting import eventually
from tests.support.wheels import wheel

USED = "import sys, tiny, uvloop\nreturn [tiny.VERSION, sys.prefix]"


def load(server: Embedded, name: str, requirements: str, file: str = "code/requirements.txt") -> str:
    """Load a model with a requirements.txt; the message of the answer, or nothing if it is loaded."""
    path = server.model(name) / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"--no-index --find-links {server.directory}/wheels\n{requirements}")
    answer = server.container.load(name, server.model(name))
    return "" if answer.status == 200 else str(json.loads(answer.body)["message"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    directory = tmp_path_factory.mktemp("requirements")
    for version in ("1.0", "2.0"):
        wheel(directory / "wheels", "tiny", version)
    arguments = ("--handler", obedient(directory), "--install-requirements")
    elsewhere = {"PIP_TARGET": str(directory / "elsewhere"), "PIP_USER": "1"}
    with embedded(directory, *arguments, XDG_CACHE_HOME=str(directory / "cache"), **elsewhere) as server:
        yield server


def test_each_model_has_its_own_versions_and_what_is_installed_for_all(server: Embedded, tmp_path: Path) -> None:
    for name, requirements in {"one": "tiny==1.0\n", "two": "tiny==2.0\n", "same": "tiny==2.0\n"}.items():
        assert load(server, name, requirements) == ""
    (one, prefix), two, same = (server.run(name, USED) for name in ("one", "two", "same"))
    assert (one, two[0]) == ("1.0", "2.0") and same == two
    assert prefix != two[1]
    told = "code/requirements.txt of model {} is installed for all models with that file. On SageMaker, it is not"
    assert told.format("two") in server.log() and told.format("same") not in server.log()

    # Another emulator finds them.
    arguments = ("--handler", obedient(tmp_path), "--install-requirements")
    with embedded(tmp_path, *arguments, XDG_CACHE_HOME=str(server.directory / "cache")) as other:
        other.directory = server.directory  # its models
        assert load(other, "one", "tiny==1.0\n") == ""
        assert other.run("one", USED) == ["1.0", prefix]
        assert "pip" not in other.log()


def test_when_the_process_of_an_environment_has_died_there_is_another_one(server: Embedded) -> None:
    assert load(server, "before", "tiny==1.0\n") == ""
    python = server.run("before", "import sys\nreturn [sys.executable]")[0]
    [spawner] = [each for each in psutil.Process(server.pid).children() if each.cmdline()[:1] == [python]]
    spawner.kill()
    eventually(lambda: "before" not in server.names())  # its worker has ended
    assert load(server, "after", "tiny==1.0\n") == ""
    assert server.run("after", USED)[0] == "1.0"


def test_the_process_of_an_environment_ends_after_its_last_model(server: Embedded) -> None:
    for name in server.names():
        server.container.unload(name)
    for name in ("first", "last"):
        assert load(server, name, "tiny==1.0\n") == ""
    python = server.run("last", "import sys\nreturn [sys.executable]")[0]

    def is_there() -> bool:
        return [python] in [each.cmdline()[:1] for each in psutil.Process(server.pid).children()]

    server.container.unload("first")
    server.loaded("other")
    assert is_there()
    server.container.unload("last")
    server.loaded("another")
    assert not is_there()
    assert load(server, "next", "tiny==1.0\n") == ""


def test_a_model_without_requirements_runs_as_ever(server: Embedded) -> None:
    server.loaded("without")
    assert server.run("without", "import sys\nreturn [sys.prefix]") == [sys.prefix]


def test_what_pip_cannot_install_is_the_error_of_the_load(server: Embedded) -> None:
    for file in ("code/requirements.txt", "requirements.txt"):
        message = load(server, file.replace("/", "_"), "tiny==3.0\n", file)
        assert message.startswith(f"{file} cannot be installed. pip says: ")
        assert "No matching distribution found for tiny==3.0. Mend the file" in message
    kept = list((server.directory / "cache/localmme/environments").glob("*/"))
    assert all((directory / "localmme-requirements.txt").exists() for directory in kept if directory.is_dir())
