"""The Docker Engine as an emulator uses it: which one it is, its images, what it does not see, what is left on it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gzip
import hashlib
import io
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import ImageNotFound

from emulator.containers.docker import container as docker_module
from emulator.containers.docker import leftovers
from emulator.containers.docker.container import DockerContainer
from emulator.containers.docker.discovery import connect
from emulator.containers.docker.engine import Engine
from emulator.containers.docker.leftovers import HOST_LABEL, OWNER_LABEL, RUN_LABEL
from emulator.errors import ContainerError, SetupError
from emulator.events import Event, Events, ImagePulling
from tests.support.docker_fixtures import machine_of_this_run, tagged
from tests.support.docker_host import MIB, SERVE, SLEEP, SOCKET, Host, Run, containers_of, fetch, play
from tests.support.repository import REPOSITORY
from tests.support.waiting import until

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("alone")]


# Images


def test_an_image_is_found_by_all_its_names(run_scenario: Run, engine: docker.DockerClient, program_image: str) -> None:
    held = engine.images.get(program_image)
    oregon = "123456789012.dkr.ecr.us-west-2.amazonaws.com/localmme-test/elsewhere"
    tags = ["localmme-test/team/server:v1", "localmme-test/team/server:latest", f"{oregon}:latest"]

    async def scenario(host: Host) -> None:
        ecr = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/localmme-test/team/server"
        names = ["localmme-test/team/server", "localmme-test/team/server:v1", held.id, held.id[7:19], ecr, f"{ecr}:v1"]
        names += [oregon.replace("us-west-2", "us-east-1"), oregon.replace("us-west-2", "eu-west-1") + ":latest"]
        for name in names:
            found = await host.engine.image(name)
            assert (found.id, found.reference) == (held.id, name)
        assert found.labels["com.amazonaws.sagemaker.capabilities.multi-models"] == "true"
        assert found.entrypoint[0] == "python3"
        with pytest.raises(SetupError, match=r"localmme-test/team/server:latest, localmme-test/team/server:v1"):
            await host.engine.image(f"{ecr}:v2")

    with tagged(engine, dict.fromkeys(tags, program_image)):
        run_scenario(scenario)


class Registry(BaseHTTPRequestHandler):
    """A registry with one image, which takes its time. A request for the tag ``stalls`` waits until the test ends."""

    blobs: dict[str, tuple[str, bytes]]
    stalled: threading.Event
    over: threading.Event

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if self.path.endswith("/stalls"):
            self.stalled.set()
            self.over.wait()
            return
        kind, content = self.blobs.get(self.path.rpartition("/")[2], ("", b""))
        self.send_response(200 if content or self.path == "/v2/" else 404)
        self.send_header("Content-Type", kind or "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Docker-Content-Digest", "sha256:" + hashlib.sha256(content).hexdigest())
        self.end_headers()
        for start in range(0, len(content) if self.command == "GET" else 0, MIB):
            self.wfile.write(content[start : start + MIB])
            time.sleep(0.15)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def stalled() -> threading.Event:
    """Set once somebody wants the image ``model-server:stalls``."""
    return threading.Event()


@pytest.fixture
def registry(stalled: threading.Event) -> Iterator[str]:
    """The address of a registry with the image ``model-server:v1``."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("noise")
        member.size = 5 * MIB
        tar.addfile(member, io.BytesIO(random.randbytes(member.size)))
    layer = buffer.getvalue()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {"from": "registry"}},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
        }
    ).encode()
    base = "application/vnd.docker.distribution.manifest.v2+json"
    parts = {"application/vnd.docker.container.image.v1+json": config}
    parts["application/vnd.docker.image.rootfs.diff.tar.gzip"] = gzip.compress(layer)
    described = [
        {"mediaType": kind, "size": len(part), "digest": "sha256:" + hashlib.sha256(part).hexdigest()}
        for kind, part in parts.items()
    ]
    manifest = {"schemaVersion": 2, "mediaType": base, "config": described[0], "layers": described[1:]}
    content = json.dumps(manifest).encode()
    blobs = {each["digest"]: (kind, part) for each, (kind, part) in zip(described, parts.items())}
    blobs |= {"v1": (base, content), "sha256:" + hashlib.sha256(content).hexdigest(): (base, content)}
    over = threading.Event()
    handler = type("OneImage", (Registry,), {"blobs": blobs, "stalled": stalled, "over": over})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    over.set()
    server.shutdown()
    server.server_close()


