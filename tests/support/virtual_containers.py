"""Containers and archives for an event loop at virtual time: everything about them is waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from emulator.archives.extraction import Extracted
from emulator.archives.source import Version
from emulator.containers.container import Container
from emulator.containers.contract import Answer, ContainerContract
from emulator.errors import ContainerUnreachable
from emulator.invocation import Invocation
from emulator.limits import Limits

MODEL_BYTES = 10
EXTRACT_SECONDS, LOAD_SECONDS, UNLOAD_SECONDS, ANSWER_SECONDS = 3.0, 2.0, 0.5, 0.05


class VirtualContract:
    """A container whose models take up memory, and time to come and go. Calls under way fail when it is closed."""

    def __init__(self) -> None:
        self.loaded: dict[str, str] = {}  # target models by name
        self.most_loaded = 0
        self._closed = False

    async def ping(self) -> None: ...

    async def check_list(self) -> None: ...

    def close(self) -> None:
        self._closed = True

    async def load(self, name: str, target_model: str, url: str, deadline: float) -> Answer:
        assert name not in self.loaded, "it is loaded already"
        self.loaded[name] = target_model
        self.most_loaded = max(self.most_loaded, len(self.loaded))
        await self._pass(LOAD_SECONDS)
        return Answer(200, [])

    async def unload(self, name: str, target_model: str) -> Answer:
        await self._pass(UNLOAD_SECONDS)
        del self.loaded[name]
        return Answer(200, [])

    async def invoke(self, path: str, invocation: Invocation, deadline: float) -> Answer:
        assert self.loaded[path.split("/")[2]] == invocation.target_model
        await self._pass(ANSWER_SECONDS)
        return Answer(200, [], b"answer")

    async def _pass(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self._closed:
            raise ContainerUnreachable("the container has ended")


class VirtualContainer(Container):
    """One that ends when the test says so."""

    host, port = "nowhere", 0

    def __init__(self, contract: VirtualContract) -> None:
        self._contract = contract
        self._ended = asyncio.Event()
        self.stopped_in: list[float | None] = []  # each time that it was stopped: after how many seconds

    def contract(self, limits: Limits) -> ContainerContract:
        return cast(ContainerContract, self._contract)

    async def start(self) -> None: ...

    def die(self) -> None:
        """It ends, and its memory is gone."""
        self._ended.set()

    async def wait(self) -> str:
        await self._ended.wait()
        return "ended with exit code 1"

    async def stop(self, seconds: float | None = None) -> None:
        self.stopped_in.append(seconds)

    async def memory_used(self) -> int:
        return MODEL_BYTES * len(self._contract.loaded)

    async def cpu_seconds(self) -> float | None:
        return None

    async def deliver(self, model_directory: Path) -> str:
        return str(model_directory)


class VirtualSource:
    """A prefix in S3 that has every archive; VirtualFiles do not read them."""

    is_remote = False

    def check(self) -> None: ...

    def archives(self) -> Iterator[tuple[str, int]]:
        return iter(())

    def close(self) -> None: ...


class VirtualFiles:
    """Archives that take time to extract, and no disk."""

    directory = Path("nowhere")
    is_remote = False

    def path(self, model_name: str) -> Path:
        return self.directory / model_name

    async def clear(self) -> None: ...

    async def extract(self, target_model: str, model_name: str, max_bytes: int) -> tuple[Extracted, Version]:
        await asyncio.sleep(EXTRACT_SECONDS)
        return Extracted(MODEL_BYTES, 1), "version"

    async def delete(self, model_name: str) -> None: ...

    async def versions(self, target_models: Any) -> dict[str, Version]:
        return {}

    def close(self) -> None: ...
