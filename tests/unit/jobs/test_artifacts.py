"""What training containers have written becomes objects in S3, whatever it is."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.archives.model_data_url import S3Url
from emulator.containers.output_files import OutputFile
from emulator.jobs.artifacts import FAILURE_CHARACTERS, Artifacts, split_output
from emulator.jobs.errors import JobFailed
from emulator.storage.object_store import ObjectStore, open_store
from tests.support.role_access import EVERYTHING

MODEL = S3Url("b", "job/output/model.tar.gz")


def file(name: str, content: bytes = b"x", size: int | None = None) -> OutputFile:
    return OutputFile(name, "file", 0o644, 1.5, len(content) if size is None else size, content=io.BytesIO(content))


def link(name: str, target: str) -> OutputFile:
    return OutputFile(name, "link", 0o777, 0.0, link=target)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    (tmp_path / "b").mkdir()
    store = open_store(tmp_path, "us-east-1")
    yield store
    store.close()


def archived(store: ObjectStore, files: list[OutputFile]) -> tuple[dict[str, str], list[str]]:
    """The members of the archive that is made, links with their targets; and the warnings."""
    warnings: list[str] = []
    assert Artifacts(store, EVERYTHING, 1000, warnings.append).store_archive(files, MODEL)
    opened, entry = store.open(MODEL.bucket, MODEL.key)
    with opened, tarfile.open(fileobj=opened) as archive:
        members = {each.name: each.linkname for each in archive}
    opened, _ = store.open(MODEL.bucket, MODEL.key)
    with opened:
        assert entry.attributes.etag == hashlib.md5(opened.read()).hexdigest()
    return members, warnings


@pytest.mark.parametrize("target", ["b", "../c", "d/../../c", "d/.."])
def test_links_within_the_archive_are_stored(store: ObjectStore, target: str) -> None:
    assert archived(store, [link("d/a", target)]) == ({"d/a": target}, [])


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "..//../x", "../..", "b/../../../x"])
def test_links_out_of_the_archive_are_left_out(store: ObjectStore, target: str) -> None:
    members, (warning,) = archived(store, [link("d/a", target), file("z")])
    assert members == {"z": ""}
    assert warning == "d/a is a symbolic link that leads out of its directory, and not stored"


def test_a_directory_without_anything_is_no_object(store: ObjectStore) -> None:
    assert not Artifacts(store, EVERYTHING, 1000, print).store_archive([], MODEL)
    assert store.entry_if_any(MODEL.bucket, MODEL.key) is None


def test_more_than_the_storage_volume_holds_is_not_stored(store: ObjectStore) -> None:
    artifacts = Artifacts(store, EVERYTHING, 1000, print)
    with pytest.raises(JobFailed, match="^ClientError: Artifact upload failed:Insufficient disk space"):
        artifacts.store_archive([file("a", b"x" * 600), file("b", b"x" * 600)], MODEL)
    assert store.entry_if_any(MODEL.bucket, MODEL.key) is None
    with pytest.raises(JobFailed, match="Insufficient disk space"):
        artifacts.store_each([file("sparse", size=1 << 50)], S3Url("b", "model/"))


@pytest.mark.parametrize("store_it", [Artifacts.store_archive, Artifacts.store_each])
def test_a_file_that_becomes_shorter_is_not_stored(store: ObjectStore, store_it: object) -> None:
    with pytest.raises(JobFailed, match="became shorter while it was read"):
        store_it(Artifacts(store, EVERYTHING, 1000, print), [file("a", b"x", size=5)], MODEL)  # type: ignore[operator]
    assert not store.listing("b").objects


def test_each_file_is_an_object_and_links_are_none(store: ObjectStore) -> None:
    warnings: list[str] = []
    files = [OutputFile("d", "directory", 0o755, 0.0), file("d/a", b"text"), link("l", "d/a")]
    Artifacts(store, EVERYTHING, 1000, warnings.append).store_each(files, S3Url("b", "model/"))
    assert [each.key for each in store.listing("b").objects] == ["model/d/a"]
    assert warnings == ["l is a symbolic link, and not stored"]


@pytest.mark.parametrize("name", ["../a", "a/../../b", ".localmme/s3.sqlite3"])
def test_no_name_leads_out_of_the_bucket(store: ObjectStore, name: str) -> None:
    with pytest.raises(JobFailed, match="cannot be stored"):
        Artifacts(store, EVERYTHING, 1000, print).store_each([file(name)], S3Url("b", ""))


def test_the_beginning_of_what_the_algorithm_says_of_its_failure_is_read() -> None:
    failure: list[str] = []
    files = [
        OutputFile("data", "directory", 0o755, 0.0),
        file("data/a"),
        file("failure", "é".encode() * 10**6),
        file("x"),
    ]
    assert [each.name for each in split_output(files, failure)] == ["a"]
    assert failure == ["é" * FAILURE_CHARACTERS]


def test_files_that_cannot_be_read_are_a_failure_of_the_job(store: ObjectStore) -> None:
    def files() -> Iterator[OutputFile]:
        yield file("a")
        raise PermissionError(13, "Permission denied")

    with pytest.raises(JobFailed, match="Artifact upload failed:its files cannot be read: Permission denied"):
        Artifacts(store, EVERYTHING, 1000, pytest.fail).store_each(files(), MODEL)
