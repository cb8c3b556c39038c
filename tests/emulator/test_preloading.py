"""What handlers import is imported once, in a process from which the workers are forked."""

from __future__ import annotations

import os
import signal
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from emulator.model_server.workers.spawner import OOM_PREFERENCE
from tests.support.model_server_process import OBEDIENT, Embedded, embedded
from tests.support.processes import wait_until_ended
from tests.support.waiting import eventually

PID = "import os\npid = os.getpid()\n"
# Packages as pip installs them, by name. Each says in which process it was imported.
PACKAGES = {
    "shared": PID,
    "lazy": PID,
    "numpy": PID,
    "numpy.random": "calls = []\ndef seed(): calls.append(1)\n",
    "threaded": PID + "import threading, time\nthreading.Thread(target=time.sleep, args=[3600], daemon=True).start()\n",
    "listening": PID + "import socket\nlistener = socket.create_server(('127.0.0.1', 0))\n",
    "opened": PID + "file = open(__file__)\n",
    "forking": PID + "import atexit, subprocess\natexit.register(subprocess.Popen(['sleep', '3600']).kill)\n",
    "signalling": PID + "import signal\nsignal.signal(signal.SIGUSR1, print)\n",
    "nested": PID + "import threading, time\nthreading.Thread(target=time.sleep, args=[3600], daemon=True).start()\n",
    "nested.deep": PID + "import os\n",
    "nested.er": "",
    "variable": PID + "colour = os.environ.get('COLOUR')\n",
    # Imported for the first time, it ends its process.
    "dying": PID + "try: os.mkdir(__file__ + '.begun')\nexcept FileExistsError: pass\nelse: os._exit(3)\n",
}  # fmt: skip
UNFIT = {
    "threaded": "starts a thread",
    "listening": "opens a socket",
    "opened": "leaves a file open",
    "forking": "starts a process",
    "signalling": "installs a signal handler",
    "dying": "ends the process",
}


def packages(directory: Path) -> dict[str, str]:
    """The environment in which the packages are installed."""
    installed = directory / "site-packages"
    for name, text in PACKAGES.items():
        module, _, submodule = name.partition(".")
        path = installed / module / f"{submodule or '__init__'}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return {"PYTHONPATH": str(installed)}


def handler(directory: Path, *unfit: str) -> str:
    path = directory / "handler" / "handler.py"
    path.parent.mkdir()
    imports = ", ".join(["shared", "numpy.random", "beside", *unfit])
    path.with_name("beside.py").write_text(PID)  # a file of its own, which is not a package
    path.write_text(f"import {imports}\n{OBEDIENT}")
    return str(path)


