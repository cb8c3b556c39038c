"""A real ``localmme serve`` for tests: started as a user starts it, on a free port, and never left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.support.aws_clients import aws_client
from tests.support.processes import wait_until_ended
from tests.support.repository import REPOSITORY
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from typing_extensions import Self


class RunningEmulator:
    """What tests ask of an emulator, wherever it runs."""

    def __init__(self, state: Path) -> None:
        self.state_directory = state
        self.output: list[str] = []
        self.errors: list[str] = []
        self.url = ""
        self._client: Any = None

    # Life

    def runs(self) -> bool:
        """Whether it has not ended."""
        raise NotImplementedError

    def wait_in_service(self, seconds: float = 60.0) -> Self:
        eventually(lambda: self.output or not self.runs(), seconds, "InService")
        assert self.output, self.log
        assert "is InService at" in self.output[0], self.output
        self.url = self.output[0].split(" at ")[1].split()[0]
        return self

    def wait_ready(self, seconds: float = 60.0) -> Self:
        """Of one that is started without an endpoint."""
        eventually(lambda: self.output or not self.runs(), seconds, "ready")
        assert self.output, self.log
        assert self.output[0].startswith("localmme is ready at "), self.output
        self.url = self.output[0].split(" at ")[1].split()[0]
        return self

    @property
    def log(self) -> str:
        return "\n".join(self.errors)

    def wait_until_logged(self, text: str) -> None:
        """Wait for a text in the log; when it does not come, the error shows the log's end."""
        try:
            eventually(lambda: text in self.log)
        except AssertionError:
            raise AssertionError(f"never logged: {text}\n{self.log[-10_000:]}") from None

    # Clients

    def client(self, **config: Any) -> Any:
        """boto3's sagemaker-runtime client, which tries once and waits as long as SageMaker may take."""
        if not config and self._client is not None:
            return self._client
        settings = {"read_timeout": 90, "max_pool_connections": 200, **config}
        client = self.client_of("sagemaker-runtime", **settings)
        if not config:
            self._client = client
        return client

    def client_of(self, service: str, **settings: Any) -> Any:
        """boto3's client of one of the emulator's services, see ``aws_client``."""
        return aws_client(service, self.url, **settings)

    def invoke(self, target_model: str, body: bytes | str = b"{}", **request: Any) -> Any:
        """The answer's body; parsed if it is JSON."""
        request.setdefault("ContentType", "application/json")
        response = self.client().invoke_endpoint(EndpointName="local", TargetModel=target_model, Body=body, **request)
        data = response["Body"].read()
        return json.loads(data) if response.get("ContentType") == "application/json" else data

    def states(self) -> list[dict[str, Any]]:
        """What the state says of the endpoints."""
        with urllib.request.urlopen(self.url + "/_localmme/state") as answer:
            return json.load(answer)["endpoints"]

    def state(self) -> dict[str, Any]:
        """What it says of the first endpoint."""
        return self.states()[0]

    def instances(self) -> list[dict[str, Any]]:
        """What the state says of the instances, of all variants."""
        return [instance for variant in self.state()["variants"] for instance in variant["instances"]]

    def instance(self) -> dict[str, Any]:
        """What the state says of the first instance."""
        return self.instances()[0]

    def container(self) -> dict[str, Any]:
        """What the state says of its first container."""
        return self.instance()["containers"][0]

    def model(self, target_model: str) -> dict[str, Any]:
        """What the state says of one model."""
        return next(model for model in self.state()["models"] if model["target_model"] == target_model)

    def in_memory(self) -> set[str]:
        return {model["target_model"] for model in self.state()["models"] if model["in_memory"]}

    def on_disk(self) -> set[str]:
        return {model["target_model"] for model in self.state()["models"] if model["on_disk"]}

    def health(self) -> int:
        try:
            with urllib.request.urlopen(self.url + "/_localmme/health") as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code


class Emulator(RunningEmulator):
    """One ``localmme serve``, a process."""

    def __init__(
        self,
        *arguments: str,
        state: Path,
        environment: Mapping[str, str] | None = None,
        directory: Path = REPOSITORY,
    ) -> None:
        """Started in ``directory``, to which the arguments' paths are relative."""
        super().__init__(state)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "localmme", "serve", "--port", "0", "--state-dir", str(state), *arguments],
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self._readers = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((self._process.stdout, self.output), (self._process.stderr, self.errors))
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream: Any, lines: list[str]) -> None:
        for line in stream:
            lines.append(line.rstrip("\n"))

    # Life

    def runs(self) -> bool:
        """Whether its first process has not ended."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def worker(self) -> psutil.Process:
        """The process that holds the hosting state."""
        return psutil.Process(self.pid).children()[0]

    def processes(self) -> list[psutil.Process]:
        """All of it, containers included."""
        me = psutil.Process(self.pid)
        return [me, *me.children(recursive=True)]

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self, seconds: float = 60.0) -> int:
        """The exit code."""
        code = self._process.wait(seconds)
        for reader in self._readers:
            reader.join(5)
        return code

    def stop(self) -> int:
        if self.runs():
            self._process.terminate()
        return self.wait()


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    """The directory that stands for the S3 prefix."""
    directory = tmp_path / "s3"
    directory.mkdir()
    return directory


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Emulator]]:
    """Start ``localmme serve`` with these arguments, without waiting; all are stopped afterwards.

    After the test, none of their processes may be left.
    """
    emulators: list[Emulator] = []

    def start(*arguments: str, environment: dict[str, str] | None = None) -> Emulator:
        emulator = Emulator(*arguments, state=tmp_path / f"state-{len(emulators)}", environment=environment)
        emulators.append(emulator)
        return emulator

    yield start
    left = []
    for emulator in emulators:
        processes = emulator.processes() if emulator.runs() else []
        emulator.stop()
        left += processes
    wait_until_ended(left)


@pytest.fixture
def serve(start: Callable[..., Emulator]) -> Callable[..., Emulator]:
    """Start an emulator, and wait until the endpoint is InService."""

    def serve(*arguments: str, environment: dict[str, str] | None = None) -> Emulator:
        return start(*arguments, environment=environment).wait_in_service()

    return serve
