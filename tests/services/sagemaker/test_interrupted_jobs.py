"""Jobs of an emulator that was killed, and emulators without jobs."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from emulator.services.sagemaker import training_jobs, transform_jobs
from emulator.services.sagemaker.app import SageMakerApp
from emulator.services.sagemaker.records import TrainingJobRecord, TransformJobRecord
from tests.support.fake_containers import DirectControlPlane
from tests.support.transform_jobs import TRANSFORM_JOB

UNDER_WAY = {"TransformJobStatus": "InProgress", "TransformStartTime": 1000.0}
TRAINING = {
    "TrainingJobStatus": "Stopping",
    "SecondaryStatus": "Stopping",
    "TrainingStartTime": 1000.5,
    "SecondaryStatusTransitions": [{"Status": "Stopping", "StatusMessage": "", "StartTime": 1000.0}],
}


def test_a_job_that_was_under_way_is_failed_at_the_next_start(tmp_path: Path) -> None:
    async def before() -> None:
        killed = DirectControlPlane(tmp_path)
        create = killed.control_plane.create
        await create(TransformJobRecord("t", TRANSFORM_JOB, modified=2000.0, state=UNDER_WAY))
        await create(TransformJobRecord("done", TRANSFORM_JOB, state={"TransformJobStatus": "Completed"}))
        await create(TrainingJobRecord("t", {"TrainingJobName": "t"}, modified=2000.0, state=TRAINING))
        not_begun = {name: value for name, value in TRAINING.items() if name != "TrainingStartTime"}
        await create(TrainingJobRecord("early", {"TrainingJobName": "early"}, modified=2000.0, state=not_begun))
        await killed.close()

    async def after() -> None:
        started = DirectControlPlane(tmp_path)
        await training_jobs.fail_interrupted(started.control_plane)
        await transform_jobs.fail_interrupted(started.control_plane)
        _, transform = await started.call("DescribeTransformJob", TransformJobName="t")
        assert transform["TransformJobStatus"] == "Failed"
        assert (transform["TransformStartTime"], transform["TransformEndTime"]) == (1000.0, 2000.0)
        assert "The emulator ended while the job was under way" in transform["FailureReason"]
        _, done = await started.call("DescribeTransformJob", TransformJobName="done")
        assert done["TransformJobStatus"] == "Completed"
        _, training = await started.call("DescribeTrainingJob", TrainingJobName="t")
        assert (training["TrainingJobStatus"], training["SecondaryStatus"]) == ("Failed", "Failed")
        assert "The emulator ended while the job was under way" in training["FailureReason"]
        assert training["TrainingEndTime"] == 2000.0
        assert (training["TrainingTimeInSeconds"], training["BillableTimeInSeconds"]) == (1000, 1000)
        _, early = await started.call("DescribeTrainingJob", TrainingJobName="early")
        assert early["TrainingJobStatus"] == "Failed" and "TrainingEndTime" not in early
        await started.close()

    asyncio.run(before())
    asyncio.run(after())
    asyncio.run(after())


@pytest.mark.parametrize(("local_code", "words"), [(True, "start it with --s3 DIRECTORY"), (False, "--local-code")])
def test_an_emulator_without_s3_or_without_local_code_has_no_jobs(tmp_path: Path, local_code: bool, words: str) -> None:
    async def scenario() -> tuple[int, dict[str, Any]]:
        control_plane = DirectControlPlane(tmp_path)
        changed = dataclasses.replace(control_plane.control_plane, local_code=local_code)
        control_plane.application = SageMakerApp(changed)
        answer = await control_plane.call("CreateTransformJob", **TRANSFORM_JOB)
        await control_plane.close()
        return answer

    status, refusal = asyncio.run(scenario())
    assert status == 400 and words in refusal["message"]