def is_shared(server: Embedded, model: str, *modules: str) -> dict[str, bool]:
    """For each of these modules, whether it was imported in another process than the model's worker."""
    body = f"import {', '.join(modules)}\nreturn [[m.pid for m in ({', '.join(modules)},)], os.getpid()]"
    found, own = server.run(model, body)
    return {module: pid != own for module, pid in zip(modules, found)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """One for all tests that load models into it."""
    directory = tmp_path_factory.mktemp("preloading")
    with embedded(directory, "--handler", handler(directory, *UNFIT), **packages(directory)) as server:
        yield server


def test_the_handlers_packages_are_imported_once_and_its_own_files_in_each_worker(server: Embedded) -> None:
    for name in ("first", "second"):
        server.loaded(name)
        assert is_shared(server, name, "shared", "numpy", "beside") == {"shared": True, "numpy": True, "beside": False}
    assert "Imported once for all workers: numpy, shared" in server.log()


def test_what_does_not_survive_a_fork_is_left_to_each_worker_which_the_log_says_once(server: Embedded) -> None:
    server.loaded("unfit")
    assert is_shared(server, "unfit", *UNFIT) == dict.fromkeys(UNFIT, False)
    for module, reason in UNFIT.items():
        assert server.log().count(f"Each worker imports {module} itself: its import {reason}") == 1


def test_what_a_model_imports_when_it_is_loaded_the_next_one_finds(server: Embedded) -> None:
    assert not is_shared(server, server.loaded("learns", "import lazy"), "lazy")["lazy"]
    assert is_shared(server, server.loaded("has_learned", "import lazy"), "lazy", "shared") == {
        "lazy": True,
        "shared": True,
    }


def test_a_models_own_module_comes_before_a_package_of_that_name(server: Embedded) -> None:
    server.loaded("own", shared=PID + "mine = True")
    assert server.run("own", "return shared.mine")
    assert is_shared(server, "own", "shared", "numpy") == {"shared": False, "numpy": False}
    assert is_shared(server, server.loaded("not_own"), "shared")["shared"]


def test_numbers_are_random_in_each_worker(server: Embedded) -> None:
    draw = "import random, uuid\nreturn [random.random(), str(uuid.uuid4()), len(numpy.random.calls)]"
    drawn = [server.run(server.loaded(name), draw) for name in ("one", "other")]
    assert drawn[0][0] != drawn[1][0] and drawn[0][1] != drawn[1][1]
    assert [seeded for _, _, seeded in drawn] == [1, 1]


def test_a_handler_may_use_threads_and_processes(server: Embedded) -> None:
    server.loaded("busy")
    body = """
        import concurrent.futures, multiprocessing
        with concurrent.futures.ThreadPoolExecutor(4) as threads, multiprocessing.get_context("fork").Pool(2) as pool:
            return [list(threads.map(abs, [-1, -2])), pool.map(abs, [-3, -4])]
    """
    assert server.run("busy", textwrap.dedent(body)) == [[1, 2], [3, 4]]


def test_a_worker_is_killed_for_memory_before_what_all_workers_need(server: Embedded) -> None:
    def preference(pid: int) -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    worker = server.pid_of(server.loaded("large"))
    spawner = psutil.Process(worker).ppid()
    own = preference(os.getpid())
    assert [preference(pid) for pid in (worker, spawner, server.pid)] == [max(OOM_PREFERENCE, own), own, own]


def test_an_unload_ends_the_worker_and_leaves_what_is_shared(server: Embedded) -> None:
    server.loaded("away")
    worker = psutil.Process(server.pid_of("away"))
    parent = worker.parent()
    assert server.container.unload("away").status == 200
    assert not worker.is_running() and parent is not None and parent.is_running()


SETTING = "import os\nos.environ['COLOUR'] = 'red'\nimport variable, shared\n"


def test_a_handler_that_sets_a_variable_for_its_packages_has_them_imported_with_it(tmp_path: Path) -> None:
    file = tmp_path / "handler.py"
    file.write_text(SETTING + OBEDIENT)
    with embedded(tmp_path / "server", "--handler", str(file), COLOUR="blue", **packages(tmp_path)) as server:
        server.loaded("m")
        assert server.run("m", "return [variable.colour, os.environ['COLOUR']]") == ["red", "red"]
        assert is_shared(server, "m", "variable", "shared") == {"variable": True, "shared": True}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A server whose models have handlers of their own."""
    directory = tmp_path_factory.mktemp("archives")
    with embedded(directory, **packages(directory)) as server:
        yield server


def test_handlers_in_archives_share_their_packages(archives: Embedded) -> None:
    archives.loaded("a", code__inference="import variable, shared\n" + OBEDIENT)
    archives.loaded("b", code__inference="import variable\n" + OBEDIENT)
    assert is_shared(archives, "b", "variable") == {"variable": True}
    archives.loaded("bad", code__inference="import variable, nested.deep, nested.er\n" + OBEDIENT)
    archives.loaded("good", code__inference="import variable\n" + OBEDIENT)
    assert is_shared(archives, "good", "variable") == {"variable": True}
    assert archives.log().count("Each worker imports nested itself: its import starts a thread") == 1
    assert archives.log().count("Each worker imports") == 1
    archives.loaded("red", code__inference=SETTING + OBEDIENT)
    assert archives.run("red", "return [variable.colour]") == ["red"]
    assert is_shared(archives, "red", "variable", "shared") == {"variable": False, "shared": False}
    assert archives.log().count("sets the environment variable COLOUR") == 1


def test_chosen_modules_are_imported_and_no_others(tmp_path: Path) -> None:
    arguments = ("--handler", handler(tmp_path), "--preload", "lazy,missing")
    with embedded(tmp_path / "server", *arguments, **packages(tmp_path)) as server:
        server.loaded("m")
        assert is_shared(server, "m", "lazy", "shared") == {"lazy": True, "shared": False}
        assert "missing cannot be imported for all workers: ModuleNotFoundError" in server.log()


@pytest.mark.parametrize("whom", ["server", "spawner"])
def test_a_kill_leaves_no_worker(tmp_path: Path, whom: str) -> None:
    arguments = ("--handler", handler(tmp_path), "--preload", "shared")
    with embedded(tmp_path / "server", *arguments, **packages(tmp_path)) as server:
        server.loaded("m")
        server.loaded("busy")
        spawner = server.run("m", "return os.getppid()")
        processes = server.processes()
        assert len(processes) == 4
        begun = tmp_path / "begun"
        server.start(server.invoke, "busy", f"open({str(begun)!r}, 'w').close()\ntime.sleep(3600)")
        eventually(begun.exists)
        os.kill(server.pid if whom == "server" else spawner, signal.SIGKILL)
        wait_until_ended(processes)


def test_without_preloading_each_worker_imports_all(tmp_path: Path) -> None:
    arguments = ("--handler", handler(tmp_path), "--preload", "")
    with embedded(tmp_path / "server", *arguments, **packages(tmp_path)) as server:
        server.loaded("m")
        assert is_shared(server, "m", "shared", "numpy") == {"shared": False, "numpy": False}
        assert len(server.processes()) == 2
