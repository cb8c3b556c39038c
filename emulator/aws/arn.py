"""ARNs, the names of AWS resources, by the partition of their region. Every ARN of the emulator is made here."""

from __future__ import annotations

ACCOUNT_ID = "123456789012"  # AWS's own placeholder account of its documentation
# By the beginning of a region's name; all others are in aws. [api] botocore's partitions, as far as moto has them too:
# STS and IAM tell of its.
PARTITIONS = {
    "cn-": "aws-cn",
    "us-gov-": "aws-us-gov",
    "us-iso-": "aws-iso",
    "us-isob-": "aws-iso-b",
    "eusc-": "aws-eusc",
}


def partition_of(region: str) -> str:
    """The partition that a region is in, such as ``aws-cn``."""
    return next((name for start, name in PARTITIONS.items() if region.startswith(start)), "aws")


def sagemaker_arn(region: str, kind: str, name: str) -> str:
    """[api] The ARN has the name in lower case, so policies have to have it so as well."""
    return f"arn:{partition_of(region)}:sagemaker:{region}:{ACCOUNT_ID}:{kind}/{name.lower()}"


def logs_arn(region: str, group: str) -> str:
    """The ARN of a log group."""
    return f"arn:{partition_of(region)}:logs:{region}:{ACCOUNT_ID}:log-group:{group}"


def iam_arn(region: str, kind: str, name: str) -> str:
    """The ARN of a user or a role, ``kind`` with its path. IAM has one list of them for all regions of a partition."""
    return f"arn:{partition_of(region)}:iam::{ACCOUNT_ID}:{kind}/{name}"


def managed_policy_arn(region: str, name: str) -> str:
    """The ARN of a policy that AWS manages, which is in no account."""
    return f"arn:{partition_of(region)}:iam::aws:policy/{name}"


def s3_arn(region: str, bucket: str, key: str = "") -> str:
    """The ARN of an object, or of a bucket. It names no region, but its partition does."""
    return f"arn:{partition_of(region)}:s3:::{bucket}/{key}" if key else f"arn:{partition_of(region)}:s3:::{bucket}"
