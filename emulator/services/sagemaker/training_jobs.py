"""CreateTrainingJob, DescribeTrainingJob, ListTrainingJobs, StopTrainingJob, DeleteTrainingJob."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from emulator.errors import SetupError
from emulator.services.sagemaker import jobs
from emulator.services.sagemaker.control_plane import ControlPlane, repeated
from emulator.services.sagemaker.errors import job_under_way, validation_error
from emulator.services.sagemaker.listing import page
from emulator.services.sagemaker.records import Document, TrainingJobRecord

if TYPE_CHECKING:  # nothing of jobs is imported before the first is created
    from emulator.jobs.progress import Progress, Transition
    from emulator.jobs.training_job import TrainingJob


async def create(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    running, s3_root = await jobs.place_for(control_plane, TrainingJobRecord, request)
    from emulator.services.sagemaker.training_definitions import training_definition, with_defaults

    request = with_defaults(request)
    definition = await asyncio.to_thread(training_definition, control_plane, s3_root, request)

    async def changed(job: TrainingJob) -> None:
        await jobs.remember(control_plane, record, described(job.progress))

    try:
        job = running.new_training_job(definition, changed)
    except SetupError as error:
        raise validation_error(str(error)) from None
    record = TrainingJobRecord(job.name, request, state=described(job.progress))
    await control_plane.create(record)
    control_plane.mapped_images.report(request["AlgorithmSpecification"].get("TrainingImage", ""))
    running.start(job)
    return {"TrainingJobArn": control_plane.arn_of(record)}


async def describe(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    record = jobs.record_of(control_plane, TrainingJobRecord, request)
    return {
        **repeated(record.arguments, "DescribeTrainingJobResponse"),
        **record.state,
        "TrainingJobArn": control_plane.arn_of(record),
        "CreationTime": record.created,
        "LastModifiedTime": record.modified,
    }


async def list_(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    # No job here has a warm pool or a training plan.
    none = "WarmPoolStatusEquals" in request or "TrainingPlanArnEquals" in request
    records, more = page(
        [] if none else control_plane.registry.all(TrainingJobRecord), request, lambda record: record.status
    )
    return {"TrainingJobSummaries": [_summary(control_plane, record) for record in records], **more}


async def stop(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    await jobs.stop(control_plane, jobs.record_of(control_plane, TrainingJobRecord, request))
    return {}


async def delete(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    record = jobs.record_of(control_plane, TrainingJobRecord, request)
    if record.runs:
        raise job_under_way(jobs.noun(TrainingJobRecord), record.status)
    await control_plane.delete(TrainingJobRecord, record.name)
    return {}


async def fail_interrupted(control_plane: ControlPlane) -> None:
    """Jobs that were under way when an earlier emulator ended are Failed."""
    for record in control_plane.registry.all(TrainingJobRecord):
        if record.runs:
            await jobs.remember(control_plane, record, _interrupted(record.state, record.modified))


def _interrupted(state: Mapping[str, Any], last_seen: float) -> Document:
    """The state of a job whose emulator ended some time after ``last_seen``."""
    transitions = [dict(each) for each in state["SecondaryStatusTransitions"]]
    transitions[-1]["EndTime"] = last_seen
    transitions.append(
        {"Status": "Failed", "StatusMessage": "Training job failed", "StartTime": last_seen, "EndTime": last_seen}
    )
    ended: Document = {}
    if "TrainingStartTime" in state:
        seconds = math.ceil(last_seen - state["TrainingStartTime"])
        ended = {"TrainingEndTime": last_seen, "TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": seconds}
    return {
        **state,
        **ended,
        "TrainingJobStatus": "Failed",
        "SecondaryStatus": "Failed",
        "SecondaryStatusTransitions": transitions,
        "FailureReason": jobs.EMULATOR_ENDED,
    }


def described(progress: Progress) -> Document:
    """The members of DescribeTrainingJobResponse that change while a job runs."""
    seconds = progress.training_seconds
    optional: Document = {
        "FailureReason": progress.failure_reason or None,
        "TrainingStartTime": progress.training_started,
        "TrainingEndTime": progress.training_ended,
        "TrainingTimeInSeconds": seconds,
        "BillableTimeInSeconds": seconds,
        "ModelArtifacts": {"S3ModelArtifacts": progress.model_artifacts} if progress.model_artifacts else None,
        "FinalMetricDataList": [
            {"MetricName": name, "Value": each.value, "Timestamp": each.time} for name, each in progress.metrics.items()
        ]
        or None,
    }
    return {
        "TrainingJobStatus": progress.status,
        "SecondaryStatus": progress.secondary_status,
        "SecondaryStatusTransitions": [_transition(each) for each in progress.transitions],
        **{name: value for name, value in optional.items() if value is not None},
    }


def _transition(transition: Transition) -> Document:
    ended = {} if transition.ended is None else {"EndTime": transition.ended}
    return {
        "Status": transition.status,
        "StatusMessage": transition.message,
        "StartTime": transition.started,
        **ended,
    }


def _summary(control_plane: ControlPlane, record: TrainingJobRecord) -> dict[str, Any]:
    ended = {"TrainingEndTime": record.state["TrainingEndTime"]} if "TrainingEndTime" in record.state else {}
    return {
        "TrainingJobName": record.name,
        "TrainingJobArn": control_plane.arn_of(record),
        "CreationTime": record.created,
        "LastModifiedTime": record.modified,
        "TrainingJobStatus": record.status,
        "SecondaryStatus": record.state["SecondaryStatus"],
        **ended,
    }
