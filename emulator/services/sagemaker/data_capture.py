"""DataCaptureConfig: read for what captures, checked, and summed up as DescribeEndpoint shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from emulator.archives.model_data_url import parse_s3_url
from emulator.aws.service_models import Place
from emulator.data_capture import DataCapture
from emulator.errors import SetupError
from emulator.services.sagemaker.definitions import member
from emulator.storage.errors import InvalidBucketName, InvalidKey
from emulator.storage.keys import check_new_bucket, names_of
from emulator.storage.object_files import is_bucket

CONFIG = "DataCaptureConfig"


def is_enabled(config: Mapping[str, Any]) -> bool:
    """Whether an endpoint configuration captures. A DataCaptureConfig does by default. [api]"""
    capture = member(config, CONFIG, dict)
    return capture is not None and capture.get("EnableCapture", True) is True


def problems(place: Place, config: Mapping[str, Any], s3_root: Path | None = None) -> Iterator[tuple[Place, str]]:
    """What is wrong with the destination of an endpoint configuration's data capture.

    ``s3_root`` is the directory that stands for S3, if it is known yet which buckets there are.
    """
    uri = member(member(config, CONFIG, dict), "DestinationS3Uri", str)
    if uri is not None:
        try:
            bucket, prefix = _destination(uri)
            if s3_root is not None and not is_bucket(s3_root, bucket):
                check_new_bucket(bucket)
            if prefix:
                names_of(prefix)
        except SetupError as error:
            yield (*place, CONFIG, "DestinationS3Uri"), str(error)
        except InvalidBucketName as error:
            words = f"names the bucket {bucket}, which does not exist and cannot be created. {error.why}".rstrip()
            yield (*place, CONFIG, "DestinationS3Uri"), words
        except InvalidKey as error:
            yield (*place, CONFIG, "DestinationS3Uri"), f"cannot begin a key: {error.why}"


def data_capture(config: Mapping[str, Any]) -> DataCapture | None:
    """What a checked endpoint configuration captures; None = nothing."""
    if not is_enabled(config):
        return None
    capture = config[CONFIG]
    bucket, prefix = _destination(capture["DestinationS3Uri"])
    modes = {option["CaptureMode"] for option in capture["CaptureOptions"]}
    types = capture.get("CaptureContentTypeHeader", {})
    return DataCapture(
        bucket,
        prefix,
        capture["InitialSamplingPercentage"],
        bool(modes & {"Input", "InputAndOutput"}),
        bool(modes & {"Output", "InputAndOutput"}),
        frozenset(name.lower() for name in types.get("CsvContentTypes", ())),
        frozenset(name.lower() for name in types.get("JsonContentTypes", ())),
    )


def summary(config: Mapping[str, Any], takes_invocations: bool) -> dict[str, Any]:
    """The DataCaptureConfig of DescribeEndpoint, of an endpoint configuration that has one. [api]"""
    capture, enabled = config[CONFIG], is_enabled(config)
    return {
        "EnableCapture": enabled,
        "CaptureStatus": "Started" if enabled and takes_invocations else "Stopped",
        "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
        "DestinationS3Uri": capture["DestinationS3Uri"],
        "KmsKeyId": capture.get("KmsKeyId", ""),
    }


def _destination(uri: str) -> tuple[str, str]:
    """Bucket, and prefix without slashes at its end. Raises SetupError."""
    url = parse_s3_url(uri)
    return url.bucket, url.key.rstrip("/")
