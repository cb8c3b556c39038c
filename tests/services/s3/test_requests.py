"""What S3 takes from a presigned URL, and where buckets may be created: without a server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from emulator.aws.request import AwsRequest
from emulator.services.s3.addressing import headers_of
from emulator.services.s3.app import S3App
from emulator.storage.checksums import LENGTHS
from tests.support.asgi_client import call_service, http_scope

PUT = {"x-amz-sdk-checksum-algorithm": "CRC32", "x-amz-meta-city": "lisbon", "x-amz-tagging": "a=b"}


@pytest.mark.parametrize("algorithm", LENGTHS)
def test_checksums_in_the_query_of_a_presigned_url_are_not_applied(algorithm: str) -> None:
    name = f"x-amz-checksum-{algorithm}"
    for spelled in (name, name.title().replace("X-Amz", "x-amz")):
        assert headers_of(presigned({**PUT, spelled: "AAAAAA=="})) == {**PUT, "host": "localhost"}
    assert headers_of(presigned({name: "AAAAAA=="}, {name: "AQIDBA=="}))[name] == "AQIDBA=="


def presigned(query: dict[str, str], headers: dict[str, str] | None = None) -> AwsRequest:
    return AwsRequest(http_scope("PUT", f"/bucket/key?{urlencode(query)}", headers or {}))


class Caller:
    """Calls S3 as one application of this process."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def create(self, bucket: str, constraint: str | None, endpoint: str) -> tuple[int, str, str]:
        """Create a bucket at the endpoint of a region: the status, the error's code and its message."""
        body = b""
        if constraint is not None:
            body = f"<CreateBucketConfiguration><LocationConstraint>{constraint}</LocationConstraint>".encode()
            body += b"</CreateBucketConfiguration>"
        status, answer = asyncio.run(self._call("PUT", f"/{bucket}", endpoint, body))
        found = {name: re.search(f"<{name}>(.*)</{name}>", answer) for name in ("Code", "Message")}
        return status, *(match[1] if match else "" for match in found.values())

    def region(self, bucket: str) -> str:
        """What GetBucketLocation says."""
        status, answer = asyncio.run(self._call("GET", f"/{bucket}?location", "us-east-1"))
        assert status == 200
        return re.sub("<.*?>", "", answer).strip()

    async def _call(self, method: str, target: str, region: str, body: bytes = b"") -> tuple[int, str]:
        signed = f"AWS4-HMAC-SHA256 Credential=k/20260101/{region}/s3/aws4_request, Signature=0" if region else ""
        s3 = S3App(self._root)
        response = await call_service(s3, "s3", method, target, {"authorization": signed}, body)
        await s3.stop()
        return response.status, response.body.decode()


@pytest.fixture
def caller(tmp_path: Path) -> Iterator[Caller]:
    yield Caller(tmp_path / "s3")


@pytest.mark.parametrize(
    ("constraint", "endpoint", "region"),
    [
        (None, "us-east-1", ""),
        ("", "us-east-1", ""),
        ("eu-west-1", "us-east-1", "eu-west-1"),
        ("us-gov-west-1", "us-east-1", "us-gov-west-1"),
        ("EU", "us-east-1", "eu-west-1"),
        ("EU", "eu-west-1", "eu-west-1"),
        ("us-west-2", "us-west-2", "us-west-2"),
        ("local", "local", "local"),
        (None, "", ""),
        ("us-west-2", "", "us-west-2"),
    ],
)
def test_a_bucket_is_in_the_region_that_its_location_constraint_names(
    caller: Caller, constraint: str | None, endpoint: str, region: str
) -> None:
    assert caller.create("models", constraint, endpoint) == (200, "", "")
    assert caller.region("models") == region


@pytest.mark.parametrize("constraint", ["us-east-1", "mars", "us-west-2; rm"])
@pytest.mark.parametrize("endpoint", ["us-east-1", ""])
def test_a_location_constraint_that_is_no_region_or_us_east_1_is_not_valid(
    caller: Caller, constraint: str, endpoint: str
) -> None:
    message = "The specified location-constraint is not valid"
    assert caller.create("models", constraint, endpoint) == (400, "InvalidLocationConstraint", message)


@pytest.mark.parametrize(("constraint", "named"), [(None, "unspecified"), ("us-east-1",) * 2, ("eu-west-1",) * 2])
def test_another_region_than_us_east_1_creates_its_own_buckets_only(
    caller: Caller, constraint: str | None, named: str
) -> None:
    message = (
        f"The {named} location constraint is incompatible for the region specific endpoint this request was sent to."
    )
    refused = (400, "IllegalLocationConstraintException", message)
    assert caller.create("models", constraint, "us-west-2") == refused
