"""How the container of a training job is made of what its algorithm is: an image, a command or a script."""

from __future__ import annotations

from collections.abc import Callable

from emulator.containers.container import LogSink
from emulator.containers.docker.engine import Engine
from emulator.containers.job_container import JobContainer, JobContainerSettings
from emulator.containers.launch import Command, Image
from emulator.containers.process.environment import InheritedEnvironment
from emulator.errors import SetupError
from emulator.jobs.definition import TrainingDefinition
from emulator.limits import Limits

# Makes a container, not started, for a job. The last argument takes warnings.
JobContainerFactory = Callable[[TrainingDefinition, JobContainerSettings, LogSink, Callable[[str], None]], JobContainer]


def new_job_container(
    definition: TrainingDefinition,
    settings: JobContainerSettings,
    log: LogSink,
    warn: Callable[[str], None],
    *,
    limits: Limits,
    engine: Engine,
    inherited: InheritedEnvironment,
) -> JobContainer:
    """A new run of a job's container, not started yet. A command gets no arguments besides its own. Nothing of
    Docker is imported but for an image.

    Raises SetupError for what cannot run as a job.
    """
    algorithm = definition.algorithm
    if isinstance(algorithm, Command):
        from emulator.containers.process.job_container import ProcessJobContainer

        return ProcessJobContainer(
            algorithm.words,
            algorithm.directory,
            settings,
            log,
            warn,
            inherited=inherited,
            stop_seconds=limits.job_stop_seconds,
        )
    if not isinstance(algorithm, Image):
        raise SetupError("Scripts are not run.")
    from emulator.containers.docker.job_container import DockerJobContainer

    return DockerJobContainer(
        engine, algorithm.reference, settings, definition.entrypoint, definition.arguments, log, warn
    )
