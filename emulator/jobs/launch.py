"""How the container of a training job is made of an image or a command."""

from __future__ import annotations

from collections.abc import Callable

from emulator.containers.container import LogSink
from emulator.containers.docker.engine import Engine
from emulator.containers.job_container import JobContainer, JobContainerSettings
from emulator.containers.launch import Command, Image
from emulator.containers.process.environment import InheritedEnvironment
from emulator.jobs.training_definition import TrainingDefinition
from emulator.limits import Limits

# Makes a container, not started, that runs something for a job. The last argument takes warnings.
JobContainerFactory = Callable[
    [Image | Command, TrainingDefinition, JobContainerSettings, LogSink, Callable[[str], None]], JobContainer
]


def new_job_container(
    runs: Image | Command,
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
    """
    if isinstance(runs, Command):
        from emulator.containers.process.job_container import ProcessJobContainer

        return ProcessJobContainer(
            runs.words,
            runs.directory,
            settings,
            log,
            warn,
            inherited=inherited,
            stop_seconds=limits.job_stop_seconds,
        )
    from emulator.containers.docker.job_container import DockerJobContainer

    return DockerJobContainer(engine, runs.reference, settings, definition.entrypoint, definition.arguments, log, warn)
