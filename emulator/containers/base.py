"""The small interface by which hosting speaks to a container, however it runs."""

from __future__ import annotations

import abc
from collections.abc import Callable
from pathlib import Path

LogSink = Callable[[str], None]  # takes one line of a container's output, without its line end


class Container(abc.ABC):
    """One container: started once, stopped once; a restart is a new Container."""

    name: str  # as SageMaker would call it: its host name
    host: str
    port: int

    @abc.abstractmethod
    async def start(self) -> None:
        """Start it; returns when its process runs, which is before it is healthy.

        Raises SetupError when it cannot be started at all (no such program, no such image).
        """

    @abc.abstractmethod
    async def wait(self) -> int:
        """Wait until its main process has ended; the exit code, negative for a signal."""

    @abc.abstractmethod
    async def stop(self) -> None:
        """SIGTERM, SIGKILL after ``Limits.stop_seconds``; returns when nothing of it is left. May be called twice."""

    @abc.abstractmethod
    async def memory_used(self) -> int:
        """Bytes of memory in use by all of it. 0 once it has ended."""

    @abc.abstractmethod
    def model_url(self, model_directory: Path) -> str:
        """The ``url`` under which the container sees a model directory of the storage volume."""
