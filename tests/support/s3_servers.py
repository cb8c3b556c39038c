"""S3 servers for tests: an emulator with S3 and no endpoint, and its clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.aws_clients import aws_client
from tests.support.emulator_in_process import InProcessEmulator
from tests.support.emulator_process import Emulator


def client(url: str, **config: Any) -> Any:
    """boto3's S3 client."""
    return aws_client("s3", url, **config)


class S3Server:
    """The emulator with S3 over ``root``, which is made."""

    def __init__(
        self, root: Path, state: Path, kind: type[InProcessEmulator] | type[Emulator] = InProcessEmulator
    ) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.emulator: InProcessEmulator | Emulator = kind("--no-endpoint", "--s3", str(root), state=state)
        self.url = self.emulator.wait_ready().url
        self.client = client(self.url)

    @property
    def address(self) -> str:
        """Host and port."""
        return self.url.removeprefix("http://")

    def process(self) -> Emulator:
        """The emulator, of which the test does what can only be done to a process."""
        assert isinstance(self.emulator, Emulator)
        return self.emulator

    def stop(self) -> None:
        self.emulator.stop()


@contextmanager
def served(directory: Path, kind: type[InProcessEmulator] | type[Emulator] = InProcessEmulator) -> Iterator[S3Server]:
    """S3 over a directory below this one; it must not have complained of anything in the end."""
    server = S3Server(directory / "s3", directory / "state", kind)
    try:
        yield server
    finally:
        server.stop()
    assert [line for line in server.emulator.errors if "--s3-read-through" not in line] == []
