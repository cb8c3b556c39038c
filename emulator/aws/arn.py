"""The names of AWS resources, as they are in a region's partition."""

from __future__ import annotations

ACCOUNT_ID = "123456789012"  # AWS's own placeholder account of its documentation
PARTITIONS = {"cn": "aws-cn", "us-gov": "aws-us-gov"}  # by the beginning of a region's name


def partition_of(region: str) -> str:
    """The partition that a region is in: ``aws``, ``aws-cn`` or ``aws-us-gov``."""
    return next((name for start, name in PARTITIONS.items() if region.startswith(f"{start}-")), "aws")


def sagemaker_arn(region: str, kind: str, name: str) -> str:
    """[api] The ARN has the name in lower case, so policies have to have it so as well."""
    return f"arn:{partition_of(region)}:sagemaker:{region}:{ACCOUNT_ID}:{kind}/{name.lower()}"


def logs_arn(region: str, group: str) -> str:
    """The ARN of a log group."""
    return f"arn:{partition_of(region)}:logs:{region}:{ACCOUNT_ID}:log-group:{group}"


def iam_arn(region: str, kind: str, name: str) -> str:
    """The ARN of a user or a role. IAM has one list of them for all regions of a partition."""
    return f"arn:{partition_of(region)}:iam::{ACCOUNT_ID}:{kind}/{name}"


def s3_arn(region: str, bucket: str, key: str = "") -> str:
    """The ARN of an object, or of a bucket. It names no region, but its partition does."""
    return f"arn:{partition_of(region)}:s3:::{bucket}/{key}" if key else f"arn:{partition_of(region)}:s3:::{bucket}"
