"""The whole emulator with containers on a real Docker Engine: served, evicted, killed, replaced, and nothing left."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
import psutil
import pytest

from emulator.containers.docker.leftovers import HOST_LABEL, OWNER_LABEL, PID_LABEL, machine
from tests.support.aws_clients import refused
from tests.support.command_line import localmme
from tests.support.emulator_in_process import InProcessEmulator, in_process_emulators
from tests.support.emulator_process import Emulator, RunningEmulator
from tests.support.endpoint_files import described
from tests.support.files import archive, files_below
from tests.support.losing_an_instance import lose_one_under_load
from tests.support.passing_the_memory_limit import (
    MEMORY,
    NO_RESPONSE,
    assert_the_container_is_replaced,
    write_models,
)
from tests.support.processes import wait_until_ended
from tests.support.real_servers.images import FROM, MULTI_MODEL_LABEL, Images
from tests.support.repository import REPOSITORY
from tests.support.scripted_models import scripted_model
from tests.support.waiting import eventually

pytestmark = pytest.mark.docker

MB = 10**6
SOCKET = "/var/run/docker.sock"
QUICK = ("--limit", "poll_seconds=0.2", "--limit", "ping_seconds=0.5", "--limit", "stop_seconds=1")
# The least that a container must be silent to be replaced: longer than a busy machine lets it wait.
SILENT = ("--limit", "poll_seconds=0.2", "--limit", "ping_seconds=1", "--limit", "unhealthy_pings=3")
# The files of an image that runs what the Dockerfile says, with the scripted container.
COPY_SCRIPTED = f"{FROM}{MULTI_MODEL_LABEL}COPY scripted_container.py /\n"

Run = Callable[..., Emulator]
RunHere = Callable[..., InProcessEmulator]


@pytest.fixture(autouse=True)
def _leaves_nothing(engine: docker.DockerClient, tmp_path: Path) -> Iterator[None]:
    """After the test, the engine has no container of an emulator whose state directory is the test's."""
    yield
    left = below(engine, tmp_path)
    for container in left:
        with contextlib.suppress(docker.errors.APIError):
            container.remove(force=True)
    assert not left, f"left on the engine: {[container.name for container in left]}"


@pytest.fixture
def run(start: Run, images: Images, bucket: Path) -> Run:
    """Start an emulator of an image, without waiting; keyword arguments are the scripted container's cues."""

    def run(*arguments: str, image: str = "", environment: dict[str, str] | None = None, **script: Any) -> Emulator:
        return start(*of_image(image or images.scripted(), bucket, script), *arguments, environment=environment)

    return run


@pytest.fixture
def run_here(images: Images, bucket: Path, tmp_path: Path) -> Iterator[RunHere]:
    """The same in the tests' own process, for what needs no more: a second of processor time less."""
    with in_process_emulators(tmp_path / "here") as start:

        def run_here(
            *arguments: str, image: str = "", environment: dict[str, str] | None = None, **script: Any
        ) -> InProcessEmulator:
            return start(*of_image(image or images.scripted(), bucket, script), *arguments, environment=environment)

        yield run_here


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as pool:
        yield pool


def of_image(image: str, bucket: Path, script: dict[str, Any]) -> list[str]:
    """The options of ``serve`` for the scripted container in an image. Its journal is a part of its log."""
    variables = {"SCRIPT_JOURNAL": "/dev/stdout", "SCRIPT": json.dumps(script)}
    settings = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
    return ["--models", str(bucket), "--image", image, *settings]


def below(engine: docker.DockerClient, directory: Path) -> list[Any]:
    """The containers of all emulators that keep their state below a directory."""
    listed = engine.containers.list(all=True, filters={"label": OWNER_LABEL}, ignore_removed=True)
    return [each for each in listed if each.labels[OWNER_LABEL].startswith(f"{directory}/")]


def ours(engine: docker.DockerClient, emulator: RunningEmulator) -> list[Any]:
    """The containers of one emulator."""
    label = f"{OWNER_LABEL}={emulator.state_directory}"
    return engine.containers.list(all=True, filters={"label": label}, ignore_removed=True)


