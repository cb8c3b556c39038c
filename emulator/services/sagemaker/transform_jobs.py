"""CreateTransformJob, DescribeTransformJob, ListTransformJobs, StopTransformJob."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from emulator.services.sagemaker import jobs
from emulator.services.sagemaker.control_plane import ControlPlane, repeated
from emulator.services.sagemaker.listing import page
from emulator.services.sagemaker.records import Document, TransformJobRecord

if TYPE_CHECKING:  # nothing of jobs is imported before the first is created
    from emulator.jobs.transform_job import TransformJob


async def create(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    running, s3_root = await jobs.place_for(control_plane, TransformJobRecord, request)
    from emulator.services.sagemaker.transform_definitions import transform_definition, with_defaults

    request = with_defaults(request)
    definition = await asyncio.to_thread(transform_definition, control_plane, s3_root, request)

    async def changed(job: TransformJob) -> None:
        await jobs.remember(control_plane, record, described(job))

    job = running.new_transform_job(definition, changed)
    record = TransformJobRecord(job.name, request, state=described(job))
    await control_plane.create(record)
    running.start(job)
    return {"TransformJobArn": control_plane.arn_of(record)}


async def describe(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    record = jobs.record_of(control_plane, TransformJobRecord, request)
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
    await jobs.stop(control_plane, jobs.record_of(control_plane, TransformJobRecord, request))
    return {}


async def fail_interrupted(control_plane: ControlPlane) -> None:
    """Jobs that were under way when an earlier emulator ended are Failed."""
    for record in control_plane.registry.all(TransformJobRecord):
        if record.runs:
            ended = {"TransformEndTime": record.modified, "FailureReason": jobs.EMULATOR_ENDED}
            await jobs.remember(control_plane, record, {**record.state, "TransformJobStatus": "Failed", **ended})


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


def _summary(control_plane: ControlPlane, record: TransformJobRecord) -> dict[str, Any]:
    return {
        "TransformJobName": record.name,
        "TransformJobArn": control_plane.arn_of(record),
        "CreationTime": record.created,
        "LastModifiedTime": record.modified,
        "TransformJobStatus": record.status,
        **{name: record.state[name] for name in ("TransformEndTime", "FailureReason") if name in record.state},
    }
