"""S3 as its clients see it: boto3, s3transfer, the AWS CLI, presigned URLs, and requests that no SDK would make."""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import os
import socket
import threading
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

import awscli.clidriver
import boto3
import botocore.auth
import pytest
from boto3.s3.transfer import TransferConfig
from botocore import UNSIGNED
from botocore.exceptions import ClientError

from tests.support.aws_clients import KEYS
from tests.support.s3_servers import S3Server, client, served
from tests.support.waiting import eventually

MEGABYTE = 1 << 20
SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=placeholder/20260101/us-east-1/s3/aws4_request, Signature=0"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with served(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3(server: S3Server) -> Any:
    return server.client


@pytest.fixture
def bucket(server: S3Server, request: pytest.FixtureRequest) -> str:
    """A bucket of this test's own."""
    name = "b" + hashlib.md5(request.node.nodeid.encode()).hexdigest()[:20]
    server.client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Callable[[], S3Server]]:
    """Starts servers over one directory, one after the other."""
    servers: list[S3Server] = []

    def start() -> S3Server:
        servers.append(S3Server(tmp_path / "s3", tmp_path / "state"))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def refused(call: Callable[..., Any], **arguments: Any) -> tuple[int, str]:
    """Status and code of an error."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["ResponseMetadata"]["HTTPStatusCode"], caught.value.response["Error"]["Code"]


def raw(
    server: S3Server, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """A signed request, letter by letter."""
    connection = http.client.HTTPConnection(server.address, timeout=60)
    connection.request(method, path, body, {**SIGNED, **(headers or {})})
    answer = connection.getresponse()
    result = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    connection.close()
    return result


def own_files(server: S3Server) -> list[Path]:
    """What is being written, and what waits to be put together."""
    return [
        path
        for name in ("incoming", "parts")
        for path in (server.root / ".localmme" / name).rglob("*")
        if path.is_file()
    ]


# The directory is the store


def test_a_file_put_there_by_hand_is_an_object(server: S3Server, s3: Any, bucket: str) -> None:
    (server.root / bucket / "team").mkdir()
    (server.root / bucket / "team" / "model.tar.gz").write_bytes(b"weights")
    listed = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert [(one["Key"], one["Size"]) for one in listed] == [("team/model.tar.gz", 7)]
    etag = f'"{hashlib.md5(b"weights").hexdigest()}"'
    assert listed[0]["ETag"] == etag
    answer = s3.get_object(Bucket=bucket, Key="team/model.tar.gz")
    assert (answer["Body"].read(), answer["ETag"], answer["ContentType"]) == (b"weights", etag, "binary/octet-stream")


def test_an_object_is_a_plain_file(server: S3Server, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="team/model.tar.gz", Body=b"weights")
    assert (server.root / bucket / "team" / "model.tar.gz").read_bytes() == b"weights"
    assert {path.name for path in server.root.iterdir()} >= {bucket, ".localmme"}
    s3.delete_object(Bucket=bucket, Key="team/model.tar.gz")
    assert list((server.root / bucket).iterdir()) == []  # S3 has no empty directories


def test_a_directory_made_by_hand_is_a_bucket(server: S3Server, s3: Any) -> None:
    (server.root / "Made_By_Hand").mkdir()
    (server.root / ".hidden").mkdir()
    names = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    assert "Made_By_Hand" in names
    assert not any(name.startswith(".") for name in names)
    s3.put_object(Bucket="Made_By_Hand", Key="a", Body=b"")
    assert refused(s3.delete_bucket, Bucket="Made_By_Hand") == (409, "BucketNotEmpty")
    s3.delete_object(Bucket="Made_By_Hand", Key="a")
    s3.delete_bucket(Bucket="Made_By_Hand")
    assert not (server.root / "Made_By_Hand").exists()


def test_a_large_file_put_there_by_hand_is_listed_without_being_read(server: S3Server, s3: Any, bucket: str) -> None:
    with open(server.root / bucket / "large", "wb") as file:
        file.truncate(200 << 30)  # sparse
    (listed,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert listed["ETag"].endswith('-1"')
    assert s3.head_object(Bucket=bucket, Key="large")["ETag"] == listed["ETag"]
    assert s3.get_object(Bucket=bucket, Key="large", Range="bytes=-3")["Body"].read() == b"\0\0\0"


def test_what_is_known_of_an_object_survives_a_restart_but_not_a_change_by_hand(
    own_server: Callable[[], S3Server],
) -> None:
    first = own_server()
    first.client.create_bucket(Bucket="models", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    first.client.put_object(Bucket="models", Key="a", Body=b"1", Metadata={"by": "me"}, ContentType="text/plain")
    first.client.put_object(Bucket="models", Key="folder/", Body=b"")
    upload = first.client.create_multipart_upload(Bucket="models", Key="m", Metadata={"in": "parts"})["UploadId"]
    where = {"Bucket": "models", "Key": "m", "UploadId": upload}
    etag = first.client.upload_part(**where, PartNumber=1, Body=b"part")["ETag"]
    first.stop()

    second = own_server().client
    assert second.head_object(Bucket="models", Key="a")["Metadata"] == {"by": "me"}
    assert second.get_bucket_location(Bucket="models")["LocationConstraint"] == "eu-west-1"
    assert [one["Key"] for one in second.list_objects_v2(Bucket="models")["Contents"]] == ["a", "folder/"]
    second.complete_multipart_upload(**where, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    assert second.head_object(Bucket="models", Key="m")["Metadata"] == {"in": "parts"}

    (first.root / "models" / "a").write_bytes(b"2")
    changed = second.head_object(Bucket="models", Key="a")
    assert changed["Metadata"] == {}
    assert changed["ETag"] == f'"{hashlib.md5(b"2").hexdigest()}"'


# boto3 and the AWS CLI


def test_s3transfer_moves_files_in_parts(s3: Any, bucket: str, tmp_path: Path) -> None:
    file, back = tmp_path / "file", tmp_path / "back"
    file.write_bytes(os.urandom(MEGABYTE) * 24)
    s3.upload_file(str(file), bucket, "large", ExtraArgs={"Metadata": {"size": "large"}})
    head = s3.head_object(Bucket=bucket, Key="large", ChecksumMode="ENABLED")
    digests = [hashlib.md5(file.read_bytes()[at : at + 8 * MEGABYTE]).digest() for at in range(0, 24 * MEGABYTE, 8 * MEGABYTE)]  # fmt: skip  # noqa: E501
    assert head["ETag"] == f'"{hashlib.md5(b"".join(digests)).hexdigest()}-3"'
    assert head["Metadata"] == {"size": "large"}
    assert head["ChecksumType"] == "COMPOSITE"
    s3.download_file(bucket, "large", str(back))
    assert back.read_bytes() == file.read_bytes()
    third = s3.get_object(Bucket=bucket, Key="large", PartNumber=3)
    assert (third["ContentLength"], third["PartsCount"]) == (8 * MEGABYTE, 3)
    s3.copy({"Bucket": bucket, "Key": "large"}, bucket, "copied", Config=TransferConfig(multipart_threshold=MEGABYTE))
    assert s3.head_object(Bucket=bucket, Key="copied")["ContentLength"] == 24 * MEGABYTE


def test_boto3s_resource(server: S3Server, bucket: str) -> None:
    resource = boto3.resource("s3", endpoint_url=server.url, **KEYS)
    chosen = resource.Bucket(bucket)
    for number in range(5):
        chosen.put_object(Key=f"numbers/{number}", Body=str(number).encode())
    assert [one.key for one in chosen.objects.filter(Prefix="numbers/").limit(3)] == [f"numbers/{n}" for n in range(3)]
    assert resource.Object(bucket, "numbers/4").get()["Body"].read() == b"4"
    buffer = io.BytesIO()
    chosen.download_fileobj("numbers/2", buffer)
    assert buffer.getvalue() == b"2"
    chosen.objects.all().delete()
    chosen.delete()
    assert chosen.creation_date is None


def test_the_aws_cli(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    local = tmp_path / "local"
    (local / "sub").mkdir(parents=True)
    (local / "a.txt").write_text("a")
    (local / "sub" / "b c.txt").write_text("b")
    for file in ("a.txt", "sub/b c.txt"):
        os.utime(local / file, (0, 0))  # of the same second, it would be newer: S3's times have no fraction
    for name, value in {**KEYS, "aws_default_region": "us-east-1"}.items():
        monkeypatch.setenv(name.upper(), value)

    driver = awscli.clidriver.create_clidriver()

    def aws(*arguments: str) -> str:
        code = driver.main(["s3", *arguments, "--endpoint-url", server.url])
        output, errors = capfd.readouterr()
        assert code == 0, errors
        return output

    aws("mb", "s3://of-the-cli")
    aws("sync", str(local), "s3://of-the-cli/models")
    assert "sub/" in aws("ls", "s3://of-the-cli/models/")
    assert aws("sync", str(local), "s3://of-the-cli/models") == ""  # nothing has changed
    aws("cp", "s3://of-the-cli/models/sub/b c.txt", "s3://of-the-cli/copy.txt")
    assert aws("cp", "s3://of-the-cli/copy.txt", "-") == "b"
    aws("rm", "--recursive", "s3://of-the-cli/models")
    assert aws("ls", "--recursive", "s3://of-the-cli").split()[-1] == "copy.txt"
    aws("rb", "--force", "s3://of-the-cli")
    assert not (server.root / "of-the-cli").exists()


def test_what_the_sagemaker_sdk_asks_of_its_default_bucket(s3: Any) -> None:
    name = "sagemaker-eu-west-1-123456789012"
    assert refused(s3.head_bucket, Bucket=name) == (404, "404")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.head_bucket(Bucket=name, ExpectedBucketOwner="123456789012")
    assert refused(s3.head_bucket, Bucket=name, ExpectedBucketOwner="210987654321")[0] == 403
    again = {"Bucket": name, "CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}}
    assert refused(s3.create_bucket, **again) == (409, "BucketAlreadyOwnedByYou")
    s3.put_object(Bucket=name, Key="k", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId="key")
    assert s3.head_object(Bucket=name, Key="k")["ServerSideEncryption"] == "aws:kms"


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_presigned_urls(server: S3Server, bucket: str, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = client(server.url, signature_version=version)
    to_put = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "ü/a b", "Metadata": {"who": "me"}})
    headers = {"x-amz-meta-who": "me"}
    urllib.request.urlopen(urllib.request.Request(to_put, b"data", headers, method="PUT")).close()
    arguments = {"Bucket": bucket, "Key": "ü/a b", "ResponseContentDisposition": "attachment"}
    with urllib.request.urlopen(s3.generate_presigned_url("get_object", arguments)) as answer:
        assert answer.read() == b"data"
        assert answer.headers["Content-Disposition"] == "attachment"
        assert answer.headers["x-amz-meta-who"] == "me"
    earlier = datetime.now(timezone.utc) - timedelta(seconds=10)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_: earlier)  # of version 4
    late = s3.generate_presigned_url("get_object", arguments, ExpiresIn=1 if version == "s3v4" else -9)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(late)
    assert caught.value.code == 403
    assert b"Request has expired" in caught.value.read()


# Which service a request is for


def test_a_bucket_is_named_by_the_path_or_by_the_host(
    server: S3Server, s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put_object(Bucket=bucket, Key="endpoints/a", Body=b"data")
    port = server.address.split(":")[1]
    for host in (f"{bucket}.localhost:{port}", f"{bucket}.s3.localhost", f"{bucket}.s3.eu-west-1.amazonaws.com"):
        assert raw(server, "GET", "/endpoints/a", headers={"Host": host})[2] == b"data"
        assert b"<Key>endpoints/a</Key>" in raw(server, "GET", "/?list-type=2", headers={"Host": host})[2]
    lookup = socket.getaddrinfo  # not every system knows names below localhost
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *more, **named: lookup("127.0.0.1", *more, **named))
    virtual = client(f"http://localhost:{port}", s3={"addressing_style": "virtual"})
    assert virtual.get_object(Bucket=bucket, Key="endpoints/a")["Body"].read() == b"data"


def test_requests_without_a_signature_reach_buckets_that_are_there(server: S3Server, bucket: str) -> None:
    anonymous = client(server.url, signature_version=UNSIGNED)
    anonymous.put_object(Bucket=bucket, Key="a", Body=b"data")
    with urllib.request.urlopen(f"{server.url}/{bucket}/a") as answer:
        assert answer.read() == b"data"


def test_other_services_are_not_s3s(server: S3Server, s3: Any) -> None:
    with urllib.request.urlopen(server.url + "/_localmme/health") as answer:
        assert answer.status == 200
    for_sagemaker = {"Authorization": SIGNED["Authorization"].replace("/s3/", "/sagemaker/")}
    status, headers, _ = raw(server, "GET", "/models", headers=for_sagemaker)
    assert (status, headers["content-type"]) == (404, "application/json")
    runtime = boto3.client("sagemaker-runtime", endpoint_url=server.url, **KEYS)
    assert refused(runtime.invoke_endpoint, EndpointName="local", Body=b"")[1] == "ValidationError"
    assert refused(s3.create_bucket, Bucket="endpoints") == (400, "InvalidBucketName")


# Keys


@pytest.mark.parametrize(
    "path",
    [
        "..", "../x", "a/../../x", "a/..", ".", "./a", "a/./b", "%2e%2e/x", "..%2fx", "%2e%2e%2f%2e%2e%2fetc/passwd",
        "/etc/passwd", "%2Fetc/passwd", "a//b", "a%00b", "%ff", "a" * 256, "b/" + "a" * 256, "é" * 128,
        "/".join(["a" * 200] * 6),
        ".localmme/s3.sqlite3", ".localmme", "a//", "//",
    ],
)  # fmt: skip
def test_a_key_that_cannot_be_a_file_is_refused_and_touches_nothing(server: S3Server, bucket: str, path: str) -> None:
    before = sorted(server.root.parent.rglob("*"))
    url = f"/{bucket}/{quote(path, safe='/%.')}"
    status, _, body = raw(server, "PUT", url, b"data")
    assert status == 400, body
    assert any(code in body for code in (b"InvalidArgument", b"KeyTooLongError", b"InvalidURI"))
    assert raw(server, "GET", url)[0] in (400, 404)
    assert raw(server, "DELETE", url)[0] in (400, 204)
    assert sorted(server.root.parent.rglob("*")) == before


@pytest.mark.parametrize(
    "key",
    ["a", "ä/ö ü", "%2e%2e", "a%2Fb", ".hidden", "a/.b/c", "a+b & <c>'\"", "new\nline", "back\\slash", "a" * 255, "~"],
)
def test_other_keys_come_back_as_they_are(s3: Any, bucket: str, key: str) -> None:
    s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    assert [one["Key"] for one in s3.list_objects(Bucket=bucket)["Contents"]] == [key]
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}]})
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_a_folder_marker_is_a_directory(server: S3Server, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="dir/", ContentType="application/x-directory")
    assert (server.root / bucket / "dir").is_dir()
    assert s3.head_object(Bucket=bucket, Key="dir/")["ContentType"] == "application/x-directory"
    s3.put_object(Bucket=bucket, Key="dir/a", Body=b"")
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["dir/", "dir/a"]
    s3.delete_object(Bucket=bucket, Key="dir/a")
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["dir/"]
    assert refused(s3.put_object, Bucket=bucket, Key="dir/", Body=b"x") == (400, "InvalidArgument")
    s3.delete_object(Bucket=bucket, Key="dir/")
    assert not (server.root / bucket / "dir").exists()


def test_a_key_cannot_be_the_directory_of_another_one(server: S3Server, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a/b", Body=b"1")
    s3.put_object(Bucket=bucket, Key="c", Body=b"2")
    assert refused(s3.put_object, Bucket=bucket, Key="a", Body=b"") == (400, "InvalidArgument")
    assert refused(s3.put_object, Bucket=bucket, Key="c/d", Body=b"") == (400, "InvalidArgument")
    assert refused(s3.get_object, Bucket=bucket, Key="a") == (404, "NoSuchKey")
    s3.delete_object(Bucket=bucket, Key="a")  # there is none
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["a/b", "c"]
    (server.root / bucket / "empty" / "directories").mkdir(parents=True)
    s3.put_object(Bucket=bucket, Key="empty", Body=b"3")  # those are nothing in S3
    assert own_files(server) == []


def test_a_link_to_a_file_is_an_object_and_one_to_a_directory_is_not(
    server: S3Server, s3: Any, bucket: str, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").write_text("large")
    directory = server.root / bucket
    (directory / "out").symlink_to(tmp_path / "elsewhere")
    (directory / "up").symlink_to(tmp_path)
    (directory / "loop").symlink_to(directory)
    (directory / "gone").symlink_to("nowhere")
    (directory / "file").write_text("inside")
    (directory / "in").symlink_to("file")
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["file", "in", "out"]
    assert s3.get_object(Bucket=bucket, Key="in")["Body"].read() == b"inside"
    assert s3.get_object(Bucket=bucket, Key="out")["Body"].read() == b"large"
    for key in ("up", "up/elsewhere", "loop/file", "gone", "loop/out"):
        assert refused(s3.get_object, Bucket=bucket, Key=key) == (404, "NoSuchKey")
    for key in ("up/new", "loop/new"):
        assert refused(s3.put_object, Bucket=bucket, Key=key, Body=b"") == (400, "InvalidArgument")
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket, Prefix="up/")
    s3.put_object(Bucket=bucket, Key="out", Body=b"mine")  # takes the link's place
    assert s3.get_object(Bucket=bucket, Key="out")["Body"].read() == b"mine"
    (directory / "again").symlink_to(tmp_path / "elsewhere")
    for key in ("again", "up/elsewhere"):
        s3.delete_object(Bucket=bucket, Key=key)
    assert not os.path.lexists(directory / "again")
    assert (tmp_path / "elsewhere").read_text() == "large"


def test_a_bucket_may_be_a_link_to_a_directory_elsewhere(server: S3Server, s3: Any, tmp_path: Path) -> None:
    (server.root / "linked").symlink_to(tmp_path)
    s3.put_object(Bucket="linked", Key="a/b", Body=b"1")
    assert (tmp_path / "a" / "b").read_bytes() == b"1"
    assert s3.list_objects_v2(Bucket="linked")["KeyCount"] == 1
    (server.root / "linked").unlink()


def test_what_is_no_file_is_no_object(server: S3Server, s3: Any, bucket: str) -> None:
    os.mkfifo(server.root / bucket / "pipe")
    with open(os.fsencode(server.root / bucket) + b"/\xff", "wb"):
        pass
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    assert refused(s3.get_object, Bucket=bucket, Key="pipe") == (404, "NoSuchKey")


def test_pages_of_many_keys(server: S3Server, s3: Any, bucket: str) -> None:
    names = sorted(f"{'abc'[number % 3]}/{number:05d}" for number in range(1200))
    for name in names:
        path = server.root / bucket / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    for version in ("list_objects_v2", "list_objects"):
        pages = list(s3.get_paginator(version).paginate(Bucket=bucket))
        assert [len(page["Contents"]) for page in pages] == [1000, 200]
        assert [one["Key"] for page in pages for one in page["Contents"]] == names
    top = s3.list_objects_v2(Bucket=bucket, Delimiter="/", MaxKeys=2)
    assert [one["Prefix"] for one in top["CommonPrefixes"]] == ["a/", "b/"]
    rest = s3.list_objects_v2(Bucket=bucket, Delimiter="/", ContinuationToken=top["NextContinuationToken"])
    assert [one["Prefix"] for one in rest["CommonPrefixes"]] == ["c/"]
    assert refused(s3.list_objects_v2, Bucket=bucket, ContinuationToken="nonsense") == (400, "InvalidArgument")


# Data


def chunked(data: bytes, size: int, trailers: dict[str, str], signed: bool = False) -> bytes:
    """As SDKs frame it."""
    signature = ";chunk-signature=" + "0" * 64 if signed else ""
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    body = b"".join(b"%x%s\r\n%s\r\n" % (len(piece), signature.encode(), piece) for piece in pieces)
    body += f"0{signature}\r\n".encode() + b"".join(f"{name}:{value}\r\n".encode() for name, value in trailers.items())
    return body + b"\r\n"


def crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("size", [1, 100_000, 3 * MEGABYTE])
def test_aws_chunked_bodies_with_a_trailer(server: S3Server, s3: Any, bucket: str, size: int, signed: bool) -> None:
    data = os.urandom(50 if size == 1 else 2 * MEGABYTE + 5)
    kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" if signed else "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    headers = {
        "x-amz-content-sha256": kind,
        "Content-Encoding": "aws-chunked,gzip",
        "x-amz-decoded-content-length": str(len(data)),
        "x-amz-trailer": "x-amz-checksum-crc32",
    }
    trailers = {"x-amz-checksum-crc32": crc32(data), **({"x-amz-trailer-signature": "0"} if signed else {})}
    body = chunked(data, size, trailers, signed)
    status, answered, _ = raw(server, "PUT", f"/{bucket}/a", body, headers)
    assert (status, answered["x-amz-checksum-crc32"]) == (200, crc32(data))
    answer = s3.get_object(Bucket=bucket, Key="a", ChecksumMode="ENABLED")
    assert answer["Body"].read() == data
    assert (answer["ContentEncoding"], answer["ChecksumCRC32"]) == ("gzip", crc32(data))

    wrong = chunked(data, size, {"x-amz-checksum-crc32": crc32(b"other")}, signed)
    status, _, answer_body = raw(server, "PUT", f"/{bucket}/wrong", wrong, headers)
    assert (status, b"BadDigest" in answer_body) == (400, True)
    for broken in (body[: len(body) // 2], b"zz\r\n" + body, body.replace(b"\r\n", b"\r\nx", 1)):
        assert raw(server, "PUT", f"/{bucket}/wrong", broken, headers)[0] == 400
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["a"]
    assert own_files(server) == []


@pytest.mark.parametrize(
    ("header", "value", "code"),
    [
        ("Content-MD5", base64.b64encode(bytes(16)).decode(), b"BadDigest"),
        ("Content-MD5", "short", b"InvalidDigest"),
        ("x-amz-content-sha256", "0" * 64, b"XAmzContentSHA256Mismatch"),
        ("x-amz-checksum-crc32", crc32(b"other"), b"BadDigest"),
        ("x-amz-checksum-sha1", base64.b64encode(bytes(20)).decode(), b"BadDigest"),
        ("x-amz-checksum-sha256", base64.b64encode(bytes(32)).decode(), b"BadDigest"),
        ("x-amz-checksum-sha256", "AAAA", b"InvalidRequest"),
    ],
)
def test_data_that_is_not_what_was_meant_is_refused(
    server: S3Server, s3: Any, bucket: str, header: str, value: str, code: bytes
) -> None:
    status, _, body = raw(server, "PUT", f"/{bucket}/a", b"data", {header: value})
    assert status == 400
    assert b"<Code>" + code in body
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    assert own_files(server) == []


def test_checksums_that_cannot_be_computed_here_are_kept(server: S3Server, s3: Any, bucket: str) -> None:
    given = base64.b64encode(bytes(8)).decode()
    status, headers, _ = raw(server, "PUT", f"/{bucket}/a", b"", {"x-amz-checksum-crc64nvme": given})
    assert (status, headers["x-amz-checksum-crc64nvme"]) == (200, given)
    assert s3.head_object(Bucket=bucket, Key="a", ChecksumMode="ENABLED")["ChecksumCRC64NVME"] == given


def test_concurrent_puts_of_one_key_are_each_whole(s3: Any, bucket: str) -> None:
    bodies = [bytes([number]) * (MEGABYTE + number) for number in range(8)]
    stop = threading.Event()

    def read() -> int:
        seen = 0
        while not stop.is_set():
            answer = s3.get_object(Bucket=bucket, Key="a")
            body = answer["Body"].read()
            assert body in bodies
            assert answer["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
            seen += 1
        return seen

    s3.put_object(Bucket=bucket, Key="a", Body=bodies[0])
    with ThreadPoolExecutor(8) as threads:
        readers = [threads.submit(read) for _ in range(2)]
        list(threads.map(lambda body: s3.put_object(Bucket=bucket, Key="a", Body=body), bodies * 2))
        stop.set()
        assert all(reader.result() > 0 for reader in readers)


def test_only_one_of_many_writers_makes_a_new_object(s3: Any, bucket: str) -> None:
    def write(number: int) -> bool:
        try:
            s3.put_object(Bucket=bucket, Key="lock", Body=str(number).encode(), IfNoneMatch="*")
        except ClientError as error:
            assert error.response["Error"]["Code"] == "PreconditionFailed"
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(write, range(24))) == 1


def test_an_object_that_is_deleted_while_it_is_read_is_read_to_its_end(s3: Any, bucket: str) -> None:
    data = os.urandom(MEGABYTE) * 30
    s3.put_object(Bucket=bucket, Key="a", Body=data)
    body = s3.get_object(Bucket=bucket, Key="a")["Body"]
    first = body.read(10)
    s3.put_object(Bucket=bucket, Key="a", Body=b"new")
    s3.delete_object(Bucket=bucket, Key="a")
    assert first + body.read() == data


def test_an_upload_that_breaks_off_leaves_nothing(server: S3Server, s3: Any, bucket: str) -> None:
    with socket.create_connection(server.address.split(":")) as connection:
        request = f"PUT /{bucket}/half HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n"
        request += f"Authorization: {SIGNED['Authorization']}\r\n\r\n"
        connection.sendall(request.encode() + bytes(4_000_000))
        eventually(lambda: own_files(server))
    eventually(lambda: not own_files(server))
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_a_refused_upload_sees_the_reason(s3: Any) -> None:
    assert refused(s3.put_object, Bucket="no-such-bucket", Key="a", Body=bytes(20 * MEGABYTE)) == (404, "NoSuchBucket")
    assert refused(s3.put_object, Bucket="no-such-bucket", Key="a", Body=io.BytesIO(bytes(20 * MEGABYTE)))[0] == 404


def test_a_client_that_expects_100_continue_gets_it(server: S3Server, bucket: str) -> None:
    with socket.create_connection(server.address.split(":")) as connection:
        request = f"PUT /{bucket}/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\n"
        connection.sendall(f"{request}Authorization: {SIGNED['Authorization']}\r\n\r\n".encode())
        connection.settimeout(60)
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(b"data")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")


# Multipart uploads


def test_the_rules_of_multipart_uploads(server: S3Server, s3: Any, bucket: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    where = {"Bucket": bucket, "Key": "m", "UploadId": upload}
    small = s3.upload_part(**where, PartNumber=1, Body=b"small")["ETag"]
    last = s3.upload_part(**where, PartNumber=2, Body=b"last")["ETag"]

    def complete(*parts: tuple[int, str]) -> Any:
        listed = [{"PartNumber": number, "ETag": etag} for number, etag in parts]
        return s3.complete_multipart_upload(**where, MultipartUpload={"Parts": listed})

    def code(*parts: tuple[int, str]) -> tuple[int, str]:
        with pytest.raises(ClientError) as caught:
            complete(*parts)
        return caught.value.response["ResponseMetadata"]["HTTPStatusCode"], caught.value.response["Error"]["Code"]

    assert code((1, small), (2, last)) == (400, "EntityTooSmall")
    assert code((2, last), (1, small)) == (400, "InvalidPartOrder")
    assert code((1, small), (1, small)) == (400, "InvalidPartOrder")
    assert code((1, last)) == (400, "InvalidPart")
    assert code((3, last)) == (400, "InvalidPart")
    assert code() == (400, "MalformedXML")
    for number in (0, 10_001):
        assert refused(s3.upload_part, **where, PartNumber=number, Body=b"")[1] == "InvalidArgument"
    assert refused(s3.upload_part, **{**where, "UploadId": "none"}, PartNumber=1, Body=b"") == (404, "NoSuchUpload")
    big = s3.upload_part(**where, PartNumber=1, Body=bytes(5 * MEGABYTE))["ETag"]  # replaces the small one
    assert [(part["PartNumber"], part["Size"]) for part in s3.list_parts(**where)["Parts"]] == [(1, 5 << 20), (2, 4)]
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    assert complete((1, big), (2, last))["ETag"].endswith('-2"')
    assert s3.get_object(Bucket=bucket, Key="m", Range="bytes=-5")["Body"].read() == b"\0last"
    assert code((1, big), (2, last)) == (404, "NoSuchUpload")
    assert own_files(server) == []


def test_uploads_are_listed_until_they_are_aborted(server: S3Server, s3: Any, bucket: str) -> None:
    ids = {key: s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"] for key in ("b/2", "a", "b/1")}
    for key, upload in ids.items():
        s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"part")
    paginator = s3.get_paginator("list_multipart_uploads")
    listed = [
        upload["Key"]
        for page in paginator.paginate(Bucket=bucket, PaginationConfig={"PageSize": 1})
        for upload in page["Uploads"]
    ]
    assert listed == ["a", "b/1", "b/2"]
    grouped = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [one["Prefix"] for one in grouped["CommonPrefixes"]] == ["b/"]
    assert refused(s3.abort_multipart_upload, Bucket=bucket, Key="other", UploadId=ids["a"])[1] == "NoSuchUpload"
    for key, upload in ids.items():
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    assert own_files(server) == []


def test_parts_can_be_copied_from_objects(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="source", Body=b"0123456789")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    where = {"Bucket": bucket, "Key": "m", "UploadId": upload, "PartNumber": 1, "CopySource": f"{bucket}/source"}
    assert refused(s3.upload_part_copy, **where, CopySourceRange="bytes=5-10")[1] == "InvalidRange"
    assert refused(s3.upload_part_copy, **where, CopySourceRange="bytes=x")[1] == "InvalidArgument"
    etag = s3.upload_part_copy(**where, CopySourceRange="bytes=2-4")["CopyPartResult"]["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    s3.complete_multipart_upload(Bucket=bucket, Key="m", UploadId=upload, MultipartUpload=parts)
    assert s3.get_object(Bucket=bucket, Key="m")["Body"].read() == b"234"


def test_a_checksum_of_a_whole_multipart_object(s3: Any, bucket: str) -> None:
    begun = {"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"}
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m", **begun)["UploadId"]
    where = {"Bucket": bucket, "Key": "m", "UploadId": upload}
    part = s3.upload_part(**where, PartNumber=1, Body=b"data", ChecksumAlgorithm="CRC32")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]}]}
    wrong = {"ChecksumCRC32": crc32(b"other"), "ChecksumType": "FULL_OBJECT"}
    assert refused(s3.complete_multipart_upload, **where, MultipartUpload=parts, **wrong)[1] == "BadDigest"
    done = s3.complete_multipart_upload(**where, MultipartUpload=parts, ChecksumCRC32=crc32(b"data"))
    assert (done["ChecksumCRC32"], done["ChecksumType"]) == (crc32(b"data"), "FULL_OBJECT")


# Copies, conditions, tags


def test_copies(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"data", Metadata={"n": "1"}, Tagging="t=1", ContentType="text/plain")
    source = {"Bucket": bucket, "Key": "a"}
    assert refused(s3.copy_object, Bucket=bucket, Key="a", CopySource=source) == (400, "InvalidRequest")
    s3.copy_object(Bucket=bucket, Key="b", CopySource=source)
    copied = s3.head_object(Bucket=bucket, Key="b")
    assert (copied["Metadata"], copied["ContentType"], copied["TagCount"]) == ({"n": "1"}, "text/plain", 1)
    s3.copy_object(Bucket=bucket, Key="a", CopySource=source, MetadataDirective="REPLACE", Metadata={"n": "2"})
    assert s3.head_object(Bucket=bucket, Key="a")["Metadata"] == {"n": "2"}
    same = {"Bucket": bucket, "Key": "c", "CopySource": source}
    assert refused(s3.copy_object, **same, CopySourceIfMatch='"other"') == (412, "PreconditionFailed")
    assert refused(s3.copy_object, **same, CopySourceIfNoneMatch=copied["ETag"]) == (412, "PreconditionFailed")
    assert refused(s3.copy_object, Bucket=bucket, Key="c", CopySource=f"{bucket}/none") == (404, "NoSuchKey")
    s3.copy_object(Bucket=bucket, Key="c", CopySource=source, ChecksumAlgorithm="SHA256")
    assert "ChecksumSHA256" in s3.head_object(Bucket=bucket, Key="c", ChecksumMode="ENABLED")


def test_conditions_on_times(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"data")
    modified = s3.head_object(Bucket=bucket, Key="a")["LastModified"]
    assert refused(s3.get_object, Bucket=bucket, Key="a", IfModifiedSince=modified) == (304, "304")
    s3.get_object(Bucket=bucket, Key="a", IfUnmodifiedSince=modified)
    earlier = modified.replace(year=modified.year - 1)
    assert refused(s3.get_object, Bucket=bucket, Key="a", IfUnmodifiedSince=earlier) == (412, "PreconditionFailed")
    s3.get_object(Bucket=bucket, Key="a", IfModifiedSince=earlier)


def test_conditional_writes(s3: Any, bucket: str) -> None:
    assert refused(s3.put_object, Bucket=bucket, Key="a", Body=b"", IfMatch='"x"') == (404, "NoSuchKey")
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"1")["ETag"]
    assert refused(s3.put_object, Bucket=bucket, Key="a", Body=b"2", IfMatch='"x"') == (412, "PreconditionFailed")
    s3.put_object(Bucket=bucket, Key="a", Body=b"2", IfMatch=etag)
    assert refused(s3.delete_object, Bucket=bucket, Key="a", IfMatch=etag) == (412, "PreconditionFailed")


def test_tags(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"", Tagging="team=blue&stage=")
    tags = s3.get_object_tagging(Bucket=bucket, Key="a")["TagSet"]
    assert tags == [{"Key": "team", "Value": "blue"}, {"Key": "stage", "Value": ""}]
    s3.put_object_tagging(Bucket=bucket, Key="a", Tagging={"TagSet": [{"Key": "x", "Value": "y"}]})
    assert s3.get_object_tagging(Bucket=bucket, Key="a")["TagSet"] == [{"Key": "x", "Value": "y"}]
    s3.delete_object_tagging(Bucket=bucket, Key="a")
    assert s3.get_object_tagging(Bucket=bucket, Key="a")["TagSet"] == []


# What is not there


def test_what_is_not_implemented_is_said_by_its_name(server: S3Server, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"")
    for call, arguments in (
        (s3.put_bucket_versioning, {"VersioningConfiguration": {"Status": "Enabled"}}),
        (s3.put_bucket_policy, {"Policy": "{}"}),
        (s3.list_object_versions, {}),
        (s3.get_object_retention, {"Key": "a"}),
        (s3.put_object_acl, {"Key": "a", "ACL": "private"}),
    ):
        with pytest.raises(ClientError) as caught:
            call(Bucket=bucket, **arguments)
        assert caught.value.response["Error"]["Code"] == "NotImplemented"
        assert caught.value.operation_name in caught.value.response["Error"]["Message"]
    encrypted = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"0" * 32}
    assert refused(s3.put_object, Bucket=bucket, Key="b", Body=b"", **encrypted) == (501, "NotImplemented")
    assert refused(s3.get_bucket_policy, Bucket=bucket) == (404, "NoSuchBucketPolicy")
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    assert raw(server, "PATCH", f"/{bucket}/a")[0] == 405


def test_errors_are_xml_with_a_request_id_and_none_for_head(server: S3Server, bucket: str) -> None:
    status, headers, body = raw(server, "GET", f"/{bucket}/none%20<&>")
    assert (status, headers["content-type"]) == (404, "application/xml")
    assert f"<RequestId>{headers['x-amz-request-id']}</RequestId>".encode() in body
    assert b"<Key>none &lt;&amp;&gt;</Key>" in body
    status, headers, body = raw(server, "HEAD", f"/{bucket}/none")
    assert (status, body) == (404, b"")
    for document in (b"", b"<Delete/>", b"<Delete", b"<!DOCTYPE x [<!ENTITY e 'x'>]><Delete>&e;</Delete>", b"\xff"):
        status, _, body = raw(server, "POST", f"/{bucket}?delete", document)
        assert (status, b"MalformedXML" in body) == (400, True)
    assert raw(server, "POST", f"/{bucket}?delete", bytes(5 * MEGABYTE))[0] == 400
