"""Docker containers by themselves: how they are started, watched, fed with models and ended; images; leftovers."""

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
import socket
import subprocess
import sys
import tarfile
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import ImageNotFound

from emulator.containers.container import Setting
from emulator.containers.docker import container as docker_module
from emulator.containers.docker import discovery, leftovers
from emulator.containers.docker.container import DockerContainer
from emulator.containers.docker.discovery import connect
from emulator.containers.docker.engine import Engine
from emulator.containers.docker.failures import EngineError, describe_end
from emulator.containers.docker.images import local_names, names_elsewhere, repository, similar_images
from emulator.containers.docker.leftovers import HOST_LABEL, OWNER_LABEL, RUN_LABEL
from emulator.containers.docker.tar_stream import packed
from emulator.errors import ContainerError, EmulatorError, SetupError
from emulator.events import Event, Events, ImagePulling
from emulator.limits import Limits
from emulator.timeouts import in_time
from tests.support.real_servers.images import BIND_TO_PORT_LABEL, FROM, MULTI_MODEL_LABEL, Images
from tests.support.repository import REPOSITORY

pytestmark = pytest.mark.docker

MIB = 2**20
SOCKET = "unix:///var/run/docker.sock"
# An image whose container does what $PROGRAM says.
PROGRAM = 'ENTRYPOINT ["python3", "-u", "-c", "import os; exec(os.environ[\'PROGRAM\'])"]\n'
SERVE = """
import http.server, os, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args): pass
os.chdir('/opt/ml')
http.server.HTTPServer(('', int(os.environ.get('SAGEMAKER_BIND_TO_PORT', 8080))), Handler).serve_forever()
"""
SLEEP = "import time\nwhile True: time.sleep(1)"
TELL = """
import json, os, socket, sys
print(json.dumps({
    'arguments': sys.argv[1:], 'environment': dict(os.environ), 'host': socket.gethostname(),
    'models': os.listdir('/opt/ml/models') if os.path.isdir('/opt/ml/models') else None,
    'model': os.listdir('/opt/ml/model') if os.path.isdir('/opt/ml/model') else None,
}))
"""


@dataclass
class Host:
    """An engine as an emulator has it, and what was told of its containers."""

    engine: Engine
    directory: Path
    image: str
    lines: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def container(
        self,
        program: str,
        *,
        image: str = "",
        limits: Limits | None = None,
        environment: Mapping[str, str] | None = None,
        **setting: Any,
    ) -> DockerContainer:
        models = self.directory / "models"
        models.mkdir(exist_ok=True)
        given: dict[str, Any] = {
            "name": "primary",
            "environment": {"PROGRAM": program, **(environment or {})},
            "multi_model": True,
            "models": models,
            "memory_bytes": 256 * MIB,
            "vcpus": 4,
            "gpus": 0,
            "position": 0,
            "shares_instance": False,
            "scratch": self.directory,
            **setting,
        }
        limits = limits or Limits(stop_seconds=1)
        return DockerContainer(
            self.engine, image or self.image, Setting(**given), limits, self.lines.append, self.warnings.append
        )

    async def told(self, **setting: Any) -> dict[str, Any]:
        """What a container says of itself."""
        container = self.container(TELL, **setting)
        await container.start()
        assert await container.wait() == "ended with exit code 0"
        await container.stop()
        told: dict[str, Any] = json.loads(self.lines.pop())
        return told

    def model(self, name: str, text: str) -> Path:
        """The directory of a model with one file."""
        directory = self.directory / "models" / name / "model"
        directory.mkdir(parents=True, mode=0o700)
        file = directory / "weights.txt"
        file.write_text(text)
        file.chmod(0o600)
        return directory


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever else is tested on this engine seems to be on another machine: neither sweeps what the other leaves."""
    name = f"test-{uuid.uuid4().hex}"
    monkeypatch.setattr(leftovers, "machine", lambda: name)


Scenario = Callable[[Host], Awaitable[None]]


def play(scenario: Scenario, directory: Path, image: str, seconds: float = 60) -> None:
    """Run a scenario with an engine of its own."""

    async def run() -> None:
        host = Host(Engine(directory, Events()), directory, image)
        try:
            await in_time(scenario(host), seconds)
        finally:
            await host.engine.close()

    asyncio.run(run())


@pytest.fixture
def image(images: Images) -> str:
    return images.build("program", FROM + MULTI_MODEL_LABEL + BIND_TO_PORT_LABEL + PROGRAM)


@pytest.fixture
def run(tmp_path: Path, image: str, engine: docker.DockerClient) -> Iterator[Callable[[Scenario], None]]:
    """Run a scenario. After the test none of its containers may be left."""
    yield lambda scenario: play(scenario, tmp_path, image)
    assert ours(engine, tmp_path) == []
    assert not tmp_path.joinpath("engine").exists()


def ours(engine: docker.DockerClient, owner: Path) -> list[str]:
    listed = engine.containers.list(all=True, filters={"label": f"{OWNER_LABEL}={owner}"}, ignore_removed=True)
    return [container.name for container in listed]


async def fetch(container: DockerContainer, path: str, seconds: float = 10) -> bytes:
    """The body of a GET, once the container answers."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(container.host, container.port)
            try:
                writer.write(b"GET %s HTTP/1.0\r\n\r\n" % path.encode())
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            finally:
                writer.close()
            if head:
                return body if b" 200 " in head.splitlines()[0] else head.splitlines()[0]
        assert time.monotonic() < deadline, "the container does not answer"
        await asyncio.sleep(0.02)


