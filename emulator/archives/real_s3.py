"""Real S3, of which buckets are read through: by boto3, with the user's credentials and, where these do not help, none.

Only operations that read are here. boto3 is imported at the first of them.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

from emulator.archives.model_data_url import S3Url
from emulator.archives.s3_download import Download
from emulator.archives.s3_failures import (
    bucket_region,
    error_code,
    error_status,
    is_of_credentials,
    is_unreachable,
    problem,
)
from emulator.archives.source import OPENED_WITH
from emulator.storage.checksums import LENGTHS
from emulator.storage.errors import NoSuchBucket, NoSuchKey, RealS3Refused, RealS3Unavailable, StorageError
from emulator.storage.listing import ListedObject, ListingPage
from emulator.storage.object_records import ObjectAttributes
from emulator.storage.object_store import StoredObject

CONNECT_SECONDS, READ_SECONDS = 3, 20  # without an answer, before it is tried again
TRIES = 2
UNREACHABLE_SECONDS = 10  # [ours] for which nobody waits again for what cannot be reached
LOOPBACK = {"localhost", "127.0.0.1", "::1"}
KEPT_HEADERS = {
    "cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires",
    "x-amz-storage-class", "x-amz-website-redirect-location",
}  # fmt: skip

# botocore's session variables: name in a file, in the environment, value, conversion.
NO_PROFILE = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}

log = logging.getLogger("localmme")


class RealS3ByBoto3:
    """Real S3 at AWS's own address, or at AWS_ENDPOINT_URL_S3. ``localmme env`` sets AWS_ENDPOINT_URL, which is not
    read: it leads to an emulator."""

    def __init__(self, own_url: str) -> None:
        """``own_url`` is the emulator's own address, which is not real S3."""
        self._own_url = own_url
        self._closed = threading.Event()
        self._making = threading.Lock()
        self._without_first: set[str] = set()  # buckets that credentials did not help with the last time
        self._has_warned = False  # that credentials cannot be used
        self._unreachable: tuple[Exception | None, float] = (None, 0.0)  # why, and until when by time.monotonic

    def region(self, bucket: str) -> str:
        try:
            answer = self._call("head_bucket", bucket)
        except RealS3Refused as error:  # HeadBucket needs the right to list, which others of the bucket's do not
            return bucket_region(error.__cause__) or "us-east-1"
        return str(answer.get("BucketRegion") or "us-east-1")

    def entry(self, bucket: str, key: str) -> StoredObject:
        return _stored(key, self._call("head_object", bucket, key, Key=key, ChecksumMode="ENABLED"))

    @contextmanager
    def open(self, bucket: str, key: str) -> Iterator[tuple[BinaryIO, StoredObject]]:
        def get(**conditions: str) -> dict[str, Any]:
            return self._call("get_object", bucket, key, Key=key, ChecksumMode="ENABLED", **conditions)

        def failure(error: Exception) -> Exception:
            return error if isinstance(error, StorageError) else self._failure(error, bucket, key)

        download = Download(get, failure, S3Url(bucket, key), self._closed)
        with BufferedReader(download, OPENED_WITH) as file:
            yield cast(BinaryIO, file), _stored(key, download.begin())

    def listing(self, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> ListingPage:
        members = {"Prefix": prefix, "Delimiter": delimiter, "StartAfter": after, "MaxKeys": limit}
        while True:
            answer = self._call("list_objects_v2", bucket, prefix, **members)
            # Other servers than AWS's list the common prefix that ``after`` itself has.
            objects = [_listed(one) for one in answer.get("Contents", ()) if one["Key"] > after]
            prefixes = [one["Prefix"] for one in answer.get("CommonPrefixes", ()) if one["Prefix"] > after]
            names = [one.key for one in objects] + prefixes
            if names or not answer.get("IsTruncated"):
                return ListingPage(objects, prefixes, max(names) if answer.get("IsTruncated") else None)
            members["ContinuationToken"] = answer["NextContinuationToken"]

    def close(self) -> None:
        self._closed.set()

    def _call(self, operation: str, bucket: str, key: str = "", **members: Any) -> dict[str, Any]:
        """Call an operation with credentials, if there are any, and without if these do not help."""
        why, until = self._unreachable
        if why is not None and time.monotonic() < until:
            raise self._failure(why, bucket, key)
        try:
            return self._attempt(operation, bucket, **members)
        except Exception as error:
            if is_unreachable(error):
                self._unreachable = (error, time.monotonic() + UNREACHABLE_SECONDS)
            raise self._failure(error, bucket, key) from error

    def _attempt(self, operation: str, bucket: str, **members: Any) -> dict[str, Any]:
        def call(client: Any) -> dict[str, Any]:
            answer: dict[str, Any] = getattr(client, operation)(Bucket=bucket, **members)
            return answer

        with self._making:
            signed, unsigned = self._clients
        if signed is None:
            return call(unsigned)
        first, second = (unsigned, signed) if bucket in self._without_first else (signed, unsigned)
        try:
            return call(first)
        except Exception as error:
            if is_of_credentials(error):
                self._warn(error)
            # 400 is S3's answer to credentials that are out of date, and of HEAD there is no more than the status.
            elif error_status(error) not in (400, 401, 403):
                raise
            try:
                answer = call(second)
            except Exception as other:
                if not is_of_credentials(other):
                    raise
                self._warn(other)
                raise error from None  # what S3 has answered without them says more
            if second is unsigned:
                self._without_first.add(bucket)
            else:
                self._without_first.discard(bucket)
            return answer

    def _warn(self, error: Exception) -> None:
        """Log, once, that there are credentials which cannot be used."""
        if not self._has_warned:
            self._has_warned = True
            log.warning(
                "AWS credentials cannot be loaded (%s), so that only what is public is read from real S3. Renew them "
                "(aws sso login, aws configure) or check AWS_PROFILE, and start the emulator again.",
                type(error).__name__,
            )

    @functools.cached_property
    def _clients(self) -> tuple[Any, Any]:
        """boto3's client with the user's credentials, None if there are none, and the one without."""
        import boto3.session
        import botocore.session
        from botocore import UNSIGNED
        from botocore.config import Config

        try:
            session = boto3.session.Session()
            has_credentials = session.get_credentials() is not None
        except Exception as error:  # of a profile, a program or a file: botocore has many
            self._warn(error)
            has_credentials = False
            session = boto3.session.Session(botocore_session=botocore.session.Session(NO_PROFILE))
        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"total_max_attempts": TRIES},
            ignore_configured_endpoint_urls=True,
        )
        url = os.environ.get("AWS_ENDPOINT_URL_S3") or None
        if url and _is_same(url, self._own_url):
            raise RealS3Unavailable(
                f"AWS_ENDPOINT_URL_S3 is set to {url} where the emulator was started, which is the emulator itself. "
                "Unset it, and start the emulator again."
            )

        def client(config: Any) -> Any:
            region = session.region_name or "us-east-1"
            return session.client("s3", region_name=region, endpoint_url=url, config=config)

        signed = client(config) if has_credentials else None
        return signed, client(config.merge(Config(signature_version=UNSIGNED)))

    def _failure(self, error: Exception, bucket: str, key: str) -> StorageError:
        """The storage's error for one of boto3's."""
        if isinstance(error, StorageError):
            return error
        status, operation = error_status(error), getattr(error, "operation_name", "")
        if status == 404:
            missing = error_code(error) == "NoSuchBucket" or operation in ("HeadBucket", "ListObjectsV2")
            return NoSuchBucket(bucket) if missing else NoSuchKey(key)
        if status in (400, 401, 403):
            return RealS3Refused(bucket, key)
        return RealS3Unavailable(problem(error, S3Url(bucket, key), self._address()))

    def _address(self) -> str:
        """The address of S3; empty if it is not known."""
        return os.environ.get("AWS_ENDPOINT_URL_S3", "")