def test_an_image_that_is_not_there_is_pulled(tmp_path: Path, registry: str, engine: docker.DockerClient) -> None:
    events, name = Events(), f"{registry}/model-server:v1"
    pulls: list[ImagePulling] = []

    def note(event: Event, _: object) -> None:
        assert isinstance(event, ImagePulling)
        pulls.append(event)

    events.subscribe(note)

    async def scenario() -> None:
        puller = Engine(tmp_path, events)
        first, second = await asyncio.gather(puller.image(name), puller.image(name))
        assert first == second
        assert first.labels == {"from": "registry"}
        with pytest.raises(SetupError, match="cannot be pulled"):
            await puller.image(f"{registry}/model-server:v2")
        await puller.close()

    with contextlib.suppress(ImageNotFound):
        engine.images.remove(name)
    asyncio.run(scenario())
    engine.images.remove(name)
    fractions = [pull.fraction for pull in pulls if pull.image == name]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert len(fractions) > 4
    assert [pull.fraction for pull in pulls if pull.image.endswith("v2")] == [0, 1]


def test_a_pull_can_be_given_up(tmp_path: Path, registry: str, stalled: threading.Event) -> None:
    async def scenario() -> None:
        puller = Engine(tmp_path, Events())
        pull = asyncio.create_task(puller.image(f"{registry}/model-server:stalls"))
        await until(stalled.is_set)
        pull.cancel()
        await puller.close()
        assert isinstance((await asyncio.gather(pull, return_exceptions=True))[0], asyncio.CancelledError)

    asyncio.run(scenario())


# Engines that do not see this machine's directories


