"""CreateTransformJob, DescribeTransformJob, ListTransformJobs, StopTransformJob."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from emulator.aws.errors import AwsError
from emulator.services.sagemaker.control_plane import ControlPlane, repeated
from emulator.services.sagemaker.errors import job_exists, job_has_ended, job_not_found, jobs_need_s3, no_local_code
from emulator.services.sagemaker.listing import page
from emulator.services.sagemaker.models import refuse_not_emulated
from emulator.services.sagemaker.records import Document, TransformJobRecord, now

if TYPE_CHECKING:  # nothing of jobs is imported before the first is created
    from emulator.jobs.transform_job import TransformJob

NOUN = "transform job"
RUNS = ("InProgress", "Stopping")
EMULATOR_ENDED = "InternalServerError: The emulator ended while the transform job was under way."  # [ours]

log = logging.getLogger("localmme")


async def create(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    name = request["TransformJobName"]
    if control_plane.registry.get(TransformJobRecord, name) is not None:
        raise job_exists(NOUN, control_plane.arn(TransformJobRecord.kind, name))
    refuse_not_emulated("CreateTransformJobRequest", request)
    if not control_plane.local_code:  # its Environment is that of processes
        raise no_local_code()
    if control_plane.transform_jobs is None or control_plane.s3_root is None:
        raise jobs_need_s3()
    from emulator.services.sagemaker.transform_definitions import transform_definition, with_defaults

    request = with_defaults(request)
    definition = await asyncio.to_thread(transform_definition, control_plane, control_plane.s3_root, request)
    jobs = await control_plane.transform_jobs()

    async def changed(job: TransformJob) -> None:
        await _remember(control_plane, record, described(job))

    job = jobs.new(definition, changed)
    record = TransformJobRecord(name, request, state=described(job))
    await control_plane.create(record)
    jobs.start(job)
    return {"TransformJobArn": control_plane.arn_of(record)}


async def describe(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    record = _record(control_plane, request)
    return {
        **repeated(record.arguments, "DescribeTransformJobResponse"),
        **record.state,
        "TransformJobArn": control_plane.arn_of(record),
        "CreationTime": record.created,
    }


async def list_(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    records, more = page(control_plane.registry.all(TransformJobRecord), request, lambda record: record.status)
    return {"TransformJobSummaries": [_summary(control_plane, record) for record in records], **more}


async def stop(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    record = _record(control_plane, request)
    if record.status not in RUNS:
        raise job_has_ended(NOUN, record.status)
    assert control_plane.transform_jobs is not None
    job = (await control_plane.transform_jobs()).get(record.name)
    if job is not None:
        job.stop()
    return {}


async def fail_interrupted(control_plane: ControlPlane) -> None:
    """Jobs that were under way when an earlier emulator ended are Failed."""
    for record in control_plane.registry.all(TransformJobRecord):
        if record.status in RUNS:
            ended = {"TransformEndTime": record.modified, "FailureReason": EMULATOR_ENDED}
            await _remember(control_plane, record, {**record.state, "TransformJobStatus": "Failed", **ended})


def described(job: TransformJob) -> Document:
    """The members of DescribeTransformJobResponse that change while a job runs."""
    optional = {
        "FailureReason": job.failure_reason or None,
        "TransformStartTime": job.started,
        "TransformEndTime": job.ended,
    }
    return {
        "TransformJobStatus": job.status,
        **{name: value for name, value in optional.items() if value is not None},
    }


async def _remember(control_plane: ControlPlane, record: TransformJobRecord, state: Document) -> None:
    """Store how far a job has come. If it cannot be written, the job goes on nevertheless."""
    record.state, record.modified = state, now()
    try:
        async with control_plane.changing:
            await control_plane.keep(record)
    except AwsError as error:
        log.warning("Transform job %s: %s", record.name, error)


def _record(control_plane: ControlPlane, request: Mapping[str, Any]) -> TransformJobRecord:
    """Raises AwsError when there is no such job."""
    record = control_plane.registry.get(TransformJobRecord, request["TransformJobName"])
    if record is None:
        raise job_not_found()
    return record


def _summary(control_plane: ControlPlane, record: TransformJobRecord) -> dict[str, Any]:
    return {
        "TransformJobName": record.name,
        "TransformJobArn": control_plane.arn_of(record),
        "CreationTime": record.created,
        "LastModifiedTime": record.modified,
        "TransformJobStatus": record.status,
        **{name: record.state[name] for name in ("TransformEndTime", "FailureReason") if name in record.state},
    }
