"""The transform jobs that run, by name."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace

from emulator.hosting.tasks import cancel
from emulator.hosting.workspace import Workspace
from emulator.jobs.transform_definition import TransformDefinition
from emulator.jobs.transform_job import TransformJob
from emulator.storage.object_store import ObjectStore

KIND = "TransformJobs"  # as in the names of log groups


class TransformJobs:
    """Those of an emulator. A job that has ended is not here any more."""

    def __init__(self, workspace: Workspace, store: ObjectStore) -> None:
        self._workspace, self._store = workspace, store
        self._jobs: dict[str, TransformJob] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def get(self, name: str) -> TransformJob | None:
        return self._jobs.get(name)

    def new(self, definition: TransformDefinition, changed: Callable[[TransformJob], Awaitable[None]]) -> TransformJob:
        """A job that is ``start``ed next. See TransformJob for ``changed``."""

        async def has_changed() -> None:
            await changed(job)

        # [dg] The form of a log stream's name: JOB/INSTANCE-SECONDS.
        instance_id = f"i-{secrets.token_hex(8)}-{int(self._workspace.clock.now())}"
        names = {"region": definition.region, "job_kind": KIND, "job_name": definition.name, "instance_id": instance_id}
        workspace = replace(
            self._workspace,
            directory=self._workspace.directory / f"_{KIND}" / definition.name,  # no endpoint has such a name
            events=self._workspace.events.within(**names),
        )
        job = TransformJob(definition, workspace, self._store, has_changed)
        return job

    def start(self, job: TransformJob) -> None:
        self._jobs[job.definition.name] = job
        task = asyncio.create_task(self._run(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, job: TransformJob) -> None:
        try:
            await job.run()
        finally:
            self._jobs.pop(job.definition.name, None)

    async def stop(self) -> None:
        """End all of them; nothing of them is left."""
        await cancel(self._tasks)