async def line(host: Host, text: str, seconds: float = 10) -> None:
    """Wait for a line of log."""
    deadline = time.monotonic() + seconds
    while text not in host.lines:
        assert time.monotonic() < deadline, host.lines
        await asyncio.sleep(0.02)


# What a container is given


def test_a_container_is_run_as_sagemaker_runs_it(run: Callable[[Scenario], None]) -> None:
    async def scenario(host: Host) -> None:
        host.model("m1", "one")
        told = await host.told(name="my primary_1", environment={"SAGEMAKER_MULTI_MODEL": "true", "A": "b=c"})
        assert told["arguments"] == ["serve"]
        assert told["host"] == "my-primary-1"
        assert told["models"] == ["m1"]
        assert told["environment"]["SAGEMAKER_MULTI_MODEL"] == "true"
        assert told["environment"]["A"] == "b=c"
        assert "SAGEMAKER_BIND_TO_PORT" not in told["environment"]
        assert told["environment"]["SAGEMAKER_SAFE_PORT_RANGE"] == "25000-25999"
        assert list(host.directory.joinpath("models").iterdir()) == [host.directory / "models" / "m1"]

    run(scenario)


def test_containers_that_share_an_instance_are_told_their_ports(run: Callable[[Scenario], None]) -> None:
    async def scenario(host: Host) -> None:
        container = host.container(SERVE, position=2, shares_instance=True)
        await container.start()
        assert b"models" in await fetch(container, "/")
        told = await host.told(position=2, shares_instance=True)
        assert told["environment"]["SAGEMAKER_BIND_TO_PORT"] == "14200"
        assert told["environment"]["SAGEMAKER_SAFE_PORT_RANGE"] == "14201-14299"
        await container.stop()

    run(scenario)


def test_a_single_model_is_mounted_and_may_be_missing(run: Callable[[Scenario], None]) -> None:
    async def scenario(host: Host) -> None:
        directory = host.model("m1", "one")
        told = await host.told(multi_model=False, models=directory)
        assert (told["model"], told["models"]) == (["weights.txt"], None)
        told = await host.told(multi_model=False, models=host.directory / "nothing")
        assert (told["model"], told["models"]) == ([], None)

    run(scenario)


def test_models_that_come_later_are_seen_and_cannot_be_written(run: Callable[[Scenario], None]) -> None:
    async def scenario(host: Host) -> None:
        container = host.container("try: open('/opt/ml/models/x', 'w')\nexcept OSError as e: print(e)\n" + SERVE)
        await container.start()
        url = await container.deliver(host.model("m1", "one"))
        assert url == "/opt/ml/models/m1/model"
        assert await fetch(container, "/models/m1/model/weights.txt") == b"one"
        assert host.lines == ["[Errno 30] Read-only file system: '/opt/ml/models/x'"]
        await container.stop()

    run(scenario)


def test_memory_in_use_is_measured(run: Callable[[Scenario], None]) -> None:
    async def scenario(host: Host) -> None:
        container = host.container(
            "print('before'); input_ = bytearray(os.urandom(80 * 2**20)); print('after')\n" + SERVE
        )
        assert await container.memory_used() == 0
        await container.start()
        await fetch(container, "/")
        used = await container.memory_used()
        assert 80 * MIB < used < 120 * MIB
        # By the engine's API, when the cgroup cannot be read, it is the same.
        container._process = (0, "")
        assert abs(await container.memory_used() - used) < 5 * MIB
        await container.stop()
        assert await container.memory_used() == 0

    run(scenario)


