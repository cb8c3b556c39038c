"""The errors for a model archive that cannot be fetched, in SageMaker's words. Those without a source are our own."""

from __future__ import annotations

from emulator.aws.errors import AwsError


class ArchiveNotFound(AwsError):
    """There is no such object, or it may not be read. [reports]"""

    def __init__(self, bucket: str, key: str) -> None:
        super().__init__(
            "ValidationError",
            400,
            f"Failed to download model data(bucket: {bucket}, key: {key}). Please ensure that there is an object "
            "located at the URL and that the role passed to CreateModel has permissions to download the model.",
        )


class ArchiveUnavailable(AwsError):
    """S3 cannot be reached, or failed."""

    def __init__(self, message: str) -> None:
        super().__init__("InternalDependencyException", 530, message)
