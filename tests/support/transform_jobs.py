"""A CreateTransformJob request, for tests that do not run it."""

from __future__ import annotations

from typing import Any

TRANSFORM_JOB: dict[str, Any] = {
    "TransformJobName": "t",
    "ModelName": "m",
    "Environment": {"LD_PRELOAD": "s3/bucket/code.so"},
    "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/"}}},
    "TransformOutput": {"S3OutputPath": "s3://bucket/out"},
    "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
}