def test_processor_time_is_measured(run: Callable[[Scenario], None]) -> None:
    async def scenario(host: Host) -> None:
        container = host.container(
            "import time\nends = time.process_time() + 0.5\nwhile time.process_time() < ends: pass\n" + SERVE
        )
        assert await container.cpu_seconds() is None
        await container.start()
        await fetch(container, "/")
        used = await container.cpu_seconds()
        assert used is not None and 0.5 <= used < 10
        container._process = (0, "")  # by the engine's API
        again = await container.cpu_seconds()
        assert again is not None and used <= again < used + 1
        await container.stop()
        assert await container.cpu_seconds() is None

    run(scenario)


# Its output, and how it ends


def test_no_line_of_a_container_that_ends_at_once_is_lost(run: Callable[[Scenario], None]) -> None:
    async def scenario(host: Host) -> None:
        container = host.container("for i in range(10000): print('line', i)\nraise SystemExit(3)")
        await container.start()
        assert await container.wait() == "ended with exit code 3"
        assert host.lines == [f"line {number}" for number in range(10000)]
        await container.stop()

    run(scenario)


def test_output_is_cut_into_lines(run: Callable[[Scenario], None]) -> None:
    async def scenario(host: Host) -> None:
        container = host.container(
            """
import sys, time
def say(stream, text): stream.buffer.write(text); stream.flush(); time.sleep(0.1)
say(sys.stdout, b'out '); say(sys.stderr, b'err '); say(sys.stdout, b'one\\r\\n'); say(sys.stderr, b'two\\n\\xff\\n')
say(sys.stdout, b'x' * 200000 + b'\\n'); say(sys.stdout, b'no end')
"""
        )
        await container.start()
        await container.wait()
        assert host.lines[:3] == ["out one", "err two", "\N{REPLACEMENT CHARACTER}"]
        assert "".join(host.lines[3:-1]) == "x" * 200000
        assert max(map(len, host.lines)) < 200000
        assert host.lines[-1] == "no end"
        await container.stop()

    run(scenario)


def test_a_container_may_be_silent_for_longer_than_the_engine_may(
    run: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "CONNECT_SECONDS", 1.0)
    monkeypatch.setattr(discovery, "ANSWER_SECONDS", 1.0)

    async def scenario(host: Host) -> None:
        container = host.container(
            "import time; time.sleep(3); print('spoke'); os.close(1); os.close(2); time.sleep(3)"
        )
        await container.start()
        assert await container.wait() == "ended with exit code 0"
        assert host.lines == ["spoke"]
        await container.stop()

    run(scenario)


def test_the_kernel_ends_a_container_that_runs_out_of_memory(run: Callable[[Scenario], None]) -> None:
    async def scenario(host: Host) -> None:
        container = host.container("b = []\nwhile True: b.append(bytearray(os.urandom(2**20)))", memory_bytes=64 * MIB)
        await container.start()
        assert await container.wait() == "ran out of memory: the kernel killed it at 64 MiB (exit code 137)"
        await container.stop()

    run(scenario)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"ExitCode": 0}, "ended with exit code 0"),
        ({"ExitCode": 126}, "ended with exit code 126: a program could not be executed"),
        ({"ExitCode": 127}, "ended with exit code 127: a program was not found"),
        ({"ExitCode": 137}, "was killed (exit code 137)"),
        ({"ExitCode": 137, "Status": "removing"}, "was removed"),
        (
            {"ExitCode": 1, "OOMKilled": True},
            "ended with exit code 1, after the kernel killed a process of it at 1.5 GiB of memory",
        ),
    ],
)
def test_how_a_container_ended_is_told_in_words(state: dict[str, Any], words: str) -> None:
    assert describe_end({"Status": "exited", **state}, 1536 * MIB) == words


def test_a_container_that_others_kill_or_remove_has_ended(
    run: Callable[[Scenario], None], engine: docker.DockerClient
) -> None:
    async def scenario(host: Host) -> None:
        for act, words in (("kill", "was killed (exit code 137)"), ("remove", "was removed")):
            container = host.container(SLEEP)
            await container.start()
            (name,) = ours(engine, host.directory)
            theirs = engine.containers.get(name)
            theirs.kill() if act == "kill" else theirs.remove(force=True)
            assert await container.wait() == words
            await container.stop()

    run(scenario)


