"""Buckets of real S3 that are read through, by the S3 API and for models; moto's S3 stands for real S3."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from emulator.storage.incoming_file import IncomingFile
from tests.support import real_s3_stand_in
from tests.support.aws_clients import refused
from tests.support.emulator_in_process import InProcessEmulator
from tests.support.models_in_s3 import CREDENTIALS, NOTHING, packed
from tests.support.real_s3_stand_in import RealS3StandIn
from tests.support.s3_servers import client
from tests.support.waiting import eventually

KEYS = ["a/1.csv", "a/2.csv", "b.csv", "c/1/x.csv", "c/2.csv", "z.csv"]


ACCESS = """
Users:
  - UserName: admin
    AccessKeyId: placeholder
    SecretAccessKey: placeholder
    Statement: {Effect: Allow, Action: "*", Resource: "*"}
  - UserName: limited
    AccessKeyId: LIMITED
    SecretAccessKey: limited
    Statement: {Effect: Allow, Action: "s3:GetObject", Resource: "arn:aws:s3:::*/a/*"}
Roles:
  - RoleName: any
    AssumeRolePolicyDocument:
      Statement: {Effect: Allow, Principal: {Service: sagemaker.amazonaws.com}, Action: "sts:AssumeRole"}
    Statement: {Effect: Allow, Action: "s3:*", Resource: "*"}
"""
numbers = itertools.count()


@pytest.fixture(scope="module")
def stand_in() -> Iterator[RealS3StandIn]:
    stand_in, stop = real_s3_stand_in.start()
    yield stand_in
    stop()


@pytest.fixture
def real(stand_in: RealS3StandIn) -> Iterator[RealS3StandIn]:
    stand_in.begin()
    yield stand_in
    stand_in.begin()


@pytest.fixture(scope="module")
def emulator(stand_in: RealS3StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessEmulator]:
    directory = tmp_path_factory.mktemp("emulator")
    (directory / "s3").mkdir()
    (directory / "access.yaml").write_text(ACCESS)
    emulator = InProcessEmulator(
        "--no-endpoint", "--s3", str(directory / "s3"), "--s3-read-through", "sagemaker-sample-*",
        "--access", str(directory / "access.yaml"),
        state=directory / "state",
        environment={**NOTHING, **CREDENTIALS, "AWS_ENDPOINT_URL_S3": stand_in.url},
    ).wait_ready()  # fmt: skip
    yield emulator
    assert emulator.stop() == 0


@pytest.fixture
def bucket(real: RealS3StandIn) -> str:
    """A bucket of real S3 of this test's own."""
    bucket = f"sagemaker-sample-{next(numbers)}"
    real.client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    for key in KEYS:
        real.client.put_object(
            Bucket=bucket, Key=key, Body=key.encode(), ContentType="text/csv", Metadata={"origin": "there"}
        )
    return bucket


def s3_directory(emulator: InProcessEmulator) -> Path:
    return emulator.state_directory.parent / "s3"


def keys(listed: dict[str, Any]) -> list[str]:
    return [one["Key"] for one in listed.get("Contents", ())] + [
        one["Prefix"] for one in listed.get("CommonPrefixes", ())
    ]


def test_an_object_is_read_once_and_kept_as_it_is(
    emulator: InProcessEmulator, real: RealS3StandIn, bucket: str
) -> None:
    s3 = client(emulator.url)
    theirs = real.client.head_object(Bucket=bucket, Key="a/1.csv")
    for _ in range(2):
        ours = s3.get_object(Bucket=bucket, Key="a/1.csv")
        assert ours["Body"].read() == b"a/1.csv"
        for member in ("ETag", "LastModified", "ContentType", "ContentLength", "Metadata"):
            assert ours[member] == theirs[member], member
    part = s3.get_object(Bucket=bucket, Key="a/1.csv", Range="bytes=2-4")
    assert (part["Body"].read(), part["ContentRange"]) == (b"1.c", "bytes 2-4/7")
    assert real.objects_read() == [f"/{bucket}/a/1.csv"]
    assert (s3_directory(emulator) / bucket / "a" / "1.csv").read_bytes() == b"a/1.csv"


