"""Reads model archives from real S3, by boto3 and with the user's own settings.

An archive goes from its connection straight into the extraction: it is never whole in memory or on the disk.
boto3 is imported at the first request to S3.
"""

from __future__ import annotations

import functools
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from emulator.archives.errors import ArchiveNotFound, ArchiveUnavailable
from emulator.archives.model_data_url import S3Url, slash_missing
from emulator.archives.s3_download import Download
from emulator.archives.s3_failures import is_not_there, is_refused, problem
from emulator.archives.source import OPENED_WITH, Version
from emulator.aws.errors import AwsError
from emulator.errors import SetupError

CONNECT_SECONDS, READ_SECONDS = 10, 20  # without an answer, before it is tried again
CONNECTIONS = 32  # kept to one place

_making = threading.Lock()


class S3Source:
    """The objects of a bucket whose keys begin with ``prefix``: a TargetModel is the rest of the key."""

    is_remote = True

    def __init__(self, bucket: str, prefix: str = "") -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._closed = threading.Event()

    def check(self) -> None:
        """Check that the prefix can be listed. Raises SetupError."""
        with self._explained(self._prefix):
            _client().list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)

    @contextmanager
    def open(self, target_model: str) -> Iterator[tuple[io.BufferedReader[Any], Version]]:
        """The object's bytes as they come.

        Raises ArchiveNotFound when there is no such object, or when these credentials may not
        read it; ArchiveUnavailable when S3 cannot be reached. Reading raises the same.
        """
        try:
            download = self._download(self._key(target_model))
            download.begin()
        except ArchiveNotFound as error:
            error.__cause__ = error.__cause__ or slash_missing(self._prefix, target_model)
            raise
        with io.BufferedReader(download, OPENED_WITH) as file:
            yield file, download.entity_tag

    def version(self, target_model: str) -> Version:
        """The object's entity tag. Raises what ``open`` raises."""
        key = self._key(target_model)
        try:
            found: tuple[int, int] | str = _client().head_object(Bucket=self._bucket, Key=key)["ETag"]
            return found
        except Exception as error:
            raise _failure(error, self._bucket, key)  # noqa: B904 - it has a cause of its own

    def archives(self) -> Iterator[tuple[str, int]]:
        """TargetModel and size in bytes of every object; one call of S3 for each 1,000. Raises SetupError."""
        with self._explained(self._prefix):
            pages = _client().get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            for page in pages:
                for found in page.get("Contents", ()):
                    target_model = found["Key"][len(self._prefix) :]
                    if target_model and not target_model.endswith("/"):  # a folder, as consoles make them
                        yield target_model, found["Size"]

    def objects(self) -> Iterator[str]:
        """The keys of all objects below the prefix, relative to it. Raises SetupError."""
        return (name for name, _ in self.archives())

    def close(self) -> None:
        """Cancel downloads. One that waits for data ends when its time-out does."""
        self._closed.set()

    def _key(self, target_model: str) -> str:
        return self._prefix + target_model

    def _download(self, key: str) -> Download:
        def get(**conditions: str) -> dict[str, Any]:
            answer: dict[str, Any] = _client().get_object(Bucket=self._bucket, Key=key, **conditions)
            return answer

        return Download(get, lambda error: _failure(error, self._bucket, key), S3Url(self._bucket, key), self._closed)

    @contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise SetupError(problem(error, S3Url(self._bucket, key), _endpoint())) from None


@functools.cache
def _made_client() -> Any:
    import boto3.session
    from botocore.config import Config

    config = Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, max_pool_connections=CONNECTIONS)
    return boto3.session.Session().client("s3", config=config)


def _client() -> Any:
    """The one client of this process, which all threads may use."""
    with _making:
        return _made_client()


def _endpoint() -> str:
    """The address of S3; empty if it is not known."""
    try:
        text: str = _client().meta.endpoint_url
        return text
    except Exception:
        return ""


def _failure(error: Exception, bucket: str, key: str) -> AwsError:
    """The error with which an invocation is answered; its cause has details for the log."""
    if is_not_there(error):
        return ArchiveNotFound(bucket, key)
    why = problem(error, S3Url(bucket, key), _endpoint())
    if not is_refused(error):
        return ArchiveUnavailable(why)
    refused = ArchiveNotFound(bucket, key)
    refused.__cause__ = SetupError(why)
    return refused
