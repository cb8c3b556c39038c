"""Parses the URLs that a ModelDataUrl may be: those of S3, in each spelling."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path

from emulator.errors import SetupError
from emulator.storage.keys import is_bucket_name
from emulator.storage.read_through import ReadThrough

_REGION = r"[a-z]{2}(?:-[a-z]+)+-\d+"
# s3.amazonaws.com and its like; the bucket stands before it, or begins the path.
_HOST = re.compile(
    rf"(?:(?P<bucket>.+)\.)?s3(?:[.-](?:dualstack\.)?{_REGION})?\.amazonaws\.com(?:\.cn)?", re.IGNORECASE
)


@dataclass(frozen=True)
class S3Url:
    """A place in S3. The key is that of one archive, or what the keys of many archives begin with: SageMaker makes a
    key of it and the TargetModel by putting them together as they are. [reports]
    """

    bucket: str
    key: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether what is put behind it lies in a folder of its own."""
        return not self.key or self.key.endswith("/")

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class LocalS3:
    """A place in S3, for which a directory of this machine stands."""

    directory: Path  # the bucket's
    url: S3Url
    read_through: ReadThrough | None = field(default=None, compare=False, repr=False)  # what the directory lacks

    def __str__(self) -> str:
        return str(self.url)


@dataclass(frozen=True)
class UnpackedModels:
    """A directory in which each directory stands for an archive."""

    directory: Path

    def __str__(self) -> str:
        return str(self.directory)


ModelData = Path | S3Url | LocalS3 | UnpackedModels  # where a container's model data is


def is_url(text: str) -> bool:
    """Whether a text is a URL, not a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def parse_s3_url(text: str) -> S3Url:
    """Bucket and key of an S3 URL. Raises SetupError, with what to write, for other URLs.

    ``s3://bucket/key`` is taken letter by letter. ``https://`` URLs name the bucket in their host or at the
    start of their path [api]; their percent-encoding is undone, and which region they name makes no difference.
    """
    scheme, separator, rest = text.partition("://")
    host, _, path = rest.partition("/")
    if scheme.lower() == "s3" and separator:
        return _checked(text, host, path)
    match = _HOST.fullmatch(host) if scheme.lower() == "https" and separator else None
    if match is None:
        raise SetupError(f"{text} is not a URL of S3: write s3://BUCKET/PREFIX.")
    if "?" in path or "#" in path:
        raise SetupError(f"{text.partition('?')[0]} has a query or a fragment after it: write s3://BUCKET/PREFIX.")
    bucket = match["bucket"]
    if bucket is None:
        bucket, _, path = path.partition("/")
    return _checked(text, bucket, urllib.parse.unquote(path))


def in_directory(root: Path, url: str, read_through: ReadThrough | None = None) -> LocalS3:
    """The place that an S3 URL names in a directory of buckets. Raises SetupError for other URLs."""
    place = parse_s3_url(url)
    return LocalS3(root / place.bucket, place, read_through)


def slash_missing(prefix: str, target_model: str) -> SetupError | None:
    """Advice for a missing archive, if the cause is a missing slash; may be empty."""
    if S3Url("", prefix).is_folder or target_model.startswith("/"):
        return None
    return SetupError(
        f"There is no object {prefix}{target_model}: SageMaker puts nothing between the key of ModelDataUrl, {prefix}, "
        f"and the TargetModel, {target_model}. End the first with a slash, or begin the second with one."
    )


def _checked(text: str, bucket: str, key: str) -> S3Url:
    if not bucket:
        raise SetupError(f"{text} names no bucket: write s3://BUCKET/PREFIX.")
    if not is_bucket_name(bucket):
        raise SetupError(f"{text}: {bucket!r} is not the name of a bucket.")
    return S3Url(bucket, key)
