"""An engine as an emulator has it, in the test's own process, and small programs as containers on it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import pytest

from emulator.containers.container import ContainerSettings
from emulator.containers.docker import leftovers
from emulator.containers.docker.container import DockerContainer
from emulator.containers.docker.engine import Engine
from emulator.containers.docker.leftovers import OWNER_LABEL
from emulator.events import Events
from emulator.limits import Limits
from emulator.timeouts import in_time
from tests.support.docker_fixtures import machine_of_this_run
from tests.support.real_servers.images import BIND_TO_PORT_LABEL, FROM, MULTI_MODEL_LABEL, Images
from tests.support.waiting import PATIENCE

MIB = 2**20
SOCKET = "unix:///var/run/docker.sock"
# The entry point of an image whose container does what $PROGRAM says, and ends at once with SIGTERM: the kernel keeps
# signals from the first process of a container that has no handler for them.
PROGRAM = (
    'ENTRYPOINT ["python3", "-u", "-c", '
    "\"import os, signal; signal.signal(15, lambda *_: os._exit(143)); exec(os.environ['PROGRAM'])\"]\n"
)
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


def container_settings(directory: Path, **given: Any) -> ContainerSettings:
    """That of a container for many models, which has an instance to itself."""
    usual: dict[str, Any] = {
        "name": "primary",
        "environment": {},
        "multi_model": True,
        "models": directory / "models",
        "memory_bytes": 256 * MIB,
        "vcpus": 4,
        "gpus": 0,
        "position": 0,
        "shares_instance": False,
        "scratch": directory,
    }
    return ContainerSettings(**{**usual, **given})


@dataclass
class Host:
    """An engine as an emulator has it, and what its containers have logged."""

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
        **given: Any,
    ) -> DockerContainer:
        """A container of the program, not started; ``given`` is what is unusual in its settings."""
        self.directory.joinpath("models").mkdir(exist_ok=True)
        variables = {"PROGRAM": program, **(environment or {})}
        return DockerContainer(
            self.engine,
            image or self.image,
            container_settings(self.directory, environment=variables, **given),
            limits or Limits(stop_seconds=1),
            self.lines.append,
            self.warnings.append,
        )

    async def reported(self, **given: Any) -> dict[str, Any]:
        """What a container reports of itself."""
        container = self.container(TELL, **given)
        await container.start()
        assert await container.wait() == "ended with exit code 0"
        await container.stop()
        reported: dict[str, Any] = json.loads(self.lines.pop())
        return reported

    def model(self, name: str, text: str) -> Path:
        """The directory of a model with one file."""
        directory = self.directory / "models" / name / "model"
        directory.mkdir(parents=True, mode=0o700)
        file = directory / "weights.txt"
        file.write_text(text)
        file.chmod(0o600)
        return directory

    async def line(self, text: str, seconds: float = PATIENCE) -> None:
        """Wait for a line of log."""
        deadline = time.monotonic() + seconds
        while text not in self.lines:
            assert time.monotonic() < deadline, self.lines
            await asyncio.sleep(0.02)


Scenario = Callable[[Host], Awaitable[object]]
Run = Callable[[Scenario], None]


def play(scenario: Scenario, directory: Path, image: str, seconds: float = 60) -> None:
    """Run a scenario with an engine of its own."""

    async def run() -> None:
        host = Host(Engine(directory, Events()), directory, image)
        try:
            await in_time(scenario(host), seconds)
        finally:
            await host.engine.close()

    asyncio.run(run())


def containers_of(engine: docker.DockerClient, owner: Path) -> list[str]:
    """The names of the containers of an emulator with this state directory."""
    listed = engine.containers.list(all=True, filters={"label": f"{OWNER_LABEL}={owner}"}, ignore_removed=True)
    return [container.name for container in listed]


async def fetch(container: DockerContainer, path: str, seconds: float = PATIENCE) -> bytes:
    """The body of a GET, once the container answers; where that is not a 200, the status line."""
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


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever else is tested on this engine seems to be on another machine: neither sweeps what the other leaves."""
    name = machine_of_this_run()
    monkeypatch.setattr(leftovers, "machine", lambda: name)


@pytest.fixture
def program_image(images: Images) -> str:
    """An image whose container does what $PROGRAM says."""
    return images.build("program", FROM + MULTI_MODEL_LABEL + BIND_TO_PORT_LABEL + PROGRAM)


@pytest.fixture
def run_scenario(tmp_path: Path, program_image: str, engine: docker.DockerClient, alone: None) -> Iterator[Run]:
    """Run a scenario. After the test none of its containers may be left."""
    yield lambda scenario: play(scenario, tmp_path, program_image)
    assert containers_of(engine, tmp_path) == []
    assert not tmp_path.joinpath("engine").exists()
