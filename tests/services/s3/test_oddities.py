"""S3 in the test's own process: odd numbers in requests, odd times and names of files. None of them is a failure."""

from __future__ import annotations

import asyncio
import os
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from emulator.services.s3.app import S3App
from tests.support.asgi_client import call_service

MANY = "9" * 5000
Call = Callable[..., tuple[int, bytes]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "a").write_bytes(b"0123456789")
    return tmp_path


@pytest.fixture
def call(root: Path) -> Iterator[Call]:
    """Makes one request of S3: its status and body."""
    s3, loop = S3App(root), asyncio.new_event_loop()

    def make(method: str, path: str, query: str = "", body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        asked = call_service(s3, "s3", method, f"{urllib.parse.quote(path)}?{query}", named, body)
        response = loop.run_until_complete(asked)
        return response.status, response.body

    yield make
    loop.run_until_complete(s3.stop())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def begin_upload(call: Call) -> str:
    status, body = call("POST", "/bucket/large", "uploads=")
    assert status == 200
    return ElementTree.fromstring(body).findtext("{*}UploadId") or ""


@pytest.mark.parametrize("number", [MANY, "-" + MANY, "٣", "+1", "1_0", "1.5", "0x1", ""])
def test_numbers_that_are_none_are_no_failures(call: Call, number: str) -> None:
    quoted, upload = urllib.parse.quote(number), begin_upload(call)
    for method, path, query in (
        ("GET", "/bucket", f"list-type=2&max-keys={quoted}"),
        ("GET", "/bucket", f"max-keys={quoted}"),
        ("GET", "/bucket", f"uploads=&max-uploads={quoted}"),
        ("GET", "/", f"max-buckets={quoted}"),
        ("GET", "/bucket/large", f"uploadId={upload}&max-parts={quoted}"),
        ("GET", "/bucket/large", f"uploadId={upload}&part-number-marker={quoted}"),
        ("PUT", "/bucket/large", f"uploadId={upload}&partNumber={quoted}"),
        ("GET", "/bucket/a", f"partNumber={quoted}"),
        ("GET", "/bucket/a", f"X-Amz-Date=20260101T000000Z&X-Amz-Expires={quoted}"),
        ("GET", "/bucket/a", f"Signature=x&AWSAccessKeyId=y&Expires={quoted}"),
    ):
        status, body = call(method, path, query)
        assert status < 500, (method, query[:100], body)
    part = f"<Part><PartNumber>{number}</PartNumber><ETag>x</ETag></Part>"
    document = f"<CompleteMultipartUpload>{part}</CompleteMultipartUpload>".encode()
    assert call("POST", "/bucket/large", f"uploadId={upload}", document)[0] == 400
    if number.isascii():
        assert call("GET", "/bucket/a", range=f"bytes={number}-")[0] in (200, 416)
        assert call("GET", "/bucket/a", range=f"bytes=0-{number}")[0] in (200, 206)
        source = {"x_amz_copy_source": "/bucket/a", "x_amz_copy_source_range": f"bytes=0-{number}"}
        assert call("PUT", "/bucket/large", f"uploadId={upload}&partNumber=1", **source)[0] in (200, 400, 416)
        length = call("PUT", "/bucket/b", body=b"x", x_amz_decoded_content_length=number)
        assert length[0] in (200, 400)
        chunk = number.encode() + b"\r\nx\r\n0\r\n\r\n"
        assert call("PUT", "/bucket/c", body=chunk, x_amz_content_sha256="STREAMING-UNSIGNED-PAYLOAD-TRAILER")[0] == 400


@pytest.mark.parametrize("of", ["bucket/a", "bucket"])
@pytest.mark.parametrize(
    "seconds",
    [-(2**62), -62_135_596_801, -11_644_473_601, -1, 0, 9_223_372_037, 253_402_300_800, 2**40, 2**62],
    ids=["long ago", "year 0", "1600", "1969", "1970", "2262", "10000", "36812", "far ahead"],
)
def test_files_of_any_time_are_listed_and_read(call: Call, root: Path, seconds: int, of: str) -> None:
    try:
        os.utime(root / of, (seconds, seconds))
    except OSError:  # this file system has no such time
        assert abs(seconds) > 2**35
    for method, path, query in (
        ("GET", "/", ""),
        ("GET", "/bucket", "list-type=2"),
        ("GET", "/bucket", ""),
        ("HEAD", "/bucket/a", ""),
        ("GET", "/bucket/a", ""),
        ("GET", "/bucket/a", "attributes="),
    ):
        assert call(method, path, query, x_amz_object_attributes="ETag,ObjectSize")[0] == 200, path
    assert call("PUT", "/bucket/b", x_amz_copy_source="/bucket/a")[0] == 200
    assert call("GET", "/bucket/a", if_modified_since="Mon, 01 Jan 2020 00:00:00 GMT")[0] in (200, 304)


def test_files_of_any_name_are_listed(call: Call, root: Path) -> None:
    names = [
        "a b",
        "a\nb",
        "a\rb",
        "a\x01b",
        "a\x7fb",
        "a\u0085b",
        "a\u2028b",
        "a\ufffeb",
        "<&>\"'",
        "%41",
        "\\",
        "ä" * 127,
    ]
    for name in names:
        (root / "bucket" / name).write_bytes(b"x")
    (root / "bucket" / "d").mkdir()
    (root / "bucket" / os.fsdecode(b"not UTF-8 \xff")).write_bytes(b"x")
    os.mkfifo(root / "bucket" / "fifo")
    (root / "bucket" / "dangling").symlink_to("nowhere")
    deep = root / "bucket" / "/".join(["e"] * 500)
    deep.mkdir(parents=True)
    (deep / "f").write_bytes(b"x")
    status, body = call("GET", "/bucket", "list-type=2&encoding-type=url")
    keys = [
        urllib.parse.unquote(each.text or "") for each in ElementTree.fromstring(body).iterfind("{*}Contents/{*}Key")
    ]
    assert (status, keys) == (200, sorted(["a", *names, "e/" * 500 + "f"], key=lambda key: key.encode()))
    assert call("GET", "/bucket", "list-type=2")[0] == 200
    for key in keys:
        assert call("GET", f"/bucket/{key}")[0] == 200, key
