"""``--reload``: a handler that changes is served at the next call, without a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.support.emulator_process import Emulator
from tests.support.files import archive
from tests.support.model_server_process import Embedded, embedded
from tests.support.processes import open_files_and_threads
from tests.support.waiting import eventually

HANDLER = """
from helper import answer

def handle(data, context):
    return [answer(data)] if data else None
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """The handler's directory."""
    directory = tmp_path / "code"
    directory.mkdir()
    (directory / "handler.py").write_text(HANDLER)
    answers(directory, "first")
    return directory


@pytest.fixture
def server(tmp_path: Path, code: Path) -> Iterator[Embedded]:
    with embedded(tmp_path / "server", "--reload", "--handler", str(code / "handler.py")) as server:
        assert server.load("a").status == 200
        yield server


def answers(code: Path, expression: str) -> None:
    """Let the handler answer that from now on; in the helper, as a text, or as an expression in braces."""
    (code / "helper.py").write_text(f"import os, time\ndef answer(data): return f'{expression}'\n")


def open_files(server: Embedded) -> int:
    """Of the server and all its processes."""
    files = 0
    for process in (psutil.Process(server.pid), *server.processes()):
        with suppress(OSError, psutil.Error):  # it has just ended
            files += open_files_and_threads(process)[0]
    return files


def test_the_next_call_is_answered_by_the_new_handler(server: Embedded, code: Path) -> None:
    assert server.invoke("a", b"x").body == b"first"
    pids, files = set(), open_files(server)
    # Of the same size, and within a second: Python alone would take the file for the one that it has compiled.
    for number in range(100, 120):
        answers(code, f"{number} {{os.getpid()}}")
        said, pid = server.invoke("a", b"x").body.split()
        assert int(said) == number
        pids.add(int(pid))
        assert server.invoke("a", b"x").body.split()[1] == pid  # nothing has changed
    assert len(pids) == 20
    eventually(lambda: [worker.pid for worker in server.workers()] == [int(pid)], what="older workers have ended")
    eventually(lambda: open_files(server) <= files, what="no file is left open")


def test_a_handler_that_cannot_be_imported_answers_so_until_it_is_mended(server: Embedded, code: Path) -> None:
    (code / "handler.py").write_text("import a_module_yet_to_be_written\n" + HANDLER)
    for _ in range(2):
        answer = server.invoke("a", b"x")
        assert answer.status == 500 and "No module named 'a_module_yet_to_be_written'" in answer.body.decode()
    (code / "a_module_yet_to_be_written.py").touch()
    assert server.invoke("a", b"x").body == b"first"
    assert server.log().count("Model a is loaded anew: handler.py changed") == 2


WAITS = """
import pathlib, time

def answer(data):
    pathlib.Path("begun").touch()
    while not pathlib.Path("go-on").exists():
        time.sleep(0.01)
    return "old"
"""


def test_a_call_under_way_is_answered_by_the_handler_that_began_it(server: Embedded, code: Path) -> None:
    (code / "helper.py").write_text(WAITS)
    model = server.model("a")  # its directory, in which handlers run
    under_way = server.start(server.invoke, "a", b"x")
    eventually((model / "begun").exists)
    answers(code, "new")
    assert server.invoke("a", b"x").body == b"new"
    (model / "go-on").touch()
    assert under_way.result().body == b"old"


def test_a_load_that_hangs_ends_when_its_handler_is_mended(server: Embedded, code: Path) -> None:
    part = code / "package" / "part.py"
    part.parent.mkdir()
    part.touch()
    (code / "handler.py").write_text("import package.part\n" + HANDLER)
    assert server.invoke("a", b"x").body == b"first"
    answering = server.workers()
    hangs = "import pathlib, time; pathlib.Path('begun').touch()\nwhile True: time.sleep(1)\n"
    part.write_text(hangs)
    waiting = server.start(server.invoke, "a", b"x")
    eventually((server.model("a") / "begun").exists)
    part.write_text("")
    assert server.invoke("a", b"x").body == b"first" == waiting.result().body
    eventually(lambda: len(server.workers()) == 1 and server.workers() != answering, what="older workers have ended")
    # Nor does it outlast its model.
    (server.model("a") / "begun").unlink()
    part.write_text(hangs)
    waiting = server.start(server.invoke, "a", b"x")
    eventually((server.model("a") / "begun").exists)
    assert server.container.unload("a").status == 200
    assert waiting.result().status == 404 and server.workers() == []


def test_callers_at_once_load_it_once(server: Embedded, code: Path) -> None:
    answers(code, "{os.getpid()}")
    with ThreadPoolExecutor(8) as callers:
        bodies = {answer.body for answer in callers.map(lambda _: server.invoke("a", b"x"), range(16))}
    assert len(bodies) == 1


def test_a_model_is_unloaded_with_its_newer_workers(server: Embedded, code: Path) -> None:
    answers(code, "second")
    assert server.invoke("a", b"x").body == b"second"
    assert server.container.unload("a").status == 200
    assert server.workers() == [] and server.names() == []


def test_serve_reloads_handlers(serve: Callable[..., Emulator], bucket: Path, code: Path) -> None:
    archive(bucket / "a.tar.gz", {"weights": "1"})
    emulator = serve("--models", str(bucket), "--handler", str(code / "handler.py"), "--reload")
    assert emulator.invoke("a.tar.gz") == b"first"
    answers(code, "second")
    assert emulator.invoke("a.tar.gz") == b"second"
