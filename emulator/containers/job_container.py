"""The interface to a container that runs to its end, such as that of a training job."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from emulator.containers.aws_settings import AwsSettings


@dataclass(frozen=True)
class JobContainerSettings:
    """What the platform sets for the container of a job."""

    name: str  # for people: the job's
    environment: Mapping[str, str]
    ml_directory: Path  # what it sees as /opt/ml, and may write to
    memory_bytes: int
    vcpus: int
    gpus: int  # -1 = all there are
    host_name: str  # such as algo-1
    aws: AwsSettings | None  # how its code calls AWS; None = it may not


class JobContainer(abc.ABC):
    """One run of a container: started once, ended once."""

    @abc.abstractmethod
    async def start(self) -> None:
        """Start it; returns when its process runs.

        Raises SetupError when it cannot be started at all (no such program, no such image).
        """

    @abc.abstractmethod
    async def wait(self) -> int:
        """Wait until its main process has ended, and all of its output has been reported; its exit code.

        Negative for a signal; -9 also if it passed its memory.
        """

    @abc.abstractmethod
    async def stop(self, seconds: float) -> None:
        """SIGTERM, SIGKILL so many ``seconds`` later; returns when nothing of it is left. May be called twice."""