def test_head_reads_no_data(emulator: InProcessEmulator, real: RealS3StandIn, bucket: str) -> None:
    s3 = client(emulator.url)
    headed = s3.head_object(Bucket=bucket, Key="z.csv")
    assert (headed["ContentLength"], headed["ContentType"], headed["Metadata"]) == (5, "text/csv", {"origin": "there"})
    assert s3.head_bucket(Bucket=bucket)["BucketRegion"] == "eu-west-1"
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] == "eu-west-1"
    assert real.objects_read() == []
    assert refused(s3.head_object, Bucket=bucket, Key="missing").status == 404
    assert refused(s3.get_object, Bucket=bucket, Key="missing").code == "NoSuchKey"
    assert refused(s3.head_bucket, Bucket="sagemaker-sample-none").status == 404
    assert refused(s3.list_objects_v2, Bucket="sagemaker-sample-none").code == "NoSuchBucket"


@pytest.mark.parametrize("delimiter", ["", "/"])
@pytest.mark.parametrize("most", [1, 2, 1000])
def test_a_listing_has_what_is_here_and_what_is_there(
    emulator: InProcessEmulator, real: RealS3StandIn, bucket: str, delimiter: str, most: int
) -> None:
    s3 = client(emulator.url)
    s3.put_object(Bucket=bucket, Key="b/mine.csv", Body=b"")
    s3.put_object(Bucket=bucket, Key="c/2.csv", Body=b"mine, which is longer")
    together = sorted([*KEYS, "b/mine.csv"])
    expected = together if not delimiter else ["b.csv", "z.csv", "a/", "b/", "c/"]
    for operation in ("list_objects_v2", "list_objects"):
        pages = s3.get_paginator(operation).paginate(
            Bucket=bucket, Delimiter=delimiter, PaginationConfig={"PageSize": most}
        )
        listed = list(pages)
        assert sorted(key for page in listed for key in keys(page)) == sorted(expected)
        assert all(len(keys(page)) <= most for page in listed)
    sizes = {one["Key"]: one["Size"] for one in s3.list_objects_v2(Bucket=bucket, Prefix="c/")["Contents"]}
    assert sizes == {"c/1/x.csv": 9, "c/2.csv": 21}
    assert real.objects_read() == []


def test_conditions_of_writes_are_about_what_is_there_as_well(
    emulator: InProcessEmulator, real: RealS3StandIn, bucket: str
) -> None:
    s3 = client(emulator.url)
    theirs = real.client.head_object(Bucket=bucket, Key="z.csv")["ETag"]
    where = {"Bucket": bucket, "Key": "z.csv"}
    copied = {"Bucket": bucket, "Key": "b.csv"}
    assert refused(s3.put_object, **where, IfNoneMatch="*").code == "PreconditionFailed"
    assert refused(s3.put_object, **where, IfMatch='"other"').code == "PreconditionFailed"
    assert refused(s3.copy_object, **where, CopySource=copied, IfNoneMatch="*").code == "PreconditionFailed"
    assert refused(s3.delete_object, **where, IfMatch='"other"').code == "PreconditionFailed"
    s3.delete_object(**where, IfMatch=theirs)
    s3.put_object(**where, IfMatch=theirs, Body=b"mine")
    s3.put_object(Bucket=bucket, Key="new", IfNoneMatch="*", Body=b"")
    assert s3.get_object(**where)["Body"].read() == b"mine"
    real.refuses = lambda _path, _is_signed: True  # as S3 does for what is missing, to those who may not list
    s3.put_object(Bucket=bucket, Key="newer", IfNoneMatch="*", Body=b"")


def test_nothing_is_written_to_real_s3(emulator: InProcessEmulator, real: RealS3StandIn, bucket: str) -> None:
    s3 = client(emulator.url)
    s3.put_object(Bucket=bucket, Key="b.csv", Body=b"mine")
    s3.delete_object(Bucket=bucket, Key="z.csv")
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a/1.csv"}]})
    s3.put_object_tagging(Bucket=bucket, Key="a/2.csv", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    s3.copy_object(Bucket=bucket, Key="copied.csv", CopySource={"Bucket": bucket, "Key": "c/2.csv"})
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=b"part")
    s3.complete_multipart_upload(
        Bucket=bucket, Key="parts", UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )  # fmt: skip
    s3.create_bucket(Bucket="sagemaker-sample-mine")
    s3.put_object(Bucket="sagemaker-sample-mine", Key="a", Body=b"")
    assert keys(s3.list_objects_v2(Bucket="sagemaker-sample-mine")) == ["a"]  # of the directory only
    assert {call.split()[0] for call in real.calls} == {"GET", "HEAD"}
    assert keys(real.client.list_objects_v2(Bucket=bucket)) == KEYS
    assert s3.get_object(Bucket=bucket, Key="copied.csv")["Body"].read() == b"c/2.csv"
    # A deletion is of the copy here: the next call reads the object again.
    assert s3.get_object(Bucket=bucket, Key="z.csv")["Body"].read() == b"z.csv"
    assert s3.get_object(Bucket=bucket, Key="b.csv")["Body"].read() == b"mine"


