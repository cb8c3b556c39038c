"""S3 servers for tests: the emulator's, in a process of its own, and its clients."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.support.aws_clients import aws_client
from tests.support.repository import REPOSITORY
from tests.support.waiting import eventually


def client(url: str, **config: Any) -> Any:
    """boto3's S3 client."""
    return aws_client("s3", url, **config)


class S3Server:
    """The emulator with S3 over ``root``."""

    def __init__(self, root: Path, state: Path, environment: Mapping[str, str] | None = None) -> None:
        self.root = root
        self.errors: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.s3_server", str(root), str(state)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.client = client(self.url)
        eventually(self._answers, 20, "S3 answers")

    def _answers(self) -> bool:
        try:
            self.client.list_buckets()
        except Exception:
            assert self._process.poll() is None, "\n".join(self.errors)
            return False
        return True

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.errors.append(line.rstrip("\n"))

    @property
    def address(self) -> str:
        """Host and port."""
        return self.url.removeprefix("http://")

    def worker(self) -> psutil.Process:
        return psutil.Process(self._process.pid).children()[0]

    def kill(self) -> None:
        """As kill -9 does it, to all of its processes at once."""
        for process in (self.worker(), psutil.Process(self._process.pid)):
            process.kill()
        self._process.wait(20)

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait(30)
        self._reader.join(5)


@contextmanager
def served(directory: Path) -> Iterator[S3Server]:
    """S3 over a directory below this one; it must not have complained of anything in the end."""
    server = S3Server(directory / "s3", directory / "state")
    try:
        yield server
    finally:
        server.stop()
    assert server.errors == []