def _is_same(url: str, own: str) -> bool:
    """Whether both are of the same server, as far as can be told from them."""
    theirs, ours = urlsplit(url), urlsplit(own)
    return theirs.port == ours.port and theirs.hostname in {ours.hostname, *LOOPBACK}


def _stored(key: str, answer: Mapping[str, Any]) -> StoredObject:
    """An object by boto3's answer to GetObject or HeadObject."""
    headers: Mapping[str, str] = answer["ResponseMetadata"]["HTTPHeaders"]
    attributes = ObjectAttributes(
        answer["ETag"].strip('"'),
        {name: value for name, value in headers.items() if name in KEPT_HEADERS or name.startswith("x-amz-meta-")},
        {name: value for name in LENGTHS if (value := answer.get(f"Checksum{name.upper()}"))},
        answer.get("ChecksumType") or "FULL_OBJECT",
    )
    return StoredObject(key, (_nanoseconds(answer["LastModified"]), answer["ContentLength"]), attributes)


def _listed(one: Mapping[str, Any]) -> ListedObject:
    storage_class = one.get("StorageClass", "STANDARD")
    headers = {} if storage_class == "STANDARD" else {"x-amz-storage-class": storage_class}
    attributes = ObjectAttributes(one["ETag"].strip('"'), headers)
    return ListedObject(one["Key"], (_nanoseconds(one["LastModified"]), one["Size"]), attributes)


def _nanoseconds(when: Any) -> int:
    return int(when.timestamp()) * 1_000_000_000
