"""Objects as they are, copied into a container's model directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.archives.directory_source import DirectorySource
from emulator.archives.errors import ArchiveNotFound
from emulator.archives.model_data_url import LocalS3, S3Url
from emulator.archives.source_selection import is_prefix, source_of_many, source_of_one
from emulator.archives.uncompressed_model_data import copy_objects
from emulator.errors import ArchiveError

LIMITS = {"max_bytes": 100, "max_files": 3}


@pytest.fixture
def bucket(tmp_path: Path) -> DirectorySource:
    (tmp_path / "bucket" / "deep").mkdir(parents=True)
    (tmp_path / "bucket" / "weights").write_bytes(b"w" * 60)
    (tmp_path / "bucket" / "deep" / "vocabulary").write_bytes(b"v" * 40)
    return DirectorySource(tmp_path / "bucket", S3Url("bucket"))


def test_objects_are_where_their_names_say(bucket: DirectorySource, tmp_path: Path) -> None:
    names = [(name, name) for name in bucket.objects()]
    assert copy_objects(bucket, names, tmp_path / "model", **LIMITS) == 100
    assert (tmp_path / "model" / "weights").read_bytes() == b"w" * 60
    assert (tmp_path / "model" / "deep" / "vocabulary").read_bytes() == b"v" * 40


@pytest.mark.parametrize("path", ["..", "../outside", "a/../../outside", "/outside", "a//b", "a/", "", "a\0", "a/."])
def test_a_name_that_leads_elsewhere_is_refused_before_anything_is_written(
    bucket: DirectorySource, tmp_path: Path, path: str
) -> None:
    with pytest.raises(ArchiveError, match="cannot be a file"):
        copy_objects(bucket, [("weights", path)], tmp_path / "model", **LIMITS)
    assert list((tmp_path / "model").iterdir()) == [] and not (tmp_path / "outside").exists()


@pytest.mark.parametrize(
    "paths, words",
    [
        (["a", "a/b"], "is a file and a directory at once"),
        (["a/b", "a"], "is a file and a directory at once"),
        (["a", "a"], "is a file and a directory at once"),
        (["a", "b"], "it takes more than the storage volume has"),
    ],
)
def test_what_does_not_fit_is_refused(bucket: DirectorySource, tmp_path: Path, paths: list[str], words: str) -> None:
    with pytest.raises(ArchiveError, match=words):
        copy_objects(bucket, [("weights", path) for path in paths], tmp_path / "model", **LIMITS)


def test_too_many_are_refused(bucket: DirectorySource, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="more than 3 objects"):
        copy_objects(
            bucket, [("deep/vocabulary", str(n)) for n in range(4)], tmp_path / "model", max_bytes=1000, max_files=3
        )


def test_an_object_that_is_not_there_is_the_sources_to_refuse(bucket: DirectorySource, tmp_path: Path) -> None:
    with pytest.raises(ArchiveNotFound, match="key: nothing"):
        copy_objects(bucket, [("nothing", "a")], tmp_path / "model", **LIMITS)


def test_the_archives_of_many_models_and_of_one_come_from_where_the_model_data_is(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.tar.gz").write_bytes(b"archive")
    for model_data in (tmp_path / "models", LocalS3(tmp_path, S3Url("bucket", "models/"))):
        assert list(source_of_many(model_data).archives()) == [("a.tar.gz", 7)]
    for model_data in (tmp_path / "models" / "a.tar.gz", LocalS3(tmp_path, S3Url("bucket", "models/a.tar.gz"))):
        source, name = source_of_one(model_data)
        with source.open(name) as (archive, _):
            assert archive.read() == b"archive"
    assert source_of_many(S3Url("bucket", "models/")).is_remote
    assert source_of_one(S3Url("bucket", "models/a.tar.gz"))[1] == "models/a.tar.gz"


@pytest.mark.parametrize("key, folder", [("", True), ("models/", True), ("models", False), ("a.tar.gz", False)])
def test_a_prefix_ends_with_a_slash(tmp_path: Path, key: str, folder: bool) -> None:
    url = S3Url("bucket", key)
    assert is_prefix(url) == is_prefix(LocalS3(tmp_path, url)) == folder
    assert not is_prefix(tmp_path)
