"""What the operations on training and transform jobs have in common: who may create them, and their records."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from emulator.aws.errors import AwsError
from emulator.services.sagemaker.control_plane import ControlPlane
from emulator.services.sagemaker.errors import job_exists, job_has_ended, job_not_found, jobs_need_s3, no_local_code
from emulator.services.sagemaker.models import refuse_not_emulated
from emulator.services.sagemaker.records import Document, JobRecord, now

if TYPE_CHECKING:  # nothing of jobs is imported before the first is created
    from emulator.jobs.jobs import Jobs

# [ours] The FailureReason of a job whose emulator was killed.
EMULATOR_ENDED = "InternalServerError: The emulator ended while the job was under way."
R = TypeVar("R", bound=JobRecord)

log = logging.getLogger("localmme")


async def place_for(control_plane: ControlPlane, kind: type[JobRecord], request: dict[str, Any]) -> tuple[Jobs, Path]:
    """Where a new job runs, and the directory that stands for S3. Raises AwsError when it may not be created."""
    name = request[f"{kind.stem}Name"]
    if control_plane.registry.get(kind, name) is not None:
        raise job_exists(noun(kind), control_plane.arn(kind.kind, name))
    refuse_not_emulated(f"Create{kind.stem}Request", request)
    if not control_plane.local_code:  # its Environment is that of processes, even if it names no command
        raise no_local_code()
    if control_plane.jobs is None or control_plane.s3_root is None:
        raise jobs_need_s3()
    return await control_plane.jobs(), control_plane.s3_root


def record_of(control_plane: ControlPlane, kind: type[R], request: Mapping[str, Any]) -> R:
    """The record of the job that a request names. Raises AwsError when there is no such job."""
    record = control_plane.registry.get(kind, request[f"{kind.stem}Name"])
    if record is None:
        raise job_not_found()
    return record


async def stop(control_plane: ControlPlane, record: JobRecord) -> None:
    """Begin to stop a job. Raises AwsError when it has ended."""
    if not record.runs:
        raise job_has_ended(noun(type(record)), record.status)
    assert control_plane.jobs is not None
    job = (await control_plane.jobs()).get(f"{record.stem}s", record.name)
    if job is not None:
        job.stop()


async def remember(control_plane: ControlPlane, record: JobRecord, state: Document) -> None:
    """Store how far a job has come. If it cannot be written, the job goes on nevertheless."""
    record.state, record.modified = state, now()
    try:
        async with control_plane.changing:
            if control_plane.registry.get(type(record), record.name) is record:  # it may be deleted once it ended
                await control_plane.keep(record)
    except AwsError as error:
        log.warning("%s %s: %s", noun(type(record)).capitalize(), record.name, error)


def noun(kind: type[JobRecord]) -> str:
    """What a kind of job is called."""
    return kind.kind.replace("-", " ")
