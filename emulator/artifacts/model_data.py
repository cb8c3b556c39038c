"""From where a container's model data is to the bucket that it is read from."""

from __future__ import annotations

from emulator.artifacts.bucket import Bucket, LocalBucket
from emulator.artifacts.model_data_url import LocalS3, ModelData, S3Url
from emulator.artifacts.s3_bucket import S3Bucket


def bucket_of_many(model_data: ModelData) -> Bucket:
    """The archives of a multi-model container."""
    if isinstance(model_data, S3Url):
        return S3Bucket(model_data.bucket, model_data.prefix)
    if isinstance(model_data, LocalS3):
        return LocalBucket(model_data.path, model_data.url)
    return LocalBucket(model_data)


def bucket_of_one(model_data: ModelData) -> tuple[Bucket, str]:
    """Where the one archive of a container is, and its name there."""
    if isinstance(model_data, S3Url):
        return S3Bucket(model_data.bucket), model_data.key
    path = model_data.path if isinstance(model_data, LocalS3) else model_data
    return LocalBucket(path.parent), path.name
