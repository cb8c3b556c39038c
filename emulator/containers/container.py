"""The interface through which hosting uses a container, however it runs."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from emulator.containers.aws_settings import AwsSettings
from emulator.containers.contract import ContainerContract
from emulator.containers.memory_limit import MemoryLimit
from emulator.limits import Limits

LONGEST_LOG_LINE = 64 * 1024  # bytes; one that is longer is cut into pieces
LogSink = Callable[[str], None]  # takes one line of a container's output, without its line end


X86, GRAVITON = "amd64", "arm64"  # architectures of processors


@dataclass(frozen=True)
class ContainerSettings:
    """What the platform sets for a container, for all of its runs."""

    name: str  # as SageMaker calls it: in a model of several containers, its host name
    environment: Mapping[str, str]
    multi_model: bool
    # What it sees as /opt/ml/models (one directory for each model) or, not being multi-model, /opt/ml/model.
    models: Path
    memory_bytes: int
    vcpus: int
    gpus: int  # -1 = all there are
    position: int  # among the containers of its instance, from 0
    shares_instance: bool  # with other containers, so that it must bind to its assigned port
    scratch: Path  # the instance's disk, which goes when the emulator was killed
    architecture: str = X86  # of the instance's processors, as Docker calls it
    aws: AwsSettings | None = None  # how its code calls AWS; None = there is no emulator that it could call


class Container(abc.ABC):
    """One run of a container: started once, stopped once; a restart is a new Container."""

    host: str  # where it listens, once it is started
    port: int
    socket: Path | None = None  # where it listens instead, if there is one
    memory_limit: MemoryLimit | None = None  # None = nothing but this machine's memory limits it

    @abc.abstractmethod
    async def start(self) -> None:
        """Start it; returns when its process runs, which is before it is healthy.

        Raises SetupError when it cannot be started at all (no such program, no such image).
        """

    @abc.abstractmethod
    async def wait(self) -> str:
        """Wait until its main process has ended; how it ended, in words that follow "it"."""

    @abc.abstractmethod
    async def stop(self, seconds: float | None = None) -> None:
        """SIGTERM, SIGKILL so many ``seconds`` later; returns when nothing of it is left. May be called twice.

        None = after ``Limits.stop_seconds``.
        """

    @abc.abstractmethod
    async def memory_used(self) -> int:
        """Bytes of memory in use by all of it. 0 once it has ended."""

    async def killed_for_memory(self, look: bool) -> int:
        """How many processes have been killed so far because it used more memory than it may.

        ``look``: now as well, if it does; so does ``memory_used``. 0 where the kernel kills: it is never too late, so
        that a load fails by itself.
        """
        return 0

    @abc.abstractmethod
    async def cpu_seconds(self) -> float | None:
        """Seconds of processor time that it has used, all cores together; None if unknown."""

    @property
    def address(self) -> str:
        """Where it listens: HOST:PORT, or unix:PATH."""
        return f"unix:{self.socket}" if self.socket else f"{self.host}:{self.port}"

    def contract(self, limits: Limits) -> ContainerContract:
        """A client of it, once it is started; to be closed by the caller."""
        return ContainerContract(self.host, self.port, limits, self.socket)

    @abc.abstractmethod
    async def deliver(self, model_directory: Path) -> str:
        """See to it that the container has a model directory of the storage volume; the ``url`` to load it by.

        Raises ContainerError when it cannot be brought there.
        """