def test_many_readers_wait_for_one_download(emulator: InProcessEmulator, real: RealS3StandIn, bucket: str) -> None:
    real.goes_on.clear()
    s3 = client(emulator.url, max_pool_connections=20)
    with ThreadPoolExecutor(20) as threads:
        reading = [threads.submit(s3.get_object, Bucket=bucket, Key="b.csv") for _ in range(20)]
        eventually(lambda: real.objects_read() == [f"/{bucket}/b.csv"])
        s3.put_object(Bucket=bucket, Key="other", Body=b"")  # meanwhile, S3 is not held up
        real.goes_on.set()
        assert {each.result()["Body"].read() for each in reading} == {b"b.csv"}
    assert real.objects_read() == [f"/{bucket}/b.csv"]


def test_an_object_written_during_its_download_stays(
    emulator: InProcessEmulator, real: RealS3StandIn, bucket: str
) -> None:
    real.goes_on.clear()
    s3 = client(emulator.url)
    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(s3.get_object, Bucket=bucket, Key="b.csv")
        eventually(lambda: real.objects_read() == [f"/{bucket}/b.csv"])
        s3.put_object(Bucket=bucket, Key="b.csv", Body=b"mine")
        real.goes_on.set()
        assert reading.result()["Body"].read() == b"mine"
    assert list((s3_directory(emulator) / ".localmme" / "incoming").iterdir()) == []


def test_a_broken_download_goes_on_or_leaves_nothing(
    emulator: InProcessEmulator, real: RealS3StandIn, bucket: str
) -> None:
    real.client.put_object(Bucket=bucket, Key="large", Body=os.urandom(300_000))
    whole = real.client.get_object(Bucket=bucket, Key="large")["Body"].read()
    s3 = client(emulator.url)
    real.cuts = 99
    assert refused(s3.get_object, Bucket=bucket, Key="large").code == "RealS3Unavailable"
    assert list((s3_directory(emulator) / bucket).iterdir()) == []
    assert list((s3_directory(emulator) / ".localmme" / "incoming").iterdir()) == []
    real.cuts = 1
    assert s3.get_object(Bucket=bucket, Key="large")["Body"].read() == whole


def test_a_full_disk_is_an_error_that_says_so(emulator: InProcessEmulator, real: RealS3StandIn, bucket: str) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with mock.patch.object(IncomingFile, "write", side_effect=full):
        error = refused(client(emulator.url).get_object, Bucket=bucket, Key="b.csv")
    assert (error.status, error.code) == (507, "InsufficientStorage")


def test_credentials_are_tried_first_and_public_buckets_without_them(
    emulator: InProcessEmulator, real: RealS3StandIn, bucket: str
) -> None:
    real.refuses = lambda _, is_signed: is_signed
    s3 = client(emulator.url)
    assert s3.get_object(Bucket=bucket, Key="b.csv")["Body"].read() == b"b.csv"
    assert real.calls == [f"HEAD /{bucket} signed", f"HEAD /{bucket}", f"GET /{bucket}/b.csv"]
    # A bucket that may be read, but not listed, is there all the same.
    real.refuses = lambda path, _: path.count("/") < 2
    s3.put_object(Bucket=bucket, Key="mine", Body=b"")
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] == "eu-west-1"
    real.refuses = lambda _path, _is_signed: True
    error = refused(s3.get_object, Bucket=bucket, Key="a/1.csv")
    assert (error.status, error.code) == (403, "AccessDenied")
    assert f"Real S3 does not let s3://{bucket}/a/1.csv be read" in error.message
    assert refused(s3.head_object, Bucket=bucket, Key="a/1.csv").status == 403


def test_who_may_not_read_makes_no_call_of_real_s3(
    emulator: InProcessEmulator, real: RealS3StandIn, bucket: str
) -> None:
    limited = emulator.client_of("s3", access_key="LIMITED", secret_key="limited")
    for call in (
        lambda: limited.get_object(Bucket=bucket, Key="b.csv"),
        lambda: limited.head_object(Bucket=bucket, Key="b.csv"),
        lambda: limited.list_objects_v2(Bucket=bucket),
        lambda: limited.head_bucket(Bucket=bucket),
        lambda: limited.copy_object(Bucket="mine", Key="a/1", CopySource={"Bucket": bucket, "Key": "b.csv"}),
    ):
        assert refused(call).status == 403
    assert real.calls == []
    assert limited.get_object(Bucket=bucket, Key="a/1.csv")["Body"].read() == b"a/1.csv"


