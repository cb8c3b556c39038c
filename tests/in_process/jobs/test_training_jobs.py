"""Training jobs through the API, whose algorithm is a command."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.aws_clients import invalid, refused
from tests.support.control_plane import ARN, ROLE
from tests.support.training_jobs import Jobs
from tests.support.waiting import eventually

DATA = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/data/"}}
# The execution role of the jobs may use one bucket.
ACCESS = """
Users:
  - UserName: admin
    AccessKeyId: placeholder
    SecretAccessKey: placeholder
    Statement: {Effect: Allow, Action: "*", Resource: "*"}
Roles:
  - RoleName: hosting
    Path: /service-role/
    AssumeRolePolicyDocument:
      Statement: {Effect: Allow, Principal: {Service: sagemaker.amazonaws.com}, Action: "sts:AssumeRole"}
    Statement: {Effect: Allow, Action: "s3:*", Resource: ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]}
"""


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    directory = tmp_path_factory.mktemp("jobs")
    (directory / "access.yaml").write_text(ACCESS)
    jobs = Jobs(directory, "command:python algorithm.py", "--access", str(directory / "access.yaml"))
    yield jobs
    jobs.emulator.stop()
    assert "inside the emulator" not in jobs.emulator.log


def test_a_job_uses_the_buckets_that_its_role_may_use(jobs: Jobs) -> None:
    (jobs.s3_root / "theirs").mkdir()
    (jobs.s3_root / "theirs" / "secret").write_text("secret")
    source = {"S3DataType": "S3Prefix", "S3Uri": "s3://theirs/"}
    jobs.create("reads", InputDataConfig=[{"ChannelName": "train", "DataSource": {"S3DataSource": source}}])
    jobs.create("writes", OutputDataConfig={"S3OutputPath": "s3://theirs/out"})
    for name, what in (("reads", "s3:ListBucket"), ("writes", "s3:PutObject")):
        reason = jobs.ended(name)["FailureReason"]
        assert f"AccessDenied (403): the execution role {ROLE} may not {what} on arn:aws:s3:::theirs" in reason
    assert [path.name for path in (jobs.s3_root / "theirs").iterdir()] == ["secret"]


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
    instances = jobs.emulator.state_directory / "instances"
    eventually(lambda: not list(instances.glob("*/_TrainingJobs-Job-1*")), what="its directory is gone")


def test_a_job_that_is_stopped_gets_sigterm_and_its_model_is_stored(jobs: Jobs) -> None:
    jobs.create("stopped", {"wait": "1"})
    jobs.wait_for_line("stopped", "waits")
    described = jobs.sagemaker.describe_training_job(TrainingJobName="stopped")
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("InProgress", "Training")
    assert [each["TrainingJobName"] for each in jobs.listed(StatusEquals="InProgress")] == ["stopped"]
    assert "because it is in status InProgress" in invalid(
        jobs.sagemaker.delete_training_job, TrainingJobName="stopped"
    )
    jobs.sagemaker.stop_training_job(TrainingJobName="stopped")
    described = jobs.ended("stopped")
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "Stopped")
    transitions = [(each["Status"], each["StatusMessage"]) for each in described["SecondaryStatusTransitions"]]
    assert transitions[-3:] == [
        ("Stopping", "Stopping the training job"),
        ("Uploading", "Uploading generated training model"),
        ("Stopped", "Training job stopped"),
    ]
    assert "FailureReason" not in described
    assert "deep/weights.txt" in jobs.archive("out/stopped/output/model.tar.gz")
    message = invalid(jobs.sagemaker.stop_training_job, TrainingJobName="stopped")
    assert message == "The request was rejected because the training job is in status Stopped."
    jobs.sagemaker.delete_training_job(TrainingJobName="stopped")
    message = invalid(jobs.sagemaker.describe_training_job, TrainingJobName="stopped")
    assert message == "Requested resource not found."


def test_a_job_that_runs_for_too_long_is_stopped(jobs: Jobs) -> None:
    jobs.create("long", {"wait": "1"}, StoppingCondition={"MaxRuntimeInSeconds": 2})
    described = jobs.ended("long")
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    last = described["SecondaryStatusTransitions"][-1]
    assert last["StatusMessage"] == "Training job runtime exceeded MaxRuntimeInSeconds provided"


def test_the_words_of_the_algorithm_are_the_reason_of_a_failure(jobs: Jobs) -> None:
    output = {"S3OutputPath": "s3://b/", "CompressionType": "NONE"}
    jobs.create("failing", {"fail": "x" * 2000}, OutputDataConfig=output)
    described = jobs.ended("failing")
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Failed", "Failed")
    assert described["FailureReason"].startswith("AlgorithmError: xxx") and len(described["FailureReason"]) == 1024
    assert (jobs.s3_root / "b" / "failing/output/model/deep/weights.txt").read_text() == "1,2"
    assert not (jobs.s3_root / "b" / "failing/output/model/outside").exists()


def test_checkpoints_of_an_earlier_job_are_there_and_its_own_are_stored_while_it_runs(jobs: Jobs) -> None:
    (jobs.s3_root / "b" / "ck").mkdir()
    (jobs.s3_root / "b" / "ck" / "0.txt").write_text("zero")
    jobs.create("resumed", {"resume": "1", "wait": "1"}, CheckpointConfig={"S3Uri": "s3://b/ck"})
    jobs.wait_for_line("resumed", "zero")
    eventually((jobs.s3_root / "b" / "ck" / "early.txt").exists, what="a checkpoint is stored while it runs")
    jobs.sagemaker.stop_training_job(TrainingJobName="resumed")
    assert jobs.ended("resumed")["TrainingJobStatus"] == "Stopped"
    assert (jobs.s3_root / "b" / "ck" / "1.txt").read_text() == "none"


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}}, "must be 1"),
        ({"EnableManagedSpotTraining": True}, "EnableManagedSpotTraining is not emulated"),
        ({"OutputDataConfig": {"S3OutputPath": "s3://missing/"}}, "the bucket missing, which does not exist"),
        ({"CheckpointConfig": {"S3Uri": "s3://b/", "LocalPath": "/tmp/x"}}, "has to be a directory of its own below"),
        ({"CheckpointConfig": {"S3Uri": "s3://b/", "LocalPath": "/opt/ml/../x"}}, "has to be a directory of its own"),
        ({"AlgorithmSpecification": {"TrainingInputMode": "File"}}, "AlgorithmSpecification.TrainingImage is missing"),
        ({"InputDataConfig": [{"ChannelName": "..", "DataSource": DATA}]}, "cannot be the name of a directory"),
        ({"InputDataConfig": 2 * [{"ChannelName": "a", "DataSource": DATA}]}, "is the name of another channel, too"),
    ],
)
def test_what_cannot_work_is_refused(jobs: Jobs, members: dict[str, Any], words: str) -> None:
    assert words in invalid(jobs.create, "impossible", **members)


def test_data_that_is_not_there_is_refused_in_sagemakers_words(jobs: Jobs) -> None:
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/nothing/"}}
    message = invalid(jobs.create, "nothing", InputDataConfig=[{"ChannelName": "train", "DataSource": source}])
    assert message.startswith(
        'No S3 objects found under S3 URL "s3://b/nothing/" given in input data source. Please ensure that the bucket '
        "exists in the selected region (us-east-1), that objects exist under that S3 prefix"
    )


def test_a_name_is_used_once(jobs: Jobs) -> None:
    jobs.create("once")
    jobs.ended("once")
    refusal = refused(jobs.create, "once")
    assert refusal.code == "ResourceInUse" and "a training job with this name already exists" in refusal.message
