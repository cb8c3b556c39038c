"""Where a ModelDataUrl points to: into the directory that stands for S3, or into real S3 where there is none."""

from __future__ import annotations

from pathlib import Path

from emulator.archives.model_data_url import LocalS3, ModelData, parse_s3_url
from emulator.errors import SetupError
from emulator.services.sagemaker.definitions import Locate
from emulator.services.sagemaker.errors import model_data_no_prefix, model_data_not_found


def locator(s3_root: Path | None) -> Locate:
    """What finds the model data of a URL: for Mode MultiModel a directory, which need not be there yet."""

    def locate(url: str, multi_model: bool) -> ModelData:
        place = parse_s3_url(url)
        if s3_root is None:
            return place
        bucket, parts = s3_root / place.bucket, place.key.rstrip("/").split("/")
        # S3 compares keys letter by letter; a file system would tidy these up, and leave the bucket.
        if (place.key.rstrip("/") and any(part in ("", ".", "..") for part in parts)) or not bucket.is_dir():
            raise SetupError(model_data_not_found(url))
        found = bucket.joinpath(*parts)
        is_file = "\0" not in place.key and _is_file(found)
        if is_file and multi_model:
            parent = f"s3://{place.bucket}/{place.key.rpartition('/')[0]}".rstrip("/")
            raise SetupError(model_data_no_prefix(url, f"{parent}/"))
        if "\0" in place.key or is_file == multi_model:
            raise SetupError(model_data_not_found(url))
        return LocalS3(bucket, place)

    return locate


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:  # such as a name that is too long for a file
        raise SetupError(f"cannot be looked for: {error.strerror}") from None
