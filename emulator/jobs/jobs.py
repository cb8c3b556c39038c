"""The jobs of an emulator: those that run, and what is needed to make others."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from emulator.hosting.tasks import cancel
from emulator.hosting.workspace import Workspace
from emulator.jobs.job import Job, JobKind
from emulator.jobs.training_definition import TrainingDefinition
from emulator.jobs.training_job import JobWorkspace, TrainingJob
from emulator.jobs.transform_definition import TransformDefinition
from emulator.jobs.transform_job import TransformJob


class Jobs:
    """A job that has ended is not here any more."""

    def __init__(self, workspace: JobWorkspace, hosting: Workspace) -> None:
        """``hosting`` is for the models of transform jobs."""
        self._workspace, self._hosting = workspace, hosting
        self._jobs: dict[tuple[str, str], Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def get(self, kind: str, name: str) -> Job | None:
        return self._jobs.get((kind, name))

    def new_training_job(
        self, definition: TrainingDefinition, changed: Callable[[TrainingJob], Awaitable[None]]
    ) -> TrainingJob:
        """A job that is ``start``ed next. See TrainingJob for ``changed``. Raises SetupError for an invalid metric."""
        directory = self._directory(TrainingJob.kind, definition.name)
        return TrainingJob(definition, replace(self._workspace, directory=directory), changed)

    def new_transform_job(
        self, definition: TransformDefinition, changed: Callable[[TransformJob], Awaitable[None]]
    ) -> TransformJob:
        """A job that is ``start``ed next. See TransformJob for ``changed``."""
        # [dg] The form of a log stream's name: JOB/INSTANCE-SECONDS.
        instance_id = f"i-{secrets.token_hex(8)}-{int(self._workspace.clock.now())}"
        names = {"job_kind": TransformJob.kind, "job_name": definition.name, "instance_id": instance_id}
        workspace = replace(
            self._hosting,
            directory=self._directory(TransformJob.kind, definition.name),
            events=self._hosting.events.within(region=definition.region, **names),
        )
        return TransformJob(definition, workspace, self._workspace.store, changed)

    def start(self, job: Job) -> None:
        self._jobs[job.kind, job.name] = job
        task = asyncio.create_task(self._run(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """End all of them; nothing of them is left."""
        await cancel(self._tasks)

    async def _run(self, job: Job) -> None:
        try:
            await job.run()
        finally:
            if self._jobs.get((job.kind, job.name)) is job:  # another one may have its name by now
                del self._jobs[job.kind, job.name]

    def _directory(self, kind: JobKind, name: str) -> Path:
        # No endpoint has such a name, and no other job: an earlier one of its name may still be tidying up.
        return self._workspace.directory / f"_{kind}-{name}-{secrets.token_hex(4)}"
