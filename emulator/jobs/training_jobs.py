"""The training jobs that run, by name."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

from emulator.hosting.tasks import cancel
from emulator.jobs.definition import TrainingDefinition
from emulator.jobs.training_job import JobWorkspace, TrainingJob


class TrainingJobs:
    """Those of an emulator. A job that has ended is not here any more."""

    def __init__(self, workspace: JobWorkspace) -> None:
        self._workspace = workspace
        self._jobs: dict[str, TrainingJob] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[TrainingJob]:
        return iter(list(self._jobs.values()))

    def get(self, name: str) -> TrainingJob | None:
        return self._jobs.get(name)

    def new(self, definition: TrainingDefinition, changed: Callable[[TrainingJob], Awaitable[None]]) -> TrainingJob:
        """A job that is ``start``ed next. See TrainingJob for ``changed``. Raises SetupError for an invalid metric."""

        async def has_changed() -> None:
            await changed(job)

        job = TrainingJob(definition, self._workspace, has_changed)
        return job

    def start(self, job: TrainingJob) -> None:
        self._jobs[job.definition.name] = job
        task = asyncio.create_task(self._run(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, job: TrainingJob) -> None:
        try:
            await job.run()
        finally:
            self._jobs.pop(job.definition.name, None)

    async def stop(self) -> None:
        """End all of them; nothing of them is left."""
        await cancel(self._tasks)
