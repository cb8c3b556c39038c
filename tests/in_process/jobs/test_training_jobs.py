"""Training jobs through the API, whose algorithm is a command."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.support.control_plane import ARN
from tests.support.training_jobs import Jobs


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    jobs = Jobs(tmp_path_factory.mktemp("jobs"))
    yield jobs
    jobs.emulator.stop()
    assert "inside the emulator" not in jobs.emulator.log


def test_a_job_reads_its_data_and_leaves_its_model_in_s3(jobs: Jobs) -> None:
    metric = {"Name": "loss", "Regex": "loss=([0-9.]+)"}
    algorithm = {"TrainingImage": "command:python algorithm.py", "TrainingInputMode": "File"}
    began = time.time()
    arn = jobs.create(
        "Job-1",
        AlgorithmSpecification={**algorithm, "MetricDefinitions": [metric]},
        Tags=[{"Key": "k", "Value": "v"}],
        CheckpointConfig={"S3Uri": "s3://b/checkpoints"},
    )
    assert arn == f"{ARN}:training-job/job-1"
    described = jobs.ended("Job-1")
    assert described["SecondaryStatus"] == described["TrainingJobStatus"] == "Completed", described
    transitions = described["SecondaryStatusTransitions"]
    assert [(each["Status"], each["StatusMessage"]) for each in transitions] == [
        ("Starting", "Preparing the instances for training"),
        ("Downloading", "Downloading the training image"),
        ("Training", "Training image download completed. Training in progress."),
        ("Uploading", "Uploading generated training model"),
        ("Completed", "Training job completed"),
    ]
    assert [each["EndTime"] for each in transitions[:-1]] == [each["StartTime"] for each in transitions[1:]]
    assert described["ModelArtifacts"]["S3ModelArtifacts"] == "s3://b/out/Job-1/output/model.tar.gz"
    (value,) = described["FinalMetricDataList"]
    assert (value["MetricName"], value["Value"]) == ("loss", 0.25)
    assert began - 1 < described["TrainingStartTime"].timestamp() <= described["TrainingEndTime"].timestamp()
    assert described["BillableTimeInSeconds"] == described["TrainingTimeInSeconds"] >= 1
    assert jobs.archive("out/Job-1/output/model.tar.gz") == {
        "deep": "",
        "deep/weights.txt": "1,2",
        "inside": "deep/weights.txt",
    }
    assert jobs.archive("out/Job-1/output/output.tar.gz") == {"report.txt": "fine"}
    assert (jobs.s3_root / "b" / "checkpoints" / "1.txt").read_text() == "none"
    assert "outside is a symbolic link that leads out of its directory, and not stored" in jobs.emulator.log
    assert "  Job-1 | loss=0.25; done" in jobs.emulator.errors
    assert jobs.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "k", "Value": "v"}]
    assert not list((jobs.emulator.state_directory / "instances").rglob("Job-1"))