def only(engine: docker.DockerClient, emulator: RunningEmulator) -> Any:
    (container,) = ours(engine, emulator)
    return container


def journal(emulator: RunningEmulator, call: str | None = None) -> list[dict[str, Any]]:
    """What the scripted container wrote down, as the emulator's log has it."""
    lines = [line.partition("| ")[2] for line in list(emulator.errors)]
    entries = [json.loads(line) for line in lines if line.startswith('{"time"')]
    return [entry for entry in entries if call is None or entry.get("call") == call]


def restarts(emulator: RunningEmulator) -> int:
    return emulator.container()["restarts"]


def pause(container: Any) -> None:
    """Pause it, at another attempt where the engine cannot freeze its processes: on a busy machine runc gives up."""

    def is_paused() -> bool:
        with contextlib.suppress(docker.errors.APIError):
            container.pause()
            return True
        return False

    eventually(is_paused)


def kill(emulator: Emulator) -> None:
    """kill -9 of the master and the worker, without a moment for either to notice."""
    master = psutil.Process(emulator.pid)
    with contextlib.suppress(psutil.NoSuchProcess):
        master.suspend()  # so that it makes no further worker
        for process in (*master.children(recursive=True), master):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    emulator.wait()


# Serving


def test_models_are_loaded_evicted_and_loaded_again(run: Run, bucket: Path, engine: docker.DockerClient) -> None:
    for name in "abc":
        scripted_model(bucket / f"{name}.tar.gz", f"I am {name}", invoke={"environment": True})
    options = ("--max-loaded-models", "2", "--memory", "256MiB", "--instance-type", "ml.m5.large", "--env", "A=x=y z")
    emulator = run(*options).wait_in_service()

    answer = emulator.invoke("a.tar.gz")
    assert answer["answer"] == "I am a"
    environment = answer["environment"]
    assert environment["SAGEMAKER_MULTI_MODEL"] == "true" and environment["A"] == "x=y z"
    assert "SAGEMAKER_BIND_TO_PORT" not in environment and "HOME" in environment
    assert environment.get("VIRTUAL_ENV") is None, "nothing of the emulator's own"
    assert answer["host_name"] == "primary"
    eventually(lambda: journal(emulator, "load"), what="the line has come through the log")
    (load,) = journal(emulator, "load")
    assert re.fullmatch(r"/opt/ml/models/[0-9a-f]{32}/model", load["url"])
    assert load["model"] == load["url"].split("/")[4] == answer["model_name"]

    for name, in_memory in (("b", "ab"), ("c", "bc"), ("a", "ac")):
        assert emulator.invoke(f"{name}.tar.gz")["answer"] == f"I am {name}"
        assert emulator.in_memory() == {f"{each}.tar.gz" for each in in_memory}
    assert (emulator.model("a.tar.gz")["loads"], emulator.model("a.tar.gz")["downloads"]) == (2, 1)
    emulator.wait_until_logged("2 models are loaded, the most that are allowed")

    container = only(engine, emulator)
    # What it was made as.
    assert container.attrs["Args"][-1] == "serve"
    host = container.attrs["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 256 * 2**20
    assert host["NanoCpus"] == min(2, engine.info()["NCPU"]) * 10**9
    assert not host["Privileged"] and not host["Init"]
    labels = container.labels
    assert labels[OWNER_LABEL] == str(emulator.state_directory) and labels[HOST_LABEL] == machine()
    assert labels[PID_LABEL] == str(emulator.worker().pid)
    # What it really has: the limit, the files, and no way to change them.
    limit = "cat /sys/fs/cgroup/memory.max || cat /sys/fs/cgroup/memory/memory.limit_in_bytes"  # cgroup version 2, 1
    assert str(256 * 2**20) in container.exec_run(["sh", "-c", limit]).output.decode()
    url = load["url"]
    assert container.exec_run(["cat", f"{url}/answer.txt"]).output == b"I am a"
    for command in (["touch", "/opt/ml/models/new"], ["touch", f"{url}/new"], ["rm", f"{url}/answer.txt"]):
        code, output = container.exec_run(command)
        assert code != 0 and b"Read-only file system" in output

    # What the emulator tells.
    listed = localmme("models", "--url", emulator.url)
    assert listed.returncode == 0 and all(f"{name}.tar.gz" in listed.stdout for name in "abc")
    memory = emulator.instance()["memory"]
    assert MB < memory["used_bytes"] < memory["budget_bytes"] == 256 * 2**20
    state = emulator.container()
    assert (state["name"], state["healthy"], state["restarts"]) == ("primary", True, 0)
    log = emulator.state_directory / "logs" / "local" / "AllTraffic" / "i-1" / "primary.log"
    assert '"event": "start"' in log.read_text()

    assert emulator.stop() == 0
    assert '"event": "sigterm"' in log.read_text()
    assert len(emulator.output) == 1
    assert "Creating" not in emulator.log and "Loading" not in emulator.log and "\x1b" not in emulator.log, "a pipe"
    assert ours(engine, emulator) == [] and not files_below(emulator.state_directory / "instances")


def test_a_container_of_a_single_model_sees_it(images: Images, tmp_path: Path, engine: docker.DockerClient) -> None:
    scripted_model(tmp_path / "model.tar.gz", "I am alone", invoke={"environment": True})
    container = {"Image": images.scripted(), "ModelDataUrl": str(tmp_path / "model.tar.gz")}
    with in_process_emulators(tmp_path) as start:
        emulator = start(described(tmp_path / "endpoint.yaml", {"single": [container]})).wait_in_service()
        response = emulator.client().invoke_endpoint(EndpointName="local", Body=b"{}")
        answer = json.loads(response["Body"].read())
        assert answer["answer"] == "I am alone" and "SAGEMAKER_MULTI_MODEL" not in answer["environment"]
        code, output = only(engine, emulator).exec_run(["touch", "/opt/ml/model/new"])
    assert code != 0 and b"Read-only file system" in output


# Memory


def test_models_are_evicted_before_the_kernel_kills(run_here: RunHere, bucket: Path, pool: ThreadPoolExecutor) -> None:
    """The container never says that memory is short: the emulator measures it, also when many are loaded at once."""
    sizes = [40, 60, 50, 70, 45, 65, 55, 40, 80, 60, 50, 70]
    names = [f"{number}.tar.gz" for number in range(len(sizes))]
    for name, megabytes in zip(names, sizes):
        scripted_model(bucket / name, f"I am {name}", load={"megabytes": megabytes})
    emulator = run_here("--memory", "600MB").wait_in_service()
    orders = [names, names[::-1], random.Random(1).sample(names, len(names))]
    for order in orders:
        for name in order:
            assert emulator.invoke(name)["answer"] == f"I am {name}"
            memory = emulator.instance()["memory"]
            assert memory["used_bytes"] < 600 * MB
        assert len(emulator.in_memory()) >= 5
    assert restarts(emulator) == 0 and "memory pressure" in emulator.log
    assert "answered 507" not in emulator.log
    # What is said to be in use is what these models take, and the server.
    expected = sum(sizes[names.index(name)] for name in emulator.in_memory()) * 2**20
    assert expected < emulator.instance()["memory"]["used_bytes"] < expected + 60 * MB

    turns = random.Random(2).choices(names, k=60)
    answers = list(pool.map(emulator.invoke, turns))
    assert [answer["answer"] for answer in answers] == [f"I am {name}" for name in turns]
    assert restarts(emulator) == 0 and len(emulator.in_memory()) >= 5


def test_a_container_that_passes_its_memory_is_killed_and_its_models_are_served_again(
    run_here: RunHere, bucket: Path, engine: docker.DockerClient
) -> None:
    write_models(bucket)
    emulator = run_here(*MEMORY).wait_in_service()
    assert_the_container_is_replaced(emulator, "the kernel killed it at 150 MiB (exit code 137)")
    assert len(ours(engine, emulator)) == 1
    assert "its memory is limited to 150 MiB, by the kernel" in emulator.log


# Containers that fail


@pytest.fixture(scope="module")
def often_replaced(
    engine: docker.DockerClient, images: Images, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[InProcessEmulator]:
    """An emulator of several tests, whose container ends in each of them."""
    directory = tmp_path_factory.mktemp("replaced")
    scripted_model(directory / "s3" / "a", "I am a")
    scripted_model(directory / "s3" / "deadly", invoke={"die": 3})
    arguments = of_image(images.scripted(), directory / "s3", {"start": {"ignore_sigterm": True}})
    limits = (*SILENT, "--limit", "stop_seconds=1")
    with in_process_emulators(directory) as start:
        yield (emulator := start(*arguments, *limits).wait_in_service())
    assert ours(engine, emulator) == []


@pytest.mark.parametrize(
    "trouble, words",
    [
        (lambda container: container.kill(), "it was killed (exit code 137)"),
        (lambda container: container.remove(force=True), "it was "),
        (lambda container: container.stop(timeout=0), "it was killed (exit code 137)"),
        (pause, "health checks in a row"),
    ],
    ids=["killed", "removed", "stopped", "paused"],
)
def test_a_container_that_others_end_is_replaced(
    often_replaced: InProcessEmulator, engine: docker.DockerClient, trouble: Callable[[Any], None], words: str
) -> None:
    often_replaced.invoke("a")
    old, before, loads = only(engine, often_replaced), restarts(often_replaced), often_replaced.model("a")["loads"]
    logged = len(often_replaced.errors)
    trouble(old)
    eventually(lambda: restarts(often_replaced) == before + 1)
    assert often_replaced.invoke("a")["answer"] == "I am a"
    assert only(engine, often_replaced).id != old.id
    eventually(lambda: words in "\n".join(often_replaced.errors[logged:]))
    model = often_replaced.model("a")
    assert (restarts(often_replaced), model["downloads"], model["loads"]) == (before + 1, 1, loads + 1)


def test_a_container_that_dies_in_a_call_fails_it_and_answers_the_next(often_replaced: InProcessEmulator) -> None:
    before, logged = restarts(often_replaced), len(often_replaced.errors)
    response = refused(often_replaced.invoke, "deadly").response
    assert NO_RESPONSE in response["Error"]["Message"]
    eventually(lambda: restarts(often_replaced) == before + 1)
    assert often_replaced.invoke("a")["answer"] == "I am a"
    eventually(lambda: "it ended with exit code 3" in "\n".join(often_replaced.errors[logged:]))


def test_instances_fail_and_are_replaced_while_others_serve(
    run_here: RunHere, bucket: Path, engine: docker.DockerClient
) -> None:
    def kill(emulator: RunningEmulator, described: dict[str, Any]) -> None:
        address = described["address"].rsplit(":", 1)[0]
        for container in ours(engine, emulator):
            networks = container.attrs["NetworkSettings"]["Networks"].values()
            if any(network["IPAddress"] == address for network in networks):
                container.kill()

    emulators: list[InProcessEmulator] = []

    def has_let_them_listen() -> bool:
        with contextlib.suppress(docker.errors.APIError):  # one that does not run yet, or no more
            there = ours(engine, emulators[0])
            return len(there) == 3 and not any(each.exec_run(["touch", "/listen"]).exit_code for each in there)
        return False

    def serve(*arguments: str, **script: Any) -> InProcessEmulator:
        emulators.append(run_here(*arguments, **script))
        eventually(has_let_them_listen)
        return emulators[0].wait_in_service()

    emulator = lose_one_under_load(serve, bucket, kill, {"until": "/listen"}, lambda: eventually(has_let_them_listen))
    assert len(ours(engine, emulator)) == 3


class Way:
    """A socket by which an emulator reaches the engine, until it is closed for a while."""

    def __init__(self, address: Path) -> None:
        self.open = True
        self.address = f"unix://{address}"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(address))
        self._listener.listen(100)
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Drop what is connected, and whoever comes."""
        self.open = False
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        self.close()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller = self._listener.accept()[0]
                if not self.open:
                    caller.close()
                    continue
                engine = socket.socket(socket.AF_UNIX)
                engine.connect(SOCKET)
                self._connections += [caller, engine]
                for ends in ((caller, engine), (engine, caller)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def way(tmp_path: Path) -> Iterator[Way]:
    if not Path(SOCKET).is_socket():
        pytest.skip(f"the engine is not at {SOCKET}")
    way = Way(tmp_path / "engine.sock")
    yield way
    way.end()


def test_an_engine_may_be_away_for_a_while(
    way: Way, run_here: RunHere, bucket: Path, engine: docker.DockerClient
) -> None:
    for name in "ab":
        scripted_model(bucket / name, f"I am {name}")
    limits = (*SILENT, "--limit", "stop_seconds=1")
    emulator = run_here(*limits, environment={"DOCKER_HOST": way.address}).wait_in_service()
    assert emulator.invoke("a")["answer"] == "I am a"
    # The container runs on, and is served by; that it ended meanwhile or later is noticed.
    way.close()
    assert [emulator.invoke(name)["answer"] for name in "ab"] == ["I am a", "I am b"]
    way.open = True
    assert restarts(emulator) == 0
    only(engine, emulator).kill()
    eventually(lambda: restarts(emulator) == 1)
    assert emulator.invoke("a")["answer"] == "I am a"
    # One that has to be replaced meanwhile is, once the engine is back; and then there are not two of them.
    stuck = only(engine, emulator)
    pause(stuck)
    way.close()
    emulator.wait_until_logged("does not answer")
    way.open = True
    eventually(lambda: emulator.container()["healthy"])
    assert emulator.invoke("a")["answer"] == "I am a"
    assert only(engine, emulator).id != stuck.id
    assert restarts(emulator) == 2


# What cannot work


def failed(emulator: InProcessEmulator) -> str:
    """What an emulator says that cannot create its endpoint: one error."""
    assert emulator.wait() == 3
    assert not emulator.output
    assert emulator.log.count("Error: ") == 1 and "Traceback" not in emulator.log
    return emulator.log[emulator.log.index("Error: ") :]


def test_a_missing_engine_is_explained(run_here: RunHere) -> None:
    error = failed(run_here(environment={"DOCKER_HOST": "unix:///nonexistent.sock"}))
    assert error.startswith("Error: There is no Docker Engine at unix:///nonexistent.sock: No such file or directory.")
    assert "Start Docker, or name another by DOCKER_HOST" in error and "\n" not in error


def test_a_missing_image_is_explained(run_here: RunHere, images: Images) -> None:
    tag = images.scripted()
    name = tag.partition(":")[0]
    error = failed(run_here(image=f"{name}:none"))
    assert f"There is no image {name}:none on the Docker Engine" in error and f"docker build -t {name}:none ." in error
    assert f"The engine has {name}:" in error and "\n" not in error


def test_a_container_that_ends_at_once_is_explained(run_here: RunHere) -> None:
    error = failed(run_here(start={"exit": 7, "lines": [f"line {n}" for n in range(30)] + ["no GPU here"]}))
    assert error.startswith("Error: The primary container for production variant AllTraffic did not pass the ping")
    assert "It ended with exit code 7 before it was healthy." in error
    assert error.endswith("line 29\n      no GPU here") and "line 5\n" not in error


def test_a_container_that_is_never_healthy_is_explained(run_here: RunHere) -> None:
    error = failed(run_here("--limit", "startup_seconds=1.5", *QUICK, start={"listen": False}))
    assert "AllTraffic did not pass the ping health check. " in error
    assert "It was not healthy within 1.5 s: " in error


# Ending


def test_sigterm_stops_and_removes_the_containers(
    run: Run, bucket: Path, engine: docker.DockerClient, pool: ThreadPoolExecutor
) -> None:
    scripted_model(bucket / "a", "I am a", invoke={"delay": 1})
    emulator = run("--instances", "2").wait_in_service()
    call = pool.submit(emulator.invoke, "a")
    eventually(emulator.in_memory)
    emulator.signal(signal.SIGTERM)
    assert call.result()["answer"] == "I am a", "an invocation under way may end"
    assert emulator.wait() == 0
    assert sum(entry.get("event") == "sigterm" for entry in journal(emulator)) == 2
    assert ours(engine, emulator) == []
    assert not (emulator.state_directory / "engine").exists()


def test_a_second_ctrl_c_removes_a_container_that_ignores_sigterm(run: Run, engine: docker.DockerClient) -> None:
    emulator = run("--instances", "2", "--limit", "stop_seconds=600", start={"ignore_sigterm": True}).wait_in_service()
    processes = [psutil.Process(emulator.pid), emulator.worker()]

    def ctrl_c() -> None:  # as from a terminal: every process gets it
        for process in processes:
            process.send_signal(signal.SIGINT)

    ctrl_c()
    eventually(lambda: sum(entry.get("event") == "sigterm" for entry in journal(emulator)) == 2)
    time.sleep(1.1)  # what comes sooner counts as the same Ctrl-C
    ctrl_c()
    emulator.wait(60)  # not for stop_seconds
    assert ours(engine, emulator) == []
    wait_until_ended(processes)


def test_ctrl_c_while_the_container_starts(run: Run, engine: docker.DockerClient) -> None:
    emulator = run(*QUICK, start={"listen": False})  # its program may have no handler for SIGTERM yet
    eventually(lambda: any(container.status == "running" for container in ours(engine, emulator)))
    emulator.signal(signal.SIGINT)
    assert emulator.wait() == 0
    assert ours(engine, emulator) == []


# Emulators that are killed


def test_what_a_killed_emulator_left_is_removed_and_another_is_not_touched(
    run: Run, run_here: RunHere, serve: Run, bucket: Path, tmp_path: Path, engine: docker.DockerClient
) -> None:
    scripted_model(bucket / "a", "I am a")
    killed, living = run("--instances", "2"), run_here()
    for emulator in (killed, living):
        assert emulator.wait_in_service().invoke("a")["answer"] == "I am a"
    assert (len(ours(engine, killed)), len(ours(engine, living))) == (2, 1)
    kept = only(engine, living).id

    def undisturbed() -> bool:
        return living.invoke("a")["answer"] == "I am a" and only(engine, living).id == kept and restarts(living) == 0

    state = ("--state-dir", str(killed.state_directory))
    left = {container.id for container in ours(engine, killed)}
    kill(killed)
    again = run(*state).wait_in_service()
    assert again.invoke("a")["answer"] == "I am a"
    after = {container.id for container in ours(engine, killed)}
    assert len(after) == 1 and not after & left
    assert undisturbed()

    kill(again)
    handler = tmp_path / "handler.py"
    handler.write_text("def handle(data, context):\n    return [b'hello']\n")
    archive(bucket / "b.tar.gz", {"weights": "1"})
    without_image = serve("--models", str(bucket), "--handler", str(handler), *state)
    assert without_image.invoke("b.tar.gz", ContentType="text/plain") == b"hello"
    eventually(lambda: ours(engine, killed) == [])
    assert not (killed.state_directory / "engine").exists()
    assert undisturbed()


def test_another_emulator_removes_what_a_killed_one_left_but_nothing_of_one_that_lives(
    run: Run, run_here: RunHere, bucket: Path, engine: docker.DockerClient
) -> None:
    """One is known to live by its lock or, where others do not see that, by its process."""
    scripted_model(bucket / "a", "I am a")
    killed, living = run(), run_here().wait_in_service()
    killed.wait_in_service()
    kill(killed)
    kept = only(engine, living).id
    moved = living.state_directory.with_name("moved")
    for _ in range(2):
        run().wait_in_service()
        eventually(lambda: ours(engine, killed) == [])
        assert living.invoke("a")["answer"] == "I am a" and only(engine, living).id == kept
        if not moved.exists():
            living.state_directory.rename(moved)  # as where others do not see it
    moved.rename(living.state_directory)


@pytest.mark.parametrize("part", ["worker", "master"])
def test_an_emulator_that_loses_a_part_leaves_nothing(
    run: Run, bucket: Path, engine: docker.DockerClient, part: str
) -> None:
    scripted_model(bucket / "a", "I am a")
    emulator = run().wait_in_service()
    old, worker = only(engine, emulator), emulator.worker()
    if part == "worker":  # the master starts another
        worker.kill()
        eventually(lambda: len(emulator.output) == 2, what="it is InService again")
        assert emulator.invoke("a")["answer"] == "I am a"
        assert only(engine, emulator).id != old.id
    else:
        emulator.signal(signal.SIGKILL)
        wait_until_ended([worker])
        assert ours(engine, emulator) == []


def test_emulators_that_are_killed_at_any_moment_leave_nothing(
    start: Run, images: Images, bucket: Path, tmp_path: Path, engine: docker.DockerClient
) -> None:
    scripted_model(bucket / "a", "I am a")
    state = tmp_path / "killed"
    arguments = [*of_image(images.scripted(), bucket, {}), "--state-dir", str(state)]
    # At moments all over a start, and a while after it; an early one follows upon a late one and the other way round.
    moments = [0.3, 1.2, 0.5, 0.8]
    processes: list[psutil.Process] = []
    to_start = 0.0
    for moment in (None, *moments):
        began = time.monotonic()
        emulator = start(*arguments)
        if moment is None:
            emulator.wait_in_service()
            to_start = time.monotonic() - began
            assert emulator.invoke("a")["answer"] == "I am a"
            assert len(below(engine, tmp_path)) == 1, "those of earlier rounds have gone"
        else:
            time.sleep(moment * to_start)
        processes += emulator.processes()
        kill(emulator)
    last = start(*arguments).wait_in_service()
    assert last.invoke("a")["answer"] == "I am a"
    assert len(below(engine, tmp_path)) == 1
    assert last.stop() == 0
    eventually(lambda: below(engine, tmp_path) == [])
    wait_until_ended(processes)
    assert not files_below(state / "instances") and not (state / "engine").exists()


# An engine that does not see the emulator's files


def test_models_are_brought_to_an_engine_that_does_not_see_them(
    images: Images, bucket: Path, tmp_path: Path, engine: docker.DockerClient
) -> None:
    if os.geteuid():
        pytest.skip("needs root to hide a directory")
    names = [f"{number}.tar.gz" for number in range(12)]
    for name in names:
        scripted_model(bucket / name, f"I am {name}")
    scripted_model(tmp_path / "model.tar.gz", "I am alone")
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    code = "import sys; from tests.docker.test_serving import hide; hide(*sys.argv[1:])"
    script = 'mount -t tmpfs none "$1" && exec "$0" -c "$2" "$1" "$3" "$4"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, sys.executable, str(hidden), code, str(bucket), images.scripted()],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert not any(hidden.iterdir())


def hide(directory: str, bucket: str, image: str) -> None:
    """The part of the test above that runs where the engine does not see ``directory``."""
    engine = docker.from_env()
    models = Path(bucket)
    names = sorted(path.name for path in models.iterdir())
    many = InProcessEmulator(*of_image(image, models, {}), "--max-loaded-models", "8", state=Path(directory, "many"))
    single = {"Image": image, "ModelDataUrl": str(models.parent / "model.tar.gz")}
    one = InProcessEmulator(
        described(Path(directory, "endpoint.yaml"), {"single": [single]}), state=Path(directory, "one")
    )
    try:
        many.wait_in_service()
        assert only(engine, many).attrs["Mounts"] == []
        with ThreadPoolExecutor(8) as pool:
            for _ in range(2):  # in the second round, most of them are loaded again
                answers = pool.map(many.invoke, names)
                assert [answer["answer"] for answer in answers] == [f"I am {name}" for name in names]
        assert sum(many.model(name)["loads"] for name in names) > 12
        assert restarts(many) == 0
        only(engine, many).kill()
        eventually(lambda: restarts(many) == 1)
        assert many.invoke(names[0])["answer"] == f"I am {names[0]}", "the new container gets the files as well"
        one.wait_in_service()
        assert only(engine, one).attrs["Mounts"] == []
        response = one.client().invoke_endpoint(EndpointName="local", Body=b"{}")
        assert json.loads(response["Body"].read())["answer"] == "I am alone"
    finally:
        codes = [emulator.stop() for emulator in (many, one)]
    assert codes == [0, 0]
    assert ours(engine, many) == [] and ours(engine, one) == []
