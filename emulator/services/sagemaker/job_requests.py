"""Reads what requests for training and transform jobs have in common: where data are, and where output goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from emulator.archives.model_data_url import LocalS3, S3Url, in_directory, parse_s3_url
from emulator.aws.service_models import Place
from emulator.errors import EmulatorError
from emulator.services.sagemaker.models import invalid
from emulator.storage.errors import RealS3Refused, RealS3Unavailable
from emulator.storage.object_files import is_bucket
from emulator.storage.read_through import ReadThrough

DATA_TYPES = ("S3Prefix", "ManifestFile")  # those that are emulated
T = TypeVar("T")


class JobRequestReader:
    """Collects the ``problems`` of a request: places, and rest of sentences whose subjects these are.

    With problems, what it has read must not be used.
    """

    def __init__(self, s3_root: Path, read_through: ReadThrough | None = None) -> None:
        self.problems: list[tuple[Place, str]] = []
        self._s3_root, self._read_through = s3_root, read_through

    def report(self, place: Place, message: str) -> None:
        self.problems.append((place, message))

    def refuse_problems(self) -> None:
        """Raises AwsError with all problems, if there are any."""
        if self.problems:
            raise invalid(self.problems)

    def read(self, place: Place, call: Callable[[], T]) -> T:
        """The result of a function. An EmulatorError that it raises is a problem of the place."""
        try:
            return call()
        except EmulatorError as error:
            self.report(place, str(error))
            return None  # type: ignore[return-value]

    def data(self, place: Place, source: Mapping[str, Any]) -> LocalS3:
        """Where the objects are that an S3DataSource names."""
        if source.get("S3DataType") not in DATA_TYPES:
            self.report((*place, "S3DataType"), f"must be {' or '.join(DATA_TYPES)}: others are not emulated")
            return None  # type: ignore[return-value]
        return self.read((*place, "S3Uri"), lambda: in_directory(self._s3_root, source["S3Uri"], self._read_through))

    def output(self, place: Place, url: str) -> S3Url:
        """A prefix below which a job stores objects: its bucket has to exist, here or in real S3. Blocks."""

        def bucket_exists() -> S3Url:
            found = parse_s3_url(url)
            if self._read_through is not None:
                try:
                    self._read_through.bring_bucket(found.bucket)
                except (RealS3Refused, RealS3Unavailable) as error:
                    raise EmulatorError(
                        f"names the bucket {found.bucket}, which cannot be looked for: {error}"
                    ) from None
            if not is_bucket(self._s3_root, found.bucket):
                raise EmulatorError(f"names the bucket {found.bucket}, which does not exist")
            return found

        return self.read(place, bucket_exists)
