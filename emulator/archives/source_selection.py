"""Chooses the source from which a container's model data is read."""

from __future__ import annotations

from pathlib import Path

from emulator.archives.directory_source import DirectorySource
from emulator.archives.model_data_url import LocalS3, ModelData, S3Url, UnpackedModels
from emulator.archives.s3_source import S3Source
from emulator.archives.source import ModelSource


def source_of_many(model_data: ModelData) -> ModelSource:
    """The archives of a multi-model container."""
    if isinstance(model_data, S3Url):
        return S3Source(model_data.bucket, model_data.key)
    if isinstance(model_data, LocalS3):
        return DirectorySource(model_data.directory, model_data.url, read_through=model_data.read_through)
    if isinstance(model_data, UnpackedModels):
        return DirectorySource(model_data.directory, unpacked=True)
    return DirectorySource(model_data)


def is_prefix(model_data: ModelData) -> bool:
    """Whether it is all objects below a prefix, where one model may be an archive or not."""
    url = model_data.url if isinstance(model_data, LocalS3) else model_data
    return isinstance(url, S3Url) and url.is_folder


def source_of_one(model_data: ModelData) -> tuple[ModelSource, str]:
    """The source of a single-model container's archive, and the archive's name there."""
    if isinstance(model_data, S3Url):
        return S3Source(model_data.bucket), model_data.key
    if isinstance(model_data, LocalS3):
        bucket = S3Url(model_data.url.bucket)
        return DirectorySource(model_data.directory, bucket, read_through=model_data.read_through), model_data.url.key
    assert isinstance(model_data, Path)  # a directory of unpacked models is of many
    return DirectorySource(model_data.parent), model_data.name