def test_a_missing_bucket_is_answered_with_advice_in_the_log(emulator: InProcessEmulator) -> None:
    s3 = client(emulator.url)
    for bucket in ("jumpstart-cache", "jumpstart-cache", "sagemaker-sample-none", "endpoints"):
        assert refused(s3.get_object, Bucket=bucket, Key="a").code == "NoSuchBucket"
    advice = [line for line in emulator.output + emulator.errors if "reads from it" in line]
    assert len(advice) == 1 and "--s3-read-through jumpstart-cache" in advice[0]


def test_models_are_read_through(emulator: InProcessEmulator, real: RealS3StandIn, bucket: str) -> None:
    real.client.put_object(Bucket=bucket, Key="models/lisbon.tar.gz", Body=packed("I am Lisbon"))
    sagemaker = emulator.client_of("sagemaker")
    image = "handler:" + str(handler(s3_directory(emulator).parent))
    create = {"ExecutionRoleArn": "arn:aws:iam::123456789012:role/any"}
    missing = refused(
        sagemaker.create_model, ModelName="none", **create,
        PrimaryContainer={"Image": image, "ModelDataUrl": f"s3://{bucket}/models/porto.tar.gz"},
    )  # fmt: skip
    assert "Could not find model data" in missing.message
    sagemaker.create_model(
        ModelName="one", **create,
        PrimaryContainer={"Image": image, "ModelDataUrl": f"s3://{bucket}/models/lisbon.tar.gz"},
    )  # fmt: skip
    sagemaker.create_model(
        ModelName="many", **create,
        PrimaryContainer={"Image": image, "Mode": "MultiModel", "ModelDataUrl": f"s3://{bucket}/models/"},
    )  # fmt: skip
    for name in ("many", "one"):
        variant = {"VariantName": "v", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
        sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    eventually(lambda: sagemaker.describe_endpoint(EndpointName="many")["EndpointStatus"] == "InService", 60)
    runtime = emulator.client()
    answer = runtime.invoke_endpoint(EndpointName="many", TargetModel="lisbon.tar.gz", Body=b"")
    assert answer["Body"].read() == b"I am Lisbon"
    missing = refused(runtime.invoke_endpoint, EndpointName="many", TargetModel="porto.tar.gz", Body=b"")
    assert "Failed to download model data" in missing.message
    eventually(lambda: sagemaker.describe_endpoint(EndpointName="one")["EndpointStatus"] == "InService", 60)
    assert runtime.invoke_endpoint(EndpointName="one", Body=b"")["Body"].read() == b"I am Lisbon"
    assert (s3_directory(emulator) / bucket / "models" / "lisbon.tar.gz").is_file()


def test_the_data_of_training_jobs_are_read_through(emulator: InProcessEmulator, bucket: str) -> None:
    emulator.client_of("s3").create_bucket(Bucket="trained")
    sagemaker = emulator.client_of("sagemaker")
    program = """command:sh -c 'cp -r "$SM_CHANNEL_TRAIN"/* "$SM_MODEL_DIR"'"""
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/a/"}
    request = {
        "TrainingJobName": "reads-through",
        "AlgorithmSpecification": {"TrainingImage": program, "TrainingInputMode": "File"},
        "RoleArn": "arn:aws:iam::123456789012:role/any",
        "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
        "OutputDataConfig": {"S3OutputPath": "s3://trained/", "CompressionType": "NONE"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    }
    source["S3Uri"] = f"s3://{bucket}/nothing/"
    missing = refused(sagemaker.create_training_job, **request)
    assert "No S3 objects found under S3 URL" in missing.message
    source["S3Uri"] = f"s3://{bucket}/a/"
    sagemaker.create_training_job(**request)

    def status() -> str:
        described = sagemaker.describe_training_job(TrainingJobName="reads-through")
        assert described["TrainingJobStatus"] != "Failed", described
        return str(described["TrainingJobStatus"])

    eventually(lambda: status() == "Completed")
    model = s3_directory(emulator) / "trained" / "reads-through" / "output" / "model"
    assert sorted(path.name for path in model.iterdir()) == ["1.csv", "2.csv"]


HANDLER = """
from pathlib import Path

def model_fn(model_dir):
    return (Path(model_dir) / "answer.txt").read_text()

def transform_fn(model, data, content_type, accept):
    return model, "text/plain"
"""


def handler(directory: Path) -> Path:
    path = directory / "handler.py"
    path.write_text(HANDLER)
    return path