# Stopping


def test_a_container_that_heeds_sigterm_stops_at_once(run: Callable[[Scenario], None]) -> None:
    async def scenario(host: Host) -> None:
        handler = "import signal, sys\nsignal.signal(15, lambda *_: (print('goodbye'), sys.exit(7)))\nprint('up')\n"
        container = host.container(handler + SLEEP, limits=Limits(stop_seconds=20))
        await container.start()
        await line(host, "up")
        began = time.monotonic()
        await asyncio.gather(container.stop(), container.stop())
        assert time.monotonic() - began < 5
        assert host.lines == ["up", "goodbye"]
        assert await container.wait() == "ended with exit code 7"
        await container.stop()

    run(scenario)


def test_a_container_that_ignores_sigterm_is_killed(run: Callable[[Scenario], None]) -> None:
    async def scenario(host: Host) -> None:
        container = host.container(SLEEP, limits=Limits(stop_seconds=2))
        await container.start()
        began = time.monotonic()
        await container.stop()
        assert 1.9 < time.monotonic() - began < 6
        assert await container.wait() == "was killed (exit code 137)"

    run(scenario)


@pytest.mark.parametrize("after", [0.0, 0.01, 0.05, 0.1, 0.2])
@pytest.mark.parametrize("by", ["cancel", "stop"])
def test_a_start_that_is_given_up_leaves_nothing(
    run: Callable[[Scenario], None], engine: docker.DockerClient, after: float, by: str
) -> None:
    async def scenario(host: Host) -> None:
        await host.engine.info()
        container = host.container(SLEEP)
        starting = asyncio.create_task(container.start())
        await asyncio.sleep(after)
        if by == "cancel":
            starting.cancel()
        else:
            await container.stop()
        (failure,) = await asyncio.gather(starting, return_exceptions=True)
        assert isinstance(failure, asyncio.CancelledError if by == "cancel" else ContainerError)
        assert ours(engine, host.directory) == []
        await container.stop()

    run(scenario)


def test_a_second_ctrl_c_removes_everything_at_once(
    run: Callable[[Scenario], None], engine: docker.DockerClient
) -> None:
    async def scenario(host: Host) -> None:
        containers = [host.container(SLEEP, limits=Limits(stop_seconds=30)) for _ in range(3)]
        await asyncio.gather(*(container.start() for container in containers))
        stops = [asyncio.create_task(container.stop()) for container in containers]
        await asyncio.sleep(0.2)
        began = time.monotonic()
        host.engine.abandon()
        assert time.monotonic() - began < 5
        assert ours(engine, host.directory) == []
        await asyncio.gather(*stops)
        assert time.monotonic() - began < 5

    run(scenario)


# What cannot be started


async def failure(container: DockerContainer) -> str:
    with pytest.raises(SetupError) as caught:
        await container.start()
    await container.stop()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_image_without_the_labels_is_refused(run: Callable[[Scenario], None], images: Images) -> None:
    image = images.build("unlabelled", FROM + PROGRAM)

    async def scenario(host: Host) -> None:
        label = "com.amazonaws.sagemaker.capabilities.multi-models=true"
        reason = await failure(host.container(SLEEP, image=image))
        assert reason.startswith(f"Your Ecr Image {image} does not contain required {label} Docker label(s).")
        assert f"`LABEL {label}`" in reason
        reason = await failure(host.container(SLEEP, image=image, multi_model=False, shares_instance=True))
        assert "accept-bind-to-port=true" in reason
        await host.told(image=image, multi_model=False)

    run(scenario)


def test_what_cannot_be_run_is_explained(run: Callable[[Scenario], None], images: Images) -> None:
    nothing = images.build("no-entry-point", FROM + MULTI_MODEL_LABEL)
    missing = images.build("missing-program", FROM + MULTI_MODEL_LABEL + 'ENTRYPOINT ["/opt/missing"]\n')

    async def scenario(host: Host) -> None:
        assert "no entry point, and no program `serve`" in await failure(host.container("", image=nothing))
        assert "/opt/missing" in await failure(host.container("", image=missing))
        assert "at least 6 MiB" in await failure(host.container(SLEEP, memory_bytes=1000))
        about = docker.from_env().info()
        if "nvidia" not in about.get("Runtimes", {}):
            assert "nvidia-container-toolkit" in await failure(host.container(SLEEP, gpus=-1))

    run(scenario)


