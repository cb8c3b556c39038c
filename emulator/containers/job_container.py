"""The interface to a container that runs to its end, such as that of a training job."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from emulator.containers.aws_settings import AwsSettings
from emulator.containers.output_files import OutputFile, files_below

ML = "/opt/ml"  # [dg] where a container finds its input, and leaves its output


@dataclass(frozen=True)
class JobContainerSettings:
    """What the platform sets for the container of a job."""

    name: str  # for people: the job's
    environment: Mapping[str, str]
    ml_directory: Path  # what it finds as /opt/ml when it starts; deleted by a container that has a copy
    memory_bytes: int
    vcpus: int
    gpus: int  # -1 = all there are
    host_name: str  # such as algo-1
    aws: AwsSettings | None  # how its code calls AWS; None = it may not


class JobContainer(abc.ABC):
    """One run of a container: started once, ended once."""

    def __init__(self, settings: JobContainerSettings) -> None:
        self.settings = settings

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
        """SIGTERM, SIGKILL so many ``seconds`` later; returns when its process has ended. May be called twice."""

    def output(self, path: str) -> Iterator[OutputFile]:
        """What it has written below ``/opt/ml/PATH``; nothing if that is not a directory. Blocks.

        At any time from its start to ``remove``. Raises OSError, and SetupError when its engine does not answer.
        """
        return files_below(self.settings.ml_directory, path)

    async def remove(self) -> None:
        """End it, and delete what is left of it but for ``ml_directory``. May be called twice."""
        await self.stop(0)
