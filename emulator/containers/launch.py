"""What can run as a container, an image or a command, and how a container is made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from emulator.containers.container import Container, ContainerSettings, LogSink
from emulator.containers.process.container import ProcessContainer
from emulator.containers.process.environment import InheritedEnvironment
from emulator.limits import Limits

if TYPE_CHECKING:
    from emulator.containers.docker.engine import Engine


@dataclass(frozen=True)
class Image:
    """A container that runs on a Docker Engine."""

    reference: str  # name, name:tag, name@digest or an ECR URI

    @property
    def image(self) -> str:
        """How it is written as the member ``Image``."""
        return self.reference


@dataclass(frozen=True)
class Command:
    """A container that runs as a local process."""

    words: Sequence[str]
    directory: Path  # in which it runs
    image: str = field(default="", compare=False)  # how it is written as the member ``Image``
    takes_socket: bool = False  # whether it can listen at a Unix socket, as localmme's own server does


@dataclass(frozen=True)
class Stub:
    """A container that is none: a file says what is answered."""

    file: Path
    image: str = field(default="", compare=False)  # how it is written as the member ``Image``


Program = Image | Command | Stub  # all kinds of what can run as a container
# Makes a container, not started, that runs something with these settings and limits. The last argument takes warnings.
ContainerFactory = Callable[[Program, ContainerSettings, Limits, LogSink, Callable[[str], None]], Container]


def new_container(
    runs: Program,
    settings: ContainerSettings,
    limits: Limits,
    log: LogSink,
    warn: Callable[[str], None] = lambda _: None,
    *,
    engine: Engine,
    inherited: InheritedEnvironment,
    check_labels: bool = True,
) -> Container:
    """A new run of a container, not started yet. Nothing of Docker is imported for a command.

    ``warn`` takes what its user should know; ``inherited`` is for commands. ``check_labels=False`` also runs an image
    that does not say what it is capable of.
    """
    if isinstance(runs, Command):
        return ProcessContainer(
            runs.words, runs.directory, settings, limits, log, warn, inherited=inherited, takes_socket=runs.takes_socket
        )
    if isinstance(runs, Stub):
        from emulator.containers.stub.container import StubContainer

        return StubContainer(runs.file, log, warn)
    from emulator.containers.docker.container import DockerContainer

    return DockerContainer(engine, runs.reference, settings, limits, log, warn, check_labels=check_labels)
