"""Input channels: which objects belong to one, and the files that the algorithm finds for them."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from emulator.archives.errors import ArchiveNotFound
from emulator.archives.model_data_url import LocalS3, ModelData, S3Url, parse_s3_url
from emulator.archives.source import ModelSource
from emulator.archives.source_selection import source_of_many, source_of_one
from emulator.archives.uncompressed_model_data import copy_objects
from emulator.aws.errors import AwsError
from emulator.errors import ArchiveError, SetupError
from emulator.jobs.errors import JobFailed, download_failed
from emulator.jobs.role_access import RoleAccess
from emulator.jobs.training_definition import Channel

MOST_FILES = 10_000_000  # [ours] of one channel
MANIFEST_BYTES = 64 * 1024 * 1024  # [ours] of a manifest, which is held in memory
NO_SUCH_KEY = "NoSuchKey (404): The specified key does not exist."


@dataclass(frozen=True)
class ChannelFiles:
    """The objects of a channel, which are all in one bucket."""

    bucket: str  # its name; a manifest may be in another one
    source: ModelSource  # the bucket
    files: Sequence[tuple[str, str]]  # of each object the key, and the path below the channel's directory


def has_objects(data: ModelData) -> bool:
    """Whether S3 has an object whose key begins with this URL. Blocks. Raises SetupError.

    If not, CreateTrainingJob is refused.
    """
    return next(iter(source_of_many(data).objects()), None) is not None


def download(channel: Channel, access: RoleAccess, directory: Path, max_bytes: int) -> int:
    """Copy a channel's objects to ``directory``, which is created. Returns their size in bytes.

    With input mode FastFile, too: the files are then simply there. Blocks. Raises JobFailed, also when they take more
    than ``max_bytes``.
    """
    found = channel_files(channel, access)
    try:
        with _reading(channel):
            return copy_objects(found.source, found.files, directory, max_bytes=max_bytes, max_files=MOST_FILES)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise download_failed(f"{os.strerror(error.errno)}, on the disk of this machine") from None
        raise


def channel_files(channel: Channel, access: RoleAccess) -> ChannelFiles:
    """The objects of a channel. Blocks. Raises JobFailed, also when the job's role may not read them."""
    with _reading(channel):
        find = _files_of_manifest if channel.data_type == "ManifestFile" else _files_of_prefix
        found = find(channel, access)
    for key, _ in found.files:
        access.check_read(found.bucket, key)
    return found


@contextmanager
def _reading(channel: Channel) -> Iterator[None]:
    """A part of the job, which fails when objects cannot be read there."""
    try:
        yield
    except ArchiveNotFound:
        raise download_failed(NO_SUCH_KEY) from None
    except (ArchiveError, SetupError, AwsError) as error:
        raise download_failed(f"Failed to download data of channel {channel.name}: {error}") from None


def _files_of_prefix(channel: Channel, access: RoleAccess) -> ChannelFiles:
    bucket = _url(channel.data).bucket
    source, prefix = source_of_one(channel.data)
    access.check_list(bucket, prefix)
    keys = [prefix + rest for rest in source_of_many(channel.data).objects()]
    files = [(key, path_of(key, prefix)) for key in keys if not key.endswith("/")]
    if channel.input_mode == "FastFile" and (other := next((key for key in keys if is_partial(key, prefix)), None)):
        raise download_failed(
            "Failed to download data. For FastFile mode, partial S3 prefix is not supported. S3 prefix has to end with "
            "a full file or folder. Add a trailing '/' to the S3 prefix if it ends with a folder name that is also a "
            f"prefix for other folders. Current S3 prefix: [{prefix}], found S3 object: [{other}]."
        )
    if not files:
        raise download_failed(f'No S3 objects found under S3 URL "{channel.data}" given in input data source.')
    if strange := next((key for key in keys if "//" in key), None):
        url = S3Url(bucket, strange)
        raise download_failed(f"Failed to download data. S3 key: {url} has an illegal char sub-sequence '//' in it")
    by_path: dict[str, str] = {}
    for key, path in files:
        if (other := by_path.setdefault(path, key)) != key:
            raise download_failed(f"Failed to download data. The S3 keys {other} and {key} are both the file {path}")
    return ChannelFiles(bucket, source, files)


def path_of(key: str, prefix: str) -> str:
    """Where the object of a key lies in the directory of a channel with that prefix.

    A prefix that is the whole key or the beginning of a name stands for the folder in which that name is. [ours]
    """
    folder = prefix if not is_partial(key, prefix) and key != prefix else prefix[: prefix.rfind("/") + 1]
    return key.removeprefix(folder).removeprefix("/")


def is_partial(key: str, prefix: str) -> bool:
    """Whether the prefix ends within a name of the key, as ``data/train`` in ``data/train-01/file``."""
    return bool(prefix) and not prefix.endswith("/") and key[len(prefix) :][:1] not in ("", "/")


def _files_of_manifest(channel: Channel, access: RoleAccess) -> ChannelFiles:
    """The objects that a manifest names: a prefix, then what follows it in each key. [api]"""
    source, name = source_of_one(channel.data)
    access.check_read(_url(channel.data).bucket, name)
    with source.open(name) as (file, _):
        text = file.read(MANIFEST_BYTES + 1)
    try:
        if len(text) > MANIFEST_BYTES:
            raise ValueError
        first, *names = json.loads(text)
        prefix = parse_s3_url(first["prefix"])
        if not all(isinstance(each, str) and each for each in names) or len(first) != 1 or not names:
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError, SetupError, RecursionError):
        raise _bad_manifest(channel.data) from None
    source, _ = source_of_one(_beside(channel.data, prefix))
    return ChannelFiles(prefix.bucket, source, [(prefix.key + each, each) for each in dict.fromkeys(names)])


def _bad_manifest(data: ModelData) -> JobFailed:
    return download_failed(
        f"{data} is not a manifest: a JSON list of an object, "
        '{"prefix": "s3://BUCKET/PREFIX"}, and of the rest of at least one key after that prefix'
    )


def _beside(data: ModelData, url: S3Url) -> ModelData:
    """Another place in the same S3."""
    return replace(data, directory=data.directory.parent / url.bucket, url=url) if isinstance(data, LocalS3) else url


def _url(data: ModelData) -> S3Url:
    url = data.url if isinstance(data, LocalS3) else data
    assert isinstance(url, S3Url)  # requests name no other places
    return url
