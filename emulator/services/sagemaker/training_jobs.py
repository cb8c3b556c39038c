"""CreateTrainingJob, DescribeTrainingJob, ListTrainingJobs, StopTrainingJob, DeleteTrainingJob."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from emulator.aws.errors import AwsError
from emulator.errors import SetupError
from emulator.services.sagemaker.control_plane import ControlPlane, repeated
from emulator.services.sagemaker.errors import (
    job_exists,
    job_has_ended,
    job_not_found,
    job_under_way,
    jobs_need_s3,
    no_local_code,
    validation_error,
)
from emulator.services.sagemaker.listing import page
from emulator.services.sagemaker.models import refuse_not_emulated
from emulator.services.sagemaker.records import Document, TrainingJobRecord, now

if TYPE_CHECKING:  # nothing of jobs is imported before the first is created
    from emulator.jobs.progress import Progress, Transition
    from emulator.jobs.training_job import TrainingJob

NOUN = "training job"
RUNS = ("InProgress", "Stopping")
EMULATOR_ENDED = "InternalServerError: The emulator ended while the training job was under way."  # [ours]

log = logging.getLogger("localmme")


async def create(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    name = request["TrainingJobName"]
    if control_plane.registry.get(TrainingJobRecord, name) is not None:
        raise job_exists(NOUN, control_plane.arn(TrainingJobRecord.kind, name))
    refuse_not_emulated("CreateTrainingJobRequest", request)
    if not control_plane.local_code:
        raise no_local_code()
    if control_plane.training_jobs is None or control_plane.s3_root is None:
        raise jobs_need_s3()
    from emulator.services.sagemaker.training_definitions import training_definition, with_defaults

    request = with_defaults(request)
    definition = await asyncio.to_thread(training_definition, control_plane, control_plane.s3_root, request)
    jobs = await control_plane.training_jobs()

    async def changed(job: TrainingJob) -> None:
        await _remember(control_plane, record, described(job.progress))

    try:
        job = jobs.new(definition, changed)
    except SetupError as error:
        raise validation_error(str(error)) from None
    record = TrainingJobRecord(name, request, directory=str(control_plane.directory), state=described(job.progress))
    await control_plane.create(record)
    control_plane.mapped_images.report(request["AlgorithmSpecification"].get("TrainingImage", ""))
    jobs.start(job)
    return {"TrainingJobArn": control_plane.arn_of(record)}


async def describe(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    record = _record(control_plane, request)
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
    record = _record(control_plane, request)
    if record.status not in RUNS:
        raise job_has_ended(NOUN, record.status)
    assert control_plane.training_jobs is not None
    job = (await control_plane.training_jobs()).get(record.name)
    if job is not None:
        job.stop()
    return {}


async def delete(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    record = _record(control_plane, request)
    if record.status in RUNS:
        raise job_under_way(NOUN, record.status)
    await control_plane.delete(TrainingJobRecord, record.name)
    return {}


async def fail_interrupted(control_plane: ControlPlane) -> None:
    """Jobs that were under way when an earlier emulator ended are Failed."""
    for record in control_plane.registry.all(TrainingJobRecord):
        if record.status in RUNS:
            await _remember(control_plane, record, _interrupted(record.state, record.modified))


def _interrupted(state: Mapping[str, Any], last_seen: float) -> Document:
    """The state of a job whose emulator ended some time after ``last_seen``."""
    transitions = [dict(each) for each in state["SecondaryStatusTransitions"]]
    transitions[-1]["EndTime"] = last_seen
    transitions.append(
        {"Status": "Failed", "StatusMessage": "Training job failed", "StartTime": last_seen, "EndTime": last_seen}
    )
    return {
        **state,
        "TrainingJobStatus": "Failed",
        "SecondaryStatus": "Failed",
        "SecondaryStatusTransitions": transitions,
        "FailureReason": EMULATOR_ENDED,
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


async def _remember(control_plane: ControlPlane, record: TrainingJobRecord, state: Document) -> None:
    """Store how far a job has come. If it cannot be written, the job goes on nevertheless."""
    record.state, record.modified = state, now()
    try:
        async with control_plane.changing:
            if control_plane.registry.get(TrainingJobRecord, record.name) is record:  # it may be deleted once it ended
                await control_plane.keep(record)
    except AwsError as error:
        log.warning("Training job %s: %s", record.name, error)


def _record(control_plane: ControlPlane, request: Mapping[str, Any]) -> TrainingJobRecord:
    """Raises AwsError when there is no such job."""
    record = control_plane.registry.get(TrainingJobRecord, request["TrainingJobName"])
    if record is None:
        raise job_not_found()
    return record


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
