"""The embedded server for Python handlers as a process of its own, and models whose handlers do as a test says."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil

from tests.support.processes import wait_until_ended
from tests.support.real_servers.container import Answer, Container, started
from tests.support.waiting import eventually

COMMAND = [sys.executable, "-m", "emulator.model_server"]
T = TypeVar("T")

# Runs what the model directory's load.py says when it is loaded, then runs the request's body, as that of a function.
OBEDIENT = """
import os, signal, sys, time
from pathlib import Path

def until(path):
    while not os.path.exists(path):
        time.sleep(0.002)

def handle(data, context):
    if data is None:
        load = Path("load.py")
        exec(load.read_text() if load.exists() else "", globals())
        return None
    body = data[0]["body"].decode()
    exec("def call(data, context):\\n" + "\\n".join("    " + line for line in body.splitlines()), globals())
    return [call(data, context)]
"""


class Embedded:
    """A running embedded server."""

    def __init__(self, container: Container, directory: Path) -> None:
        self.container, self.directory = container, directory
        self._threads = ThreadPoolExecutor(128)

    @property
    def pid(self) -> int:
        return self.container.process.pid

    def model(self, name: str, load: str = "", **files: str) -> Path:
        """Write a model's directory: load.py, and other files by their stem."""
        directory = self.directory / "models" / name / "model"
        for stem, text in {"load": load, **files}.items():
            path = directory / (stem.replace("__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return directory

    def load(self, name: str, load: str = "", **files: str) -> Answer:
        """Write a model's directory and load it."""
        return self.container.load(name, self.model(name, load, **files))

    def loaded(self, name: str, load: str = "", **files: str) -> str:
        """The same; the name, when that went well."""
        answer = self.load(name, load, **files)
        assert answer.status == 200, answer.body
        return name

    def invoke(
        self, name: str, body: str | bytes = b"", content_type: str = "text/x-python", headers: Mapping[str, str] = {}
    ) -> Answer:
        """Invoke a model."""
        data = textwrap.dedent(body).encode() if isinstance(body, str) else body
        return self.container.invoke(name, data, content_type, headers=headers)

    def run(self, name: str, body: str) -> Any:
        """Run this in a model with the obedient handler; what it returned."""
        answer = self.invoke(name, body)
        assert answer.status == 200, answer.body
        return answer.json()

    def pid_of(self, name: str) -> int:
        """The process that answered."""
        return self.run(name, "return os.getpid()")

    def start(self, call: Callable[..., T], *arguments: Any, **more: Any) -> Future[T]:
        """Make a call in another thread."""
        return self._threads.submit(call, *arguments, **more)

    def names(self) -> list[str]:
        """The models that are loaded."""
        return [model["modelName"] for model in self.container.list().json()["models"]]

    def processes(self) -> list[psutil.Process]:
        """The spawner, and below it the workers."""
        return psutil.Process(self.pid).children(recursive=True)

    def workers(self) -> list[psutil.Process]:
        """The workers' processes, of all models."""
        (spawner,) = psutil.Process(self.pid).children()
        return spawner.children()

    def log(self) -> str:
        """What the server and its workers wrote to stdout and stderr."""
        return self.container.log.read_text(errors="replace")


@contextmanager
def embedded(directory: Path, *arguments: str, **environment: str) -> Iterator[Embedded]:
    """Start an embedded server; afterwards it is stopped, and nothing of it may be left."""
    directory.mkdir(parents=True, exist_ok=True)
    with started([*COMMAND, *arguments], directory / "log", environment) as container:
        container.wait_until_healthy(60)
        server = Embedded(container, directory)
        processes = server.processes()
        try:
            yield server
        finally:
            if psutil.pid_exists(server.pid):
                processes = server.processes()
    wait_until_ended(processes)


def obedient(directory: Path) -> str:
    """The path of a handler that does as it is told."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "obedient.py"
    path.write_text(OBEDIENT)
    return str(path)


def in_the_queue(server: Embedded, invocations: int) -> None:
    """Wait until this many invocations wait behind the one that is being answered."""
    listener_and_first = 2
    eventually(lambda: len(psutil.Process(server.pid).net_connections()) == listener_and_first + invocations)
    server.container.ping()  # when that is answered, what had come before has been read