def test_an_entry_point_in_shell_form_is_warned_of_once(run: Callable[[Scenario], None], images: Images) -> None:
    image = images.build("shell-form", FROM + MULTI_MODEL_LABEL + "ENTRYPOINT echo arguments: $@; nonsense\n")

    async def scenario(host: Host) -> None:
        for _ in range(2):
            container = host.container("", image=image)
            await container.start()
            assert await container.wait() == "ended with exit code 127: a program was not found"
            await container.stop()
        (warning,) = host.warnings
        assert "exec form" in warning
        assert "arguments:" in host.lines

    run(scenario)


# Images


def test_an_image_is_found_by_all_its_names(
    run: Callable[[Scenario], None], engine: docker.DockerClient, image: str
) -> None:
    held = engine.images.get(image)
    held.tag("localmme-test/team/server", "v1")
    held.tag("localmme-test/team/server")
    oregon = "123456789012.dkr.ecr.us-west-2.amazonaws.com/localmme-test/elsewhere"
    held.tag(oregon)

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

    try:
        run(scenario)
    finally:
        engine.images.remove("localmme-test/team/server:v1")
        engine.images.remove("localmme-test/team/server:latest")
        engine.images.remove(oregon)


def test_names_of_images_are_taken_apart() -> None:
    assert local_names("1.dkr.ecr.eu-west-1.amazonaws.com/a") == ["1.dkr.ecr.eu-west-1.amazonaws.com/a"]
    china = "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/a/b@sha256:1"
    assert local_names(china) == [china, "a/b@sha256:1"]
    here, there = (f"123456789012.dkr.ecr.{region}.amazonaws.com/a/b" for region in ("us-east-1", "us-west-2"))
    awss = "763104351884.dkr.ecr.eu-west-1.amazonaws.com/a/b:latest"
    names = [awss, f"{there}:latest", f"{there}:v1", f"{there}-c:latest", f"{there}@sha256:1", "a/b:latest"]
    assert names_elsewhere(here, names) == [f"{there}:latest", awss]
    assert names_elsewhere(f"{here}:v1", names) == [f"{there}:v1"]
    assert names_elsewhere(f"{here}@sha256:1", names) == [f"{there}@sha256:1"]
    assert names_elsewhere(f"{here}:v2", names) == names_elsewhere("a/b:v1", names) == []
    assert repository("localhost:5000/a/b") == "localhost:5000/a/b"
    assert repository("localhost:5000/a/b:c") == "localhost:5000/a/b"
    tags = ["server:v1", "server:v2", "sever:v3", "other:v1"]
    assert similar_images("server", tags) == ["server:v1", "server:v2"]
    assert similar_images("servre:v1", tags) == ["server:v1", "server:v2", "sever:v3"]
    assert similar_images("completely-different", tags) == []


class Registry(BaseHTTPRequestHandler):
    """A registry with one image, which takes its time."""

    blobs: dict[str, tuple[str, bytes]]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
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
def registry() -> Iterator[str]:
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
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OneImage", (Registry,), {"blobs": blobs}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()


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


def test_a_pull_can_be_given_up(tmp_path: Path, registry: str) -> None:
    async def scenario() -> None:
        puller = Engine(tmp_path, Events())
        pull = asyncio.create_task(puller.image(f"{registry}/model-server:v1"))
        await asyncio.sleep(0.3)
        pull.cancel()
        await puller.close()
        assert isinstance((await asyncio.gather(pull, return_exceptions=True))[0], asyncio.CancelledError)

    began = time.monotonic()
    asyncio.run(scenario())
    assert time.monotonic() - began < 3


# Engines that do not see this machine's directories


@pytest.mark.parametrize("same_name", [True, False], ids=["it has another directory of that name", "it has none"])
def test_models_are_brought_to_an_engine_that_does_not_see_them(
    tmp_path: Path, image: str, engine: docker.DockerClient, same_name: bool
) -> None:
    if os.geteuid():
        pytest.skip("needs root to hide a directory")
    hidden = tmp_path / "hidden"
    hidden.joinpath("models").mkdir(parents=True)
    if not same_name:
        hidden.joinpath("models").rmdir()
    code = "import sys; from tests.docker.test_container import hide; hide(*sys.argv[1:])"
    script = 'mount -t tmpfs none "$1" && exec "$0" -c "$2" "$1" "$3" "$4"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, sys.executable, str(hidden), code, image, leftovers.machine()],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert ours(engine, hidden) == []


