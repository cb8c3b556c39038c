"""Whether a request is for S3, and its bucket and key, by host or path."""

from __future__ import annotations

import email.utils
import urllib.parse
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta, timezone

from emulator.aws.decimals import decimal
from emulator.aws.errors import AwsError
from emulator.aws.request import PAGES, AwsRequest
from emulator.services.s3.errors import expired, invalid_argument, invalid_uri
from emulator.storage.checksums import HEADER, LENGTHS

CHECKSUM_HEADERS = {HEADER + algorithm for algorithm in LENGTHS}
LONGEST_PRESIGNED_SECONDS = 604_800  # [api] seven days


async def is_for_s3(request: AwsRequest, has_bucket: Callable[[str], Awaitable[bool]]) -> bool:
    """Whether a request is for S3: by its signature, else if its host or its path begins with the name of a bucket.

    The emulator's own pages are at no bucket's path, whatever directories and buckets there are.
    """
    if request.signed_for:
        return request.signed_for == "s3"
    if request.bucket_of_host:
        return True
    if request.path.startswith(PAGES):
        return False
    bucket = request.path[1:].partition("/")[0]
    return bool(bucket) and await has_bucket(bucket)


def bucket_and_key(request: AwsRequest) -> tuple[str, str]:
    """A request's bucket and key; each may be empty. Raises InvalidURI when the path is not UTF-8."""
    try:
        return request.bucket_and_key
    except UnicodeDecodeError:
        raise invalid_uri(request.raw_path) from None


def headers_of(request: AwsRequest) -> dict[str, str]:
    """A request's headers, and those that are in a presigned URL's query; names in lower case.

    S3 does not apply checksums from a query: an SDK that signs a URL does not know the data yet, and the one for
    JavaScript writes the checksum of nothing there. [reports]
    """
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.raw_headers}
    lifted = {
        name.lower(): value
        for name, value in request.query.items()
        if name.lower().startswith("x-amz-") and not name.startswith("X-Amz-")
        if name.lower() not in CHECKSUM_HEADERS
    }
    merged = {**lifted, **headers}
    if "X-Amz-Content-Sha256" in request.query:
        merged["x-amz-content-sha256"] = request.query["X-Amz-Content-Sha256"]
    return merged


def check_expiry(query: Mapping[str, str]) -> None:
    """Raises AccessDenied when a presigned URL is out of date. With --access, its signature is checked as well, and
    with that its time."""
    now = datetime.now(timezone.utc)
    try:
        if "X-Amz-Expires" in query and "X-Amz-Date" in query:
            signed = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
            lasts = decimal(query["X-Amz-Expires"])
            if lasts is None or lasts > LONGEST_PRESIGNED_SECONDS:
                raise _bad_query("X-Amz-Expires must be between 0 and 604800 seconds")
            ends = signed + timedelta(seconds=lasts)
        elif "Expires" in query and "Signature" in query:
            ends = datetime.fromtimestamp(_whole(query["Expires"]), timezone.utc)
        else:
            return
    except (ValueError, OverflowError, OSError):
        raise _bad_query("The expiry of the presigned URL cannot be read") from None
    if now > ends:
        raise expired(f"{ends:%Y-%m-%dT%H:%M:%SZ}", f"{now:%Y-%m-%dT%H:%M:%SZ}")


def _whole(text: str) -> int:
    number = decimal(text)
    if number is None:
        raise ValueError
    return number


def _bad_query(message: str) -> AwsError:
    return AwsError("AuthorizationQueryParametersError", 400, message)


def copy_source(value: str) -> tuple[str, str]:
    """Bucket and key of an x-amz-copy-source header. Raises InvalidArgument."""
    path, _, _ = value.partition("?versionId=")
    bucket, slash, key = urllib.parse.unquote(path).removeprefix("/").partition("/")
    if not slash or not bucket or not key:
        raise invalid_argument("Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
                               "x-amz-copy-source", value)  # fmt: skip
    return bucket, key


def http_date(seconds: int) -> str:
    return email.utils.formatdate(seconds, usegmt=True)
