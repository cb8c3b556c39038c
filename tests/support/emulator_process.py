"""A real ``localmme serve`` for tests: started as a user starts it, on a free port, and never left behind."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import boto3
import psutil
from botocore.config import Config

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTED_CONTAINER = f"{sys.executable} {REPOSITORY / 'tests' / 'support' / 'scripted_container.py'}"
T = TypeVar("T")


def archive(path: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write a model.tar.gz with these files; replaces what is there at once, as S3 does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    hidden = path.with_name("." + path.name)
    hidden.write_bytes(buffer.getvalue())
    hidden.rename(path)
    return path


def scripted_model(path: Path, answer: str = "", **script: Any) -> Path:
    """An archive for the scripted container, with its cues."""
    return archive(path, {"answer.txt": answer or path.name, "script.json": json.dumps(script)})


def files_below(directory: Path) -> list[Path]:
    """Every file there. What is deleted while it looks is passed over; ``Path.rglob`` would raise."""
    return [Path(folder, name) for folder, _, names in os.walk(directory) for name in names]


def eventually(check: Callable[[], T], seconds: float = 20.0, what: str = "") -> T:
    """Poll until ``check`` returns something true; its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < deadline, f"never happened: {what or check}"
        time.sleep(0.02)


class Growth:
    """By how much more memory a process has than when it was first looked at, at most."""

    def __init__(self) -> None:
        self.bytes = 0


@contextmanager
def most_memory(process: psutil.Process) -> Iterator[Growth]:
    """Watch a process; look at the growth afterwards."""
    growth, before, done = Growth(), process.memory_info().rss, threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            growth.bytes = max(growth.bytes, process.memory_info().rss - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield growth
    finally:
        done.set()
        watcher.join()


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Emulator:
    """One ``localmme serve``."""

    def __init__(
        self,
        *arguments: str,
        state: Path,
        environment: Mapping[str, str] | None = None,
        directory: Path = REPOSITORY,
    ) -> None:
        """Started in ``directory``, to which the arguments' paths are relative."""
        self.state_directory = state
        self.output: list[str] = []
        self.errors: list[str] = []
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
        self.url = ""
        self._client: Any = None

    @staticmethod
    def _read(stream: Any, lines: list[str]) -> None:
        for line in stream:
            lines.append(line.rstrip("\n"))

    # Life

    def wait_in_service(self, seconds: float = 60.0) -> Emulator:
        eventually(lambda: self.output or self._process.poll() is not None, seconds, "InService")
        assert self.output, "\n".join(self.errors)
        assert "is InService at" in self.output[0], self.output
        self.url = self.output[0].split(" at ")[1].split()[0]
        return self

    def wait_ready(self, seconds: float = 60.0) -> Emulator:
        """Of one that is started without an endpoint."""
        eventually(lambda: self.output or self._process.poll() is not None, seconds, "ready")
        assert self.output, "\n".join(self.errors)
        assert self.output[0].startswith("localmme is ready at "), self.output
        self.url = self.output[0].split(" at ")[1].split()[0]
        return self

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
        if self._process.poll() is None:
            self._process.terminate()
        return self.wait()

    @property
    def log(self) -> str:
        return "\n".join(self.errors)

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

    def client_of(self, service: str, **config: Any) -> Any:
        """boto3's client of one of the emulator's services, which tries once."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="placeholder",
            aws_secret_access_key="placeholder",
            config=Config(**{"retries": {"total_max_attempts": 1}, **config}),
        )

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


class Journal:
    """What the scripted container wrote down."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self, call: str | None = None) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        entries = [json.loads(line) for line in self.path.read_text().splitlines()]
        return [entry for entry in entries if call is None or entry.get("call") == call]

    def calls(self, *calls: str) -> list[str]:
        """The names of the calls in their order, of these kinds only."""
        return [entry["call"] for entry in self.entries() if entry.get("call") in calls]


def localmme(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run another command of localmme to its end."""
    command = [sys.executable, "-m", "localmme", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, **options)