@pytest.mark.parametrize("same_name", [True, False], ids=["it has another directory of that name", "it has none"])
def test_models_are_brought_to_an_engine_that_does_not_see_them(
    tmp_path: Path, program_image: str, engine: docker.DockerClient, same_name: bool
) -> None:
    if os.geteuid():
        pytest.skip("needs root to hide a directory")
    hidden = tmp_path / "hidden"
    (hidden / "models" if same_name else hidden).mkdir(parents=True)
    scenario = replaced_and_deleted if same_name else delivered
    code = "import sys; from tests.docker.test_engine import hide; hide(*sys.argv[1:])"
    mount = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(hidden)]
    command = [sys.executable, "-c", code, str(hidden), program_image, leftovers.machine(), scenario.__name__]
    done = subprocess.run([*mount, *command], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert containers_of(engine, hidden) == []


def hide(directory: str, image: str, machine: str, scenario: str) -> None:
    """The part of the test above that runs where the engine does not see ``directory``."""
    leftovers.machine = lambda: machine
    play(globals()[scenario], Path(directory), image)


async def delivered(host: Host) -> DockerContainer:
    """Start a container, and bring it a model of several files."""
    container = host.container("print(os.listdir('/opt/ml/models'))\n" + SERVE)
    await container.start()
    await host.line("[]")
    assert host.engine.binds is False
    directory = host.model("m", "one")
    directory.joinpath("sub").mkdir()
    directory.joinpath("sub", "x" * 150).write_bytes(b"y" * 3000)
    directory.joinpath("link").symlink_to("weights.txt")
    for _ in range(2):
        assert await container.deliver(directory) == "/opt/ml/models/m/model"
    assert await fetch(container, "/models/m/model/link") == b"one"
    assert await fetch(container, f"/models/m/model/sub/{'x' * 150}") == b"y" * 3000
    return container


async def replaced_and_deleted(host: Host) -> None:
    container = await delivered(host)
    # A newer one of the same name takes its place; one that was deleted here is deleted there too.
    shutil.rmtree(host.directory / "models" / "m")
    await container.deliver(host.model("m", "two"))
    assert await fetch(container, "/models/m/model/weights.txt") == b"two"
    assert b"404" in await fetch(container, "/models/m/model/link")
    shutil.rmtree(host.directory / "models" / "m")
    await container.deliver(host.model("other", "three"))
    assert b"404" in await fetch(container, "/models/m/model/weights.txt")
    with pytest.raises(ContainerError):
        await container.deliver(host.directory / "models" / "gone" / "model")
    await container.stop()
    host.lines.clear()
    # From now on it is known that the engine sees none of them.
    reported = await host.reported(multi_model=False, models=host.model("single", "one"))
    assert reported["model"] == ["weights.txt"]
    reported = await host.reported(multi_model=False, models=host.directory / "nothing")
    assert reported["model"] == []


# Which engine


class Forwarder:
    """The engine at a port, until that is cut off."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(SOCKET.removeprefix("unix://"))
                self._open += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        for each in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@pytest.fixture
def forwarder() -> Iterator[Forwarder]:
    forwarder = Forwarder()
    yield forwarder
    forwarder.cut()


@pytest.fixture
def forwarded(forwarder: Forwarder) -> str:
    """An address of the engine that is a port."""
    return forwarder.address


def test_an_engine_at_a_port_publishes_that_of_the_container(
    run_scenario: Run, forwarded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", forwarded)

    async def scenario(host: Host) -> None:
        info = await host.engine.info()
        assert not info.reachable
        container = host.container("print('up')\n" + SERVE)
        await container.start()
        assert container.host == "127.0.0.1"
        assert container.port != 8080
        assert await fetch(container, await container.deliver(host.model("m1", "one")) + "/weights.txt") != b""
        assert await fetch(container, "/models/m1/model/weights.txt") == b"one"
        assert await container.memory_used() > MIB
        await container.stop()
        assert host.lines == ["up"]

    run_scenario(scenario)


def test_an_engine_that_goes_away_is_an_end_of_its_containers(
    run_scenario: Run,
    forwarder: Forwarder,
    tmp_path: Path,
    program_image: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(host: Host) -> None:
        container = host.container(SLEEP)
        await container.start()
        forwarder.cut()
        words = await container.wait()
        assert words.startswith(f"was lost. The Docker Engine at {forwarder.address} does not answer: ")
        assert await container.memory_used() == 0
        await container.stop()
        host.engine.abandon()

    async def come_back(host: Host) -> None:
        assert len(await host.engine.sweep()) == 1

    monkeypatch.setattr(docker_module, "LOST_SECONDS", 1)
    with monkeypatch.context() as there:
        there.setenv("DOCKER_HOST", forwarder.address)
        play(scenario, tmp_path, program_image)
    assert tmp_path.joinpath("engine").exists()
    tmp_path.joinpath("engine").write_text(SOCKET + "\n")  # which is the same engine
    run_scenario(come_back)


def test_the_engine_is_that_of_the_docker_context(
    tmp_path: Path, engine: docker.DockerClient, forwarded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def describe(name: str, host: str) -> None:
        meta = tmp_path / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"
        meta.parent.mkdir(parents=True)
        meta.write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host}}}))

    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    describe("there", forwarded)
    describe("gone", "tcp://127.0.0.1:1")
    tmp_path.joinpath("config.json").write_text(json.dumps({"currentContext": "there"}))
    assert connect()[1] == forwarded
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    with pytest.raises(SetupError, match=r"no Docker Engine at tcp://127.0.0.1:1: Connection refused"):
        connect()
    monkeypatch.setenv("DOCKER_CONTEXT", "unheard-of")
    with pytest.raises(SetupError, match=r"no Docker context 'unheard-of'.*docker context use"):
        connect()
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert connect()[1] == SOCKET
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    monkeypatch.setenv("DOCKER_HOST", forwarded)
    assert connect()[1] == forwarded


# Leftovers


@pytest.fixture
def leave(engine: docker.DockerClient, program_image: str) -> Iterator[Callable[..., str]]:
    """Leave a container behind as an emulator that was killed does; its name."""
    left = []

    def leave(owner: Path, host: str = "", running: bool = False) -> str:
        labels = {OWNER_LABEL: str(owner), HOST_LABEL: host or leftovers.machine(), RUN_LABEL: "another"}
        container = engine.containers.create(program_image, environment={"PROGRAM": SLEEP}, labels=labels)
        if running:
            container.start()
        left.append(container)
        return str(container.name)

    yield leave
    for container in left:
        with contextlib.suppress(docker.errors.NotFound):
            container.remove(force=True)


def test_what_emulators_that_have_gone_left_behind_is_removed(
    tmp_path: Path, program_image: str, engine: docker.DockerClient, leave: Callable[..., str]
) -> None:
    mine, living, dead, without_lock = (tmp_path / name for name in ("mine", "living", "dead", "without"))
    for directory in (mine, living, dead, without_lock):
        directory.mkdir()
    mine.joinpath("engine").write_text(SOCKET + "\n")
    dead.joinpath("lock").touch()
    gone = [leave(mine, running=True), *map(leave, (mine, dead, without_lock, tmp_path / "nowhere"))]
    leave(living)
    leave(mine, host=machine_of_this_run())

    async def scenario(host: Host) -> None:
        assert host.engine.has_leftovers()
        container = host.container(SLEEP)
        await container.start()  # what was left would take memory beside it
        there = {each.name for each in engine.containers.list(all=True, ignore_removed=True)}
        assert not there & set(gone)
        left = leave(dead)
        assert await host.engine.sweep() == [left]
        assert len(containers_of(engine, mine)) == 2  # this one, and that of another machine
        assert len(containers_of(engine, living)) == 1
        assert host.engine.has_leftovers()
        await container.stop()
        assert await host.engine.sweep() == []
        assert not host.engine.has_leftovers()

    with living.joinpath("lock").open("w") as lock, mine.joinpath("lock").open("w") as own:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fcntl.flock(own, fcntl.LOCK_EX)
        play(scenario, mine, program_image)


def test_two_may_sweep_at_the_same_time(tmp_path: Path, program_image: str, leave: Callable[..., str]) -> None:
    names = {leave(tmp_path / "nowhere") for _ in range(6)}

    async def scenario(host: Host) -> None:
        other = Engine(host.directory, Events())
        removed = await asyncio.gather(host.engine.sweep(), other.sweep())
        assert names == {*removed[0], *removed[1]}
        await other.close()

    play(scenario, tmp_path, program_image)


def test_an_emulator_that_is_killed_leaves_a_mark(
    tmp_path: Path, program_image: str, engine: docker.DockerClient
) -> None:
    code = "import sys; from tests.docker.test_engine import start_and_die; start_and_die(*sys.argv[1:])"
    command = [sys.executable, "-c", code, str(tmp_path), program_image, leftovers.machine()]
    subprocess.run(command, cwd=REPOSITORY, timeout=60)
    assert len(containers_of(engine, tmp_path)) == 1
    assert tmp_path.joinpath("engine").read_text() == SOCKET + "\n"

    async def scenario(host: Host) -> None:
        assert len(await host.engine.sweep()) == 1

    play(scenario, tmp_path, program_image)
    assert containers_of(engine, tmp_path) == []
    assert not tmp_path.joinpath("engine").exists()


def start_and_die(directory: str, image: str, machine: str) -> None:
    """The part of the test above that is killed."""
    leftovers.machine = lambda: machine

    async def scenario(host: Host) -> None:
        await host.container(SLEEP).start()
        os.kill(os.getpid(), 9)

    play(scenario, Path(directory), image)
