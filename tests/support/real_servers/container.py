"""A container as a plain process on a free port, and the calls of SageMaker's contract to it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator.containers.process.ports import PortRange

TARGET_MODEL = "X-Amzn-SageMaker-Target-Model"


@dataclass(frozen=True)
class Answer:
    """What the container answered."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Caller:
    """Speaks to a container on a port of this machine, as the platform does."""

    port: int

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = {}, timeout: float = 60
    ) -> Answer:
        """One call on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def ping(self) -> Answer:
        """Ask whether it is healthy."""
        return self.call("GET", "/ping", timeout=2)

    def load(self, name: str, directory: Path, target_model: str | None = None) -> Answer:
        """Load the model in a directory under an opaque name."""
        request = json.dumps({"model_name": name, "url": str(directory)}).encode()
        return self.call("POST", "/models", request, {"Content-Type": "application/json", **target(target_model)})

    def list(self) -> Answer:
        """The models that are loaded."""
        return self.call("GET", "/models")

    def get(self, name: str) -> Answer:
        """One loaded model."""
        return self.call("GET", f"/models/{name}")

    def unload(self, name: str, target_model: str | None = None) -> Answer:
        """Unload a model."""
        return self.call("DELETE", f"/models/{name}", None, target(target_model))

    def invoke(
        self,
        name: str,
        body: bytes,
        content_type: str = "application/json",
        target_model: str | None = None,
        headers: Mapping[str, str] = {},
        timeout: float = 60,
    ) -> Answer:
        """Invoke a model."""
        headers = {"Content-Type": content_type, **target(target_model), **headers}
        return self.call("POST", f"/models/{name}/invoke", body, headers, timeout)


@dataclass(frozen=True)
class Container(Caller):
    """A container that runs as a plain process."""

    process: subprocess.Popen[bytes]
    log: Path

    def wait_until_healthy(self, seconds: float = 60) -> None:
        """Wait for the first good ping.

        Raises RuntimeError, with the end of the log, when there is none in time.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(OSError):
                if self.ping().status == 200:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"the container is not healthy after {seconds} s:\n{self.log.read_text()[-4000:]}")


def target(target_model: str | None) -> dict[str, str]:
    """The header that names the caller's model."""
    return {} if target_model is None else {TARGET_MODEL: target_model}


@contextmanager
def started(command: Sequence[str], log: Path, environment: Mapping[str, str] = {}) -> Iterator[Container]:
    """Start a container with the environment that the platform sets; its whole process group ends with the block."""
    ports = PortRange.bind("127.0.0.1")
    platform = {"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_BIND_TO_PORT": str(ports.port)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **platform, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Container(ports.port, process, log)
    finally:
        stop(process)
        ports.close()


def stop(process: subprocess.Popen[bytes], seconds: float = 10) -> None:
    """End a process politely, then its whole group by force."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
