"""Where a ModelDataUrl points to: into the directory that stands for S3, or into real S3 where there is none."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from emulator.archives.model_data_url import LocalS3, ModelData, parse_s3_url
from emulator.errors import SetupError
from emulator.services.sagemaker.definitions import Locate
from emulator.services.sagemaker.errors import model_data_no_prefix, model_data_not_found
from emulator.storage.errors import InvalidKey, NameTooLong
from emulator.storage.keys import names_of
from emulator.storage.object_files import is_bucket, is_object


def locator(s3_root: Path | None) -> Locate:
    """What finds the model data of a URL: for Mode MultiModel a directory, which need not be there yet."""

    def locate(url: str, multi_model: bool) -> ModelData:
        place = parse_s3_url(url)
        if s3_root is None:
            return place
        if not is_bucket(s3_root, place.bucket):
            raise SetupError(model_data_not_found(url))
        bucket, key = s3_root / place.bucket, place.key.rstrip("/")
        try:
            if key:
                names_of(key)
        except NameTooLong:
            raise SetupError(f"cannot be looked for: {os.strerror(errno.ENAMETOOLONG)}") from None
        except InvalidKey:
            raise SetupError(model_data_not_found(url)) from None
        is_archive = is_object(bucket.resolve(), key)
        if is_archive and multi_model:
            parent = f"s3://{place.bucket}/{place.key.rpartition('/')[0]}".rstrip("/")
            raise SetupError(model_data_no_prefix(url, f"{parent}/"))
        if is_archive == multi_model:
            raise SetupError(model_data_not_found(url))
        return LocalS3(bucket, place)

    return locate