def hide(directory: str, image: str, machine: str) -> None:
    """The part of the test above that runs where the engine does not see ``directory``."""
    leftovers.machine = lambda: machine
    play(unseen, Path(directory), image)


async def unseen(host: Host) -> None:
    for round in range(2):  # the second time it is known
        container = host.container("print(os.listdir('/opt/ml/models'))\n" + SERVE)
        await container.start()
        assert host.engine.binds is False
        directory = host.model(f"m{round}", "one")
        directory.joinpath("sub").mkdir()
        directory.joinpath("sub", "x" * 150).write_bytes(b"y" * 3000)
        directory.joinpath("link").symlink_to("weights.txt")
        for _ in range(2):
            assert await container.deliver(directory) == f"/opt/ml/models/m{round}/model"
        assert await fetch(container, f"/models/m{round}/model/link") == b"one"
        assert await fetch(container, f"/models/m{round}/model/sub/{'x' * 150}") == b"y" * 3000
        # A newer one of the same name takes its place; one that has gone goes there too.
        subprocess.run(["rm", "-r", directory.parent], check=True)
        await container.deliver(host.model(f"m{round}", "two"))
        assert await fetch(container, f"/models/m{round}/model/weights.txt") == b"two"
        assert b"404" in await fetch(container, f"/models/m{round}/model/link")
        subprocess.run(["rm", "-r", directory.parent], check=True)
        await container.deliver(host.model("other", "three"))
        assert b"404" in await fetch(container, f"/models/m{round}/model/weights.txt")
        with pytest.raises(ContainerError):
            await container.deliver(host.directory / "models" / "gone" / "model")
        subprocess.run(["rm", "-r", host.directory / "models" / "other"], check=True)
        await container.stop()
        assert host.lines.pop() == "[]"
    told = await host.told(multi_model=False, models=host.model("single", "one"))
    assert told["model"] == ["weights.txt"]
    told = await host.told(multi_model=False, models=host.directory / "nothing")
    assert told["model"] == []


def test_files_are_packed_for_every_user(tmp_path: Path) -> None:
    tmp_path.joinpath("program").write_text("#!")
    tmp_path.joinpath("program").chmod(0o700)
    tmp_path.joinpath("empty").touch(0o600)
    tmp_path.joinpath("closed").mkdir(0o700)
    with tarfile.open(fileobj=io.BytesIO(b"".join(packed(["opt"], tmp_path, "opt/m")))) as tar:
        modes = {member.name: oct(member.mode) for member in tar}
    assert modes == {
        "opt": "0o755",
        "opt/m": "0o755",
        "opt/m/program": "0o755",
        "opt/m/empty": "0o644",
        "opt/m/closed": "0o755",
    }


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
    run: Callable[[Scenario], None], forwarded: str, monkeypatch: pytest.MonkeyPatch
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

    run(scenario)


def test_an_engine_that_goes_away_is_an_end_of_its_containers(
    run: Callable[[Scenario], None],
    forwarder: Forwarder,
    tmp_path: Path,
    image: str,
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
        play(scenario, tmp_path, image)
    assert tmp_path.joinpath("engine").exists()
    tmp_path.joinpath("engine").write_text(SOCKET + "\n")  # which is the same engine
    run(come_back)


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


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("unix:///nowhere/docker.sock", "No such file or directory"),
        ("tcp://127.0.0.1:1", "Connection refused"),
        ("nonsense://x", "nvalid"),
    ],
)
def test_a_missing_engine_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, reason: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)

    async def scenario() -> None:
        await Engine(tmp_path, Events()).image("any")

    with pytest.raises(SetupError, match=reason) as caught:
        asyncio.run(scenario())
    message = str(caught.value)
    assert address in message
    assert "DOCKER_HOST" in message
    assert "--command" in message
    assert "\n" not in message


def test_who_may_not_use_the_engine_is_told_of_the_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid():
        pytest.skip("needs root to be someone else")
    closed = tmp_path / "docker.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(closed))
    closed.chmod(0o600)
    for directory in closed.parents[:3]:
        directory.chmod(0o755)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{closed}")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    os.seteuid(65534)
    try:
        with pytest.raises(SetupError, match=r"Permission denied.*group docker"):
            connect()
    finally:
        os.seteuid(0)
        listener.close()


