"""Where a ModelDataUrl points: into the directory that stands for S3, or into real S3 if no directory does."""

from __future__ import annotations

import errno
import os
import re
import urllib.parse
from pathlib import Path

from emulator.archives.model_data_url import LocalS3, ModelData, S3Url, parse_s3_url
from emulator.archives.unpacked_archive import is_unpacked_archive
from emulator.errors import SetupError
from emulator.services.sagemaker.definitions import Locate
from emulator.services.sagemaker.errors import model_data_no_prefix, model_data_not_found
from emulator.storage.errors import InvalidKey, NameTooLong, RealS3Refused, RealS3Unavailable
from emulator.storage.keys import names_of
from emulator.storage.object_files import is_bucket, is_object
from emulator.storage.read_through import ReadThrough


def locator(s3_root: Path | None, read_through: ReadThrough | None = None) -> Locate:
    """A function that finds the model data of a URL. With Mode MultiModel that is a prefix, which may be empty yet."""

    def has_object(bucket: str, key: str) -> bool:
        assert s3_root is not None
        if read_through is not None and read_through.covers(bucket):
            return bool(key) and read_through.has_object(bucket, key)
        return is_object((s3_root / bucket).resolve(), key)

    def locate(url: str, multi_model: bool) -> ModelData:
        place = parse_s3_url(url)
        if s3_root is None:
            return place
        try:
            if read_through is not None:
                read_through.bring_bucket(place.bucket)
            return find(s3_root, place, url, multi_model)
        except (RealS3Refused, RealS3Unavailable) as error:
            raise SetupError(str(error)) from None

    def find(s3_root: Path, place: S3Url, url: str, multi_model: bool) -> LocalS3:
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
        is_archive = has_object(place.bucket, key) or (not multi_model and is_unpacked_archive(bucket / key))
        if is_archive and multi_model:
            parent = f"s3://{place.bucket}/{place.key.rpartition('/')[0]}".rstrip("/")
            raise SetupError(model_data_no_prefix(url, f"{parent}/"))
        if is_archive == multi_model:
            raise SetupError(model_data_not_found(url))
        return LocalS3(bucket, place, read_through)

    return locate


def path_of(url: str) -> Path | None:
    """The path of a ``file`` URL on this machine; None for other URLs."""
    match = re.fullmatch(r"file://(?:localhost)?(/.*)", url, re.DOTALL)
    return Path(os.fsdecode(urllib.parse.unquote_to_bytes(match[1]))) if match else None


def url_of(path: Path, s3_root: Path | None = None, *, is_directory: bool = False) -> str:
    """An absolute path's URL: ``s3`` below ``s3_root``, else ``file``. A directory's URL ends with a slash."""
    if s3_root is not None and path != s3_root and path.is_relative_to(s3_root):
        url = f"s3://{path.relative_to(s3_root).as_posix()}"
    else:
        url = path.as_uri()
    return f"{url}/" if is_directory and not url.endswith("/") else url
