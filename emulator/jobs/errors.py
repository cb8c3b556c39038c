"""Why a job fails, in SageMaker's words where they are public."""

from __future__ import annotations

from emulator.errors import EmulatorError


class JobFailed(EmulatorError):
    """A job cannot go on; the message is its FailureReason."""


def download_failed(why: str) -> JobFailed:
    """The data of a channel cannot be brought to the instance. [reports]"""
    return JobFailed(f"ClientError: Data download failed:{why}")


def upload_failed(why: str) -> JobFailed:
    """What a job has written cannot be stored. [reports] The first words."""
    return JobFailed(f"ClientError: Artifact upload failed:{why}")