# Leftovers


@pytest.fixture
def leave(engine: docker.DockerClient, image: str) -> Iterator[Callable[..., str]]:
    """Leave a container behind as an emulator that was killed does; its name."""
    left = []

    def leave(owner: Path, host: str = "", running: bool = True) -> str:
        labels = {OWNER_LABEL: str(owner), HOST_LABEL: host or leftovers.machine(), RUN_LABEL: "another"}
        container = engine.containers.create(image, environment={"PROGRAM": SLEEP}, labels=labels)
        if running:
            container.start()
        left.append(container)
        return str(container.name)

    yield leave
    for container in left:
        with contextlib.suppress(docker.errors.NotFound):
            container.remove(force=True)


def test_what_emulators_that_have_gone_left_behind_is_removed(
    tmp_path: Path, image: str, engine: docker.DockerClient, leave: Callable[..., str]
) -> None:
    mine, living, dead, without_lock = (tmp_path / name for name in ("mine", "living", "dead", "without"))
    for directory in (mine, living, dead, without_lock):
        directory.mkdir()
    mine.joinpath("engine").write_text(SOCKET + "\n")
    dead.joinpath("lock").touch()
    gone = [leave(mine), leave(mine, running=False), leave(dead), leave(without_lock), leave(tmp_path / "nowhere")]
    leave(living)
    leave(mine, host="elsewhere")

    async def scenario(host: Host) -> None:
        assert host.engine.has_leftovers()
        container = host.container(SLEEP)
        await container.start()  # what was left would take memory beside it
        there = {each.name for each in engine.containers.list(all=True, ignore_removed=True)}
        assert not there & set(gone)
        left = leave(dead)
        assert await host.engine.sweep() == [left]
        assert len(ours(engine, mine)) == 2  # this one, and that of another machine
        assert len(ours(engine, living)) == 1
        assert host.engine.has_leftovers()
        await container.stop()
        assert await host.engine.sweep() == []
        assert not host.engine.has_leftovers()

    with living.joinpath("lock").open("w") as lock, mine.joinpath("lock").open("w") as own:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fcntl.flock(own, fcntl.LOCK_EX)
        play(scenario, mine, image)


def test_two_may_sweep_at_the_same_time(tmp_path: Path, image: str, leave: Callable[..., str]) -> None:
    names = {leave(tmp_path / "nowhere", running=False) for _ in range(6)}

    async def scenario(host: Host) -> None:
        other = Engine(host.directory, Events())
        removed = await asyncio.gather(host.engine.sweep(), other.sweep())
        assert names == {*removed[0], *removed[1]}
        await other.close()

    play(scenario, tmp_path, image)


def test_an_emulator_that_is_killed_leaves_a_mark(tmp_path: Path, image: str, engine: docker.DockerClient) -> None:
    code = "import sys; from tests.docker.test_container import start_and_die; start_and_die(*sys.argv[1:])"
    command = [sys.executable, "-c", code, str(tmp_path), image, leftovers.machine()]
    subprocess.run(command, cwd=REPOSITORY, timeout=60)
    assert len(ours(engine, tmp_path)) == 1
    assert tmp_path.joinpath("engine").read_text() == SOCKET + "\n"

    async def scenario(host: Host) -> None:
        assert len(await host.engine.sweep()) == 1

    play(scenario, tmp_path, image)
    assert ours(engine, tmp_path) == []
    assert not tmp_path.joinpath("engine").exists()


def start_and_die(directory: str, image: str, machine: str) -> None:
    """The part of the test above that is killed."""
    leftovers.machine = lambda: machine

    async def scenario(host: Host) -> None:
        await host.container(SLEEP).start()
        os.kill(os.getpid(), 9)

    play(scenario, Path(directory), image)


def test_an_engine_costs_nothing_until_it_is_used() -> None:
    code = """
import sys
from pathlib import Path
from emulator.containers import docker as container
from emulator.containers.docker.engine import Engine
from emulator.events import Events
engine = Engine(Path("/nowhere"), Events())
assert not engine.has_leftovers()
engine.abandon()
sys.exit("docker" in sys.modules)
"""
    environment = {**os.environ, "DOCKER_HOST": "tcp://127.0.0.1:1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_setup_error_is_what_callers_know() -> None:
    assert issubclass(EngineError, EmulatorError)
