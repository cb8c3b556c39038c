"""Which checkpoints are stored again: those that have changed, as far as the times of files can show it."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.archives.model_data_url import S3Url
from emulator.containers.output_files import OutputFile
from emulator.jobs.artifacts import Artifacts
from emulator.jobs.checkpoints import Checkpoints
from emulator.storage.object_store import ObjectStore, open_store
from tests.support.role_access import EVERYTHING

LONG_AGO = 1000.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    (tmp_path / "s3" / "b").mkdir(parents=True)
    store = open_store(tmp_path / "s3", "us-east-1")
    yield store
    store.close()


@pytest.fixture
def checkpoints(store: ObjectStore) -> Checkpoints:
    return Checkpoints(store, EVERYTHING, Artifacts(store, EVERYTHING, 1000, pytest.fail), S3Url("b", "ck"))


def file(content: str, modified: float) -> OutputFile:
    return OutputFile("0", "file", 0o644, modified, len(content), content=io.BytesIO(content.encode()))


def stored(store: ObjectStore) -> str:
    opened, _ = store.open("b", "ck/0")
    with opened:
        return opened.read().decode()


def test_a_file_of_the_same_time_and_size_is_not_stored_again(checkpoints: Checkpoints, store: ObjectStore) -> None:
    checkpoints.store([file("old", LONG_AGO)])
    checkpoints.store([file("new", LONG_AGO)])
    assert stored(store) == "old"
    checkpoints.store([file("new", LONG_AGO + 1)])
    assert stored(store) == "new"


def test_a_file_that_changes_within_a_second_is_stored(checkpoints: Checkpoints, store: ObjectStore) -> None:
    just_now = float(int(time.time()) + 60)  # however long this test takes
    checkpoints.store([file("old", just_now)])
    checkpoints.store([file("new", just_now)])
    assert stored(store) == "new"


@pytest.mark.parametrize("changed", [True, False])
def test_a_restored_file_is_stored_if_it_changes(
    checkpoints: Checkpoints, store: ObjectStore, tmp_path: Path, changed: bool
) -> None:
    store.put("b", "ck/0", [b"old"])
    checkpoints.restore(tmp_path)
    path = tmp_path / "0"
    assert path.read_text() == "old"
    if changed:
        path.write_text("new")
    checkpoints.store([file("new", float(int(path.stat().st_mtime)))])  # as an engine says it
    assert stored(store) == ("new" if changed else "old")
