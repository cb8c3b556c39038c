"""S3 and the endpoint look at the same directory: what is uploaded can be invoked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.support.command_line import localmme
from tests.support.emulator_in_process import InProcessEmulator
from tests.support.endpoint_files import described, scripted_container
from tests.support.files import archive, files_below
from tests.support.s3_servers import client
from tests.support.scripted_models import Journal

Serve = Callable[..., InProcessEmulator]


def test_what_is_uploaded_can_be_invoked(scripted: Serve, bucket: Path, tmp_path: Path) -> None:
    emulator = scripted()
    s3 = client(emulator.url)
    s3.create_bucket(Bucket="europe")
    s3.upload_file(str(archive(tmp_path / "m.tar.gz", {"answer.txt": "I am Lisbon"})), "europe", "cities/lisbon.tar.gz")
    assert emulator.invoke("europe/cities/lisbon.tar.gz")["answer"] == "I am Lisbon"
    assert emulator.model("europe/cities/lisbon.tar.gz")["in_s3"]
    s3.delete_object(Bucket="europe", Key="cities/lisbon.tar.gz")
    assert not emulator.model("europe/cities/lisbon.tar.gz")["in_s3"]
    # As on SageMaker, a model that is deleted from S3 is served on.
    assert emulator.invoke("europe/cities/lisbon.tar.gz")["answer"] == "I am Lisbon"
    with pytest.raises(ClientError, match="Failed to download model data"):
        emulator.invoke("europe/cities/porto.tar.gz")


def test_what_is_put_into_the_directory_is_an_object(scripted: Serve, bucket: Path) -> None:
    archive(bucket / "europe" / "lisbon.tar.gz", {"answer.txt": "I am Lisbon"})
    s3 = client(scripted().url)
    assert [each["Name"] for each in s3.list_buckets()["Buckets"]] == ["europe"]
    assert [each["Key"] for each in s3.list_objects_v2(Bucket="europe")["Contents"]] == ["lisbon.tar.gz"]
    body = s3.get_object(Bucket="europe", Key="lisbon.tar.gz")["Body"].read()
    assert body == (bucket / "europe" / "lisbon.tar.gz").read_bytes()


def test_nothing_is_written_beside_the_models_before_s3_is_asked(scripted: Serve, bucket: Path) -> None:
    archive(bucket / "europe" / "lisbon.tar.gz", {"answer.txt": "I am Lisbon"})
    emulator = scripted()
    emulator.invoke("europe/lisbon.tar.gz")
    assert emulator.stop() == 0
    assert [path.name for path in files_below(bucket)] == ["lisbon.tar.gz"]


def test_what_s3_keeps_for_itself_is_no_model(scripted: Serve, bucket: Path) -> None:
    emulator = scripted()
    client(emulator.url).create_bucket(Bucket="europe")
    assert (bucket / ".localmme").is_dir()
    assert emulator.state()["models"] == []


def test_the_aws_cli_copies_to_it(scripted: Serve, bucket: Path, tmp_path: Path) -> None:
    emulator = scripted()
    (bucket / "europe").mkdir()
    model = archive(tmp_path / "m.tar.gz", {"answer.txt": "I am Lisbon"})
    environment = {
        "AWS_ENDPOINT_URL": emulator.url,
        "AWS_ACCESS_KEY_ID": "placeholder",
        "AWS_SECRET_ACCESS_KEY": "placeholder",
        "AWS_DEFAULT_REGION": "us-east-1",
        "PATH": str(Path(sys.executable).parent),
    }
    aws = ["aws", "s3", "cp", str(model), "s3://europe/lisbon.tar.gz"]
    subprocess.run(aws, env=environment, check=True, capture_output=True, timeout=60)
    assert emulator.invoke("europe/lisbon.tar.gz")["answer"] == "I am Lisbon"


def test_s3_may_be_another_directory(scripted: Serve, bucket: Path, tmp_path: Path) -> None:
    (tmp_path / "buckets" / "mine").mkdir(parents=True)
    s3 = client(scripted("--s3", str(tmp_path / "buckets")).url)
    assert [each["Name"] for each in s3.list_buckets()["Buckets"]] == ["mine"]


def test_a_directory_that_is_not_there_is_told(bucket: Path) -> None:
    result = localmme("serve", "--models", str(bucket), "--s3", str(bucket / "none"))
    assert result.returncode == 1
    words = "--s3 takes one; each directory in it is a bucket."
    assert result.stderr == f"Error: There is no directory {bucket / 'none'}. {words}\n"


def test_beside_a_file_there_is_s3_if_it_is_asked_for(serve: Serve, journal: Journal, tmp_path: Path) -> None:
    file = described(tmp_path / "endpoint.yaml", {"m": [scripted_container(journal)]})
    with pytest.raises(ClientError) as caught:
        client(serve(file).url).list_buckets()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    (tmp_path / "buckets" / "mine").mkdir(parents=True)
    emulator = serve(file, "--s3", str(tmp_path / "buckets"))
    assert [each["Name"] for each in client(emulator.url).list_buckets()["Buckets"]] == ["mine"]


def test_a_read_only_directory_can_be_read(scripted: Serve, bucket: Path) -> None:
    """Without a place for its own records, S3 works as far as it can."""
    archive(bucket / "europe" / "lisbon.tar.gz", {"answer.txt": "I am Lisbon"})
    (bucket / ".localmme").write_text("in the way")
    s3 = client(scripted().url)
    assert [each["Key"] for each in s3.list_objects_v2(Bucket="europe")["Contents"]] == ["lisbon.tar.gz"]
    with pytest.raises(ClientError):
        s3.put_object(Bucket="europe", Key="porto.tar.gz", Body=b"x")
    assert s3.get_object(Bucket="europe", Key="lisbon.tar.gz")["Body"].read()
