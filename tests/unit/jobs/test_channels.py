"""The objects of a channel, and the files that the algorithm finds for them."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from emulator.archives.model_data_url import LocalS3, S3Url
from emulator.jobs import channels
from emulator.jobs.channels import download, has_objects
from emulator.jobs.errors import JobFailed
from emulator.jobs.training_definition import Channel
from emulator.storage.object_store import open_store
from emulator.storage.read_through import ReadThrough
from tests.support.role_access import EVERYTHING
from tests.support.store_as_real_s3 import StoreAsRealS3

FAILED = "ClientError: Data download failed:"


class Bucket:
    """The bucket ``b`` as a directory."""

    def __init__(self, root: Path) -> None:
        self.directory = root / "b"
        self.directory.mkdir(parents=True)

    def put(self, key: str, text: str = "x", bucket: str = "b") -> None:
        path = self.directory.parent / bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def channel(self, key: str, data_type: Any = "S3Prefix", **settings: Any) -> Channel:
        return Channel("train", LocalS3(self.directory, S3Url("b", key)), data_type, {}, **settings)


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return Bucket(tmp_path)


def files_of(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("prefix", "files"),
    [
        ("data/", ["train-01/c.csv", "train.csv", "train/a.csv", "train/deep/b.csv", "training.csv"]),
        ("data/train/", ["a.csv", "deep/b.csv"]),
        ("data/train/deep", ["b.csv"]),
        ("data/train/a.csv", ["a.csv"]),
        ("data/train.", ["train.csv"]),
        ("data/traini", ["training.csv"]),
        ("data/train", ["a.csv", "deep/b.csv", "train-01/c.csv", "train.csv", "training.csv"]),
        ("dat", ["data/train-01/c.csv", "data/train.csv", "data/train/a.csv", "data/train/deep/b.csv",
                 "data/training.csv"]),
        ("", ["data/train-01/c.csv", "data/train.csv", "data/train/a.csv", "data/train/deep/b.csv",
              "data/training.csv"]),
    ],
)  # fmt: skip
def test_files_lie_where_the_rest_of_their_key_says(
    bucket: Bucket, tmp_path: Path, prefix: str, files: list[str]
) -> None:
    for key in ("train/a.csv", "train/deep/b.csv", "train.csv", "training.csv", "train-01/c.csv"):
        bucket.put(f"data/{key}", "12345")
    assert download(bucket.channel(prefix), EVERYTHING, tmp_path / "train", 1000) == 5 * len(files)
    assert files_of(tmp_path / "train") == files


def test_two_objects_that_would_be_one_file_are_refused(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("data/train/train.csv")
    bucket.put("data/train.csv")
    with pytest.raises(JobFailed, match="S3 keys data/train.csv and data/train/train.csv are both the file train.csv"):
        download(bucket.channel("data/train"), EVERYTHING, tmp_path / "train", 1000)


@pytest.mark.parametrize("prefix", ["data/tr", "data/train"])
def test_fast_file_mode_takes_no_part_of_a_name(bucket: Bucket, tmp_path: Path, prefix: str) -> None:
    bucket.put("data/train/a.csv")
    bucket.put("data/train-01/a.csv")
    with pytest.raises(JobFailed, match=rf"^{FAILED}Failed .* Current S3 prefix: \[{prefix}\], found S3 object: \["):
        download(bucket.channel(prefix, input_mode="FastFile"), EVERYTHING, tmp_path / "train", 1000)
    download(bucket.channel("data/train/", input_mode="FastFile"), EVERYTHING, tmp_path / "train", 1000)
    assert files_of(tmp_path / "train") == ["a.csv"]


def test_a_prefix_without_objects_is_seen_before_and_at_the_download(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("data/a")
    channel = bucket.channel("data/b")
    assert has_objects(bucket.channel("data").data) and not has_objects(channel.data)
    with pytest.raises(JobFailed, match=f'^{FAILED}No S3 objects found under S3 URL "s3://b/data/b" given in input'):
        download(channel, EVERYTHING, tmp_path / "train", 1000)


def test_a_manifest_names_the_files(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    bucket.put("some/prefix/a/1.csv", "1", "other")
    bucket.put("some/prefix/a/2.csv", "2", "other")
    bucket.put("some/prefix/3.csv", "3", "other")
    bucket.put("the.manifest", json.dumps([{"prefix": "s3://other/some/prefix/"}, "a/1.csv", "3.csv", "3.csv"]))
    download(bucket.channel("the.manifest", "ManifestFile"), EVERYTHING, tmp_path / "train", 1000)
    assert files_of(tmp_path / "train") == ["3.csv", "a/1.csv"]


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        ([{"prefix": "s3://b/"}, "absent"], "NoSuchKey (404): The specified key does not exist."),
        ([{"prefix": "s3://absent/"}, "a"], "NoSuchKey (404): The specified key does not exist."),
        ([{"prefix": "s3://b/"}], "s3://b/m is not a manifest: a JSON list"),
        ([{"prefix": "/etc/"}, "passwd"], "s3://b/m is not a manifest: a JSON list"),
        ([{"prefix": "s3://../"}, "etc"], "s3://b/m is not a manifest: a JSON list"),
        (["a"], "s3://b/m is not a manifest: a JSON list"),
        ([{"prefix": "s3://b/"}, 1], "s3://b/m is not a manifest: a JSON list"),
        ({"prefix": "s3://b/"}, "s3://b/m is not a manifest: a JSON list"),
        ([{"prefix": "s3://b/"}, "../b/secret"], "Failed to download data of channel train: the object"),
        ([{"prefix": "s3://b/"}, "/m"], "Failed to download data of channel train: the object"),
    ],
)
def test_a_manifest_that_leads_nowhere_fails_the_job(
    bucket: Bucket, tmp_path: Path, manifest: object, why: str
) -> None:
    bucket.put("m", json.dumps(manifest))
    bucket.put("secret")
    with pytest.raises(JobFailed) as failed:
        download(bucket.channel("m", "ManifestFile"), EVERYTHING, tmp_path / "train", 1000)
    assert str(failed.value).startswith(FAILED + why)


def test_a_missing_manifest_fails_the_job(bucket: Bucket, tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match=r"NoSuchKey \(404\)"):
        download(bucket.channel("m", "ManifestFile"), EVERYTHING, tmp_path / "train", 1000)


def test_data_that_does_not_fit_onto_the_volume_fails_the_job(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("data/a", "x" * 100)
    with pytest.raises(JobFailed, match=r"it takes more than the storage volume has, 99 B"):
        download(bucket.channel("data"), EVERYTHING, tmp_path / "train", 99)


def test_a_full_disk_fails_the_job(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.put("data/a")

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(channels, "copy_objects", full)
    with pytest.raises(JobFailed, match="No space left on device, on the disk of this machine"):
        download(bucket.channel("data"), EVERYTHING, tmp_path / "train", 1000)


def test_a_channel_of_a_bucket_that_is_read_through_has_what_real_s3_has(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("data/train/here.csv", "here", bucket="public")
    there = Bucket(tmp_path / "there")
    there.put("data/train/here.csv", "there", bucket="public")
    there.put("data/train/there.csv", "there", bucket="public")
    there.put("list", '[{"prefix": "s3://public/data/train/"}, "there.csv"]', bucket="public")
    real = StoreAsRealS3(open_store(tmp_path / "there", "us-east-1"))
    read_through = ReadThrough(tmp_path, "us-east-1", ["public"], real)

    def downloaded(key: str, data_type: Any) -> Path:
        data = LocalS3(tmp_path / "public", S3Url("public", key), read_through)
        assert has_objects(data)
        download(Channel("train", data, data_type, {}), EVERYTHING, tmp_path / data_type, 1000)
        return tmp_path / data_type

    try:
        assert files_of(downloaded("list", "ManifestFile")) == ["there.csv"]
        train = downloaded("data/train/", "S3Prefix")
        assert files_of(train) == ["here.csv", "there.csv"]
        assert (train / "here.csv").read_text() == "here"
    finally:
        read_through.close()
