"""Containers that are no processes, and answer with the text of their models: for tests of which model it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from emulator.containers import launch
from emulator.containers.container import ContainerSettings
from emulator.containers.contract import INVOCATIONS, invocation_path
from emulator.containers.http_connection import Answer
from emulator.invocation import Invocation
from tests.support.virtual_containers import VirtualContainer, VirtualContract


class AnsweringContract(VirtualContract):
    """An invocation is answered with the file ``answer.txt`` of its model, at once."""

    def __init__(self, models: Path) -> None:
        super().__init__()
        self._directories = {INVOCATIONS: models}  # by the path at which the model in it is invoked

    async def load(self, name: str, target_model: str, url: str, timeout: float) -> Answer:
        self.loaded[name] = target_model
        self._directories[invocation_path(name)] = Path(url)
        return Answer(200, [])

    async def unload(self, name: str, target_model: str) -> Answer:
        del self.loaded[name], self._directories[invocation_path(name)]
        return Answer(200, [])

    async def invoke(self, path: str, invocation: Invocation, timeout: float) -> Answer:
        return Answer(200, [], (self._directories[path] / "answer.txt").read_bytes())


def _container(
    command: Sequence[str], directory: Path, settings: ContainerSettings, *_: object, **_of_processes: object
) -> VirtualContainer:
    return VirtualContainer(AnsweringContract(settings.models))


@contextmanager
def answering_containers() -> Iterator[None]:
    """Every process container is one of these, whatever its command."""
    with mock.patch.object(launch, "ProcessContainer", _container):
        yield
