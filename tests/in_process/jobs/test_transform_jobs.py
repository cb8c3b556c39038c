"""Transform jobs through the API, on models whose containers are processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import WaiterError

from tests.support.aws_clients import invalid, refused
from tests.support.control_plane import ARN, ROLE
from tests.support.emulator_in_process import InProcessEmulator
from tests.support.files import archive
from tests.support.waiting import eventually

HANDLER = """
import os, pathlib, time

def model_fn(model_dir):
    return pathlib.Path(model_dir, "factor.txt").read_text()

def input_fn(data, content_type):
    return data.decode() if isinstance(data, bytes) else data

def predict_fn(data, factor):
    print("predicts", os.environ["SAGEMAKER_BATCH"], os.environ.get("MINE"), flush=True)
    while "wait" in data:
        time.sleep(0.01)
    return "".join(f"{float(line) * float(factor):g}\\n" for line in data.split())

def output_fn(prediction, accept):
    return prediction, "text/csv"
"""


class Jobs:
    """An emulator with a bucket ``b``, in which data and models are."""

    def __init__(self, directory: Path) -> None:
        self.bucket = directory / "s3" / "b"
        for factor in ("2", "10"):
            archive(self.bucket / "models" / f"{factor}.tar.gz", {"factor.txt": factor})
        (directory / "handler.py").write_text(HANDLER)
        self.emulator = InProcessEmulator(
            "--no-endpoint", "--s3", str(directory / "s3"), state=directory / "state", directory=directory
        )
        self.emulator.wait_ready()
        self.sagemaker, self.s3 = self.emulator.client_of("sagemaker"), self.emulator.client_of("s3")
        self.model("two", PrimaryContainer=container("2"))

    def model(self, name: str, **members: Any) -> None:
        self.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, **members)

    def put(self, key: str, text: str) -> None:
        self.s3.put_object(Bucket="b", Key=key, Body=text.encode())

    def create(self, name: str, source: str, **members: Any) -> str:
        """A job of the model ``two`` with these members besides; its ARN."""
        arn: str = self.sagemaker.create_transform_job(**{**request(name, source), **members})["TransformJobArn"]
        return arn

    def ended(self, name: str) -> dict[str, Any]:
        """How the job is described once it has ended, as a waiter sees it."""
        self.sagemaker.get_waiter("transform_job_completed_or_stopped").wait(TransformJobName=name)
        described: dict[str, Any] = self.sagemaker.describe_transform_job(TransformJobName=name)
        return described

    def output(self, key: str) -> str:
        text: str = self.s3.get_object(Bucket="b", Key=key)["Body"].read().decode()
        return text


def container(factor: str, **members: Any) -> dict[str, Any]:
    return {"Image": "handler:handler.py", "ModelDataUrl": f"s3://b/models/{factor}.tar.gz", **members}


def request(name: str, source: str) -> dict[str, Any]:
    return {
        "TransformJobName": name,
        "ModelName": "two",
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://b/{source}"}},
            "ContentType": "text/csv",
            "SplitType": "Line",
        },
        "TransformOutput": {"S3OutputPath": f"s3://b/out/{name}", "Accept": "text/csv", "AssembleWith": "Line"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    jobs = Jobs(tmp_path_factory.mktemp("jobs"))
    yield jobs
    jobs.emulator.stop()
    assert "inside the emulator" not in jobs.emulator.log


def test_a_job_stores_what_its_model_makes_of_each_object(jobs: Jobs) -> None:
    jobs.put("data/a.csv", "1\n2\n")
    jobs.put("data/deep/b.csv", "3\n")
    arn = jobs.create("Job-1", "data/", Environment={"MINE": "1"}, Tags=[{"Key": "k", "Value": "v"}])
    assert arn == f"{ARN}:transform-job/job-1"
    described = jobs.ended("Job-1")
    assert described["TransformJobStatus"] == "Completed", described
    assert described["CreationTime"] <= described["TransformStartTime"] <= described["TransformEndTime"]
    assert described["DataProcessing"] == {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"}
    assert described["TransformInput"]["CompressionType"] == "None"
    assert jobs.output("out/Job-1/a.csv.out") == "2\n4\n"
    assert jobs.output("out/Job-1/deep/b.csv.out") == "6\n"
    assert "  Job-1 | predicts true 1" in jobs.emulator.errors
    assert (
        "[sagemaker logs]: MaxConcurrentTransforms=1, MaxPayloadInMB=6, BatchStrategy=MULTI_RECORD" in jobs.emulator.log
    )
    assert jobs.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "k", "Value": "v"}]
    (summary,) = jobs.sagemaker.list_transform_jobs(NameContains="Job-1", StatusEquals="Completed")[
        "TransformJobSummaries"
    ]
    assert summary["TransformJobName"] == "Job-1"
    assert summary["TransformEndTime"] == described["TransformEndTime"]
    assert not list((jobs.emulator.state_directory / "instances").rglob("*Job-1"))
    assert refused(jobs.sagemaker.create_transform_job, **request("job-1", "data/")).code == "ResourceInUse"
    ended = invalid(jobs.sagemaker.stop_transform_job, TransformJobName="Job-1")
    assert ended == "The request was rejected because the transform job is in status Completed."


def test_a_pipeline_transforms_through_all_of_its_containers(jobs: Jobs) -> None:
    jobs.model("pipeline", Containers=[container("2"), container("10")])
    jobs.put("ids/a.csv", "7,1\n8,2\n")
    processing = {"InputFilter": "$[1]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"}
    jobs.create("pipeline", "ids/", ModelName="pipeline", DataProcessing=processing)
    assert jobs.ended("pipeline")["TransformJobStatus"] == "Completed"
    assert jobs.output("out/pipeline/a.csv.out") == "7,20\n8,40\n"


def test_a_job_with_an_object_that_fails_is_failed_and_says_why_in_its_log(jobs: Jobs) -> None:
    jobs.put("bad/a.csv", "1\n")
    jobs.put("bad/b.csv", "no number\n")
    jobs.create("bad", "bad/", ModelClientConfig={"InvocationsMaxRetries": 0})
    with pytest.raises(WaiterError):
        jobs.ended("bad")
    described = jobs.sagemaker.describe_transform_job(TransformJobName="bad")
    assert described["FailureReason"] == "AlgorithmError: See job logs for more information"
    listed = jobs.s3.list_objects_v2(Bucket="b", Prefix="out/bad/")["Contents"]
    assert [each["Key"] for each in listed] == ["out/bad/a.csv.out"]
    assert "b/bad/b.csv: Bad HTTP status received from algorithm: 500" in jobs.emulator.log


def test_a_job_that_is_stopped_leaves_no_process_and_no_output(jobs: Jobs) -> None:
    jobs.put("wait.csv", "wait\n")
    jobs.create("stopped", "wait.csv")
    eventually(lambda: "stopped | predicts" in jobs.emulator.log)
    jobs.sagemaker.stop_transform_job(TransformJobName="stopped")
    described = jobs.ended("stopped")
    assert described["TransformJobStatus"] == "Stopped"
    assert "FailureReason" not in described
    assert "Contents" not in jobs.s3.list_objects_v2(Bucket="b", Prefix="out/stopped")
    eventually(lambda: not jobs.emulator.processes())
    assert not list((jobs.emulator.state_directory / "instances").rglob("*stopped"))


def test_what_cannot_be_transformed_is_refused(jobs: Jobs) -> None:
    jobs.model("many", PrimaryContainer=container("", Mode="MultiModel", ModelDataUrl="s3://b/models/"))
    source = {"S3DataSource": {"S3Uri": "s3://b/models/2.tar.gz", "S3DataType": "S3Object", "CompressionType": "Gzip"}}
    uncompressed = {"Image": "handler:handler.py", "ModelDataSource": source}
    jobs.model("source", PrimaryContainer=uncompressed)
    named = [container("2", ContainerHostname="x"), container("2", ContainerHostname="y")]
    jobs.model("direct", Containers=named, InferenceExecutionConfig={"Mode": "Direct"})
    unsupported = "SageMaker Batch currently doesn't support Model entity with container definitions which use"
    serial = "A transform job needs a model whose InferenceExecutionConfig has Mode Serial."
    ok = request("refused", "data/")
    csv, words = (
        {**ok["TransformInput"], "SplitType": "None"},
        {"InputFilter": "$.a", "OutputFilter": "a", "JoinSource": "None"},
    )
    refused: list[tuple[dict[str, Any], str]] = [
        ({"ModelName": "none"}, f'Could not find model "{ARN}:model/none".'),
        ({"ModelName": "many"}, f"{unsupported} MultiModel mode."),
        ({"ModelName": "source"}, f"{unsupported} ModelDataSource attribute."),
        ({"ModelName": "direct"}, serial),
        ({"MaxPayloadInMB": 101}, "MaxPayloadInMB must be at most 100, not 101"),
        (
            {"MaxPayloadInMB": 26, "MaxConcurrentTransforms": 4},
            "MaxPayloadInMB must be at most 100 in all, not 26 times MaxConcurrentTransforms 4",
        ),
        (
            {"TransformOutput": {"S3OutputPath": "s3://elsewhere/x"}},
            "TransformOutput.S3OutputPath names the bucket elsewhere, which does not exist",
        ),
        ({"DataProcessing": words}, "DataProcessing.OutputFilter 'a' does not begin with $"),
        (
            {"DataProcessing": {**words, "OutputFilter": "$"}, "TransformInput": csv},
            "TransformInput.SplitType must be Line: the records of text/csv are lines; DataProcessing.InputFilter "
            "names an attribute, which rows of CSV do not have: give positions",
        ),
        (
            {"DataCaptureConfig": {"DestinationS3Uri": "s3://b/captured"}},
            "DataCaptureConfig is not emulated by localmme: of transform jobs, nothing is captured here; leave it out",
        ),
    ]
    for members, message in refused:
        assert invalid(jobs.sagemaker.create_transform_job, **{**ok, **members}) == message
    assert invalid(jobs.sagemaker.describe_transform_job, TransformJobName="x") == "Requested resource not found."
