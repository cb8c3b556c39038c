"""What the emulator takes of this machine before it serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.errors import SetupError
from emulator.observers.recording import RecordingSettings
from localmme import server_setup
from localmme.options import RECORD_SIZE


def test_the_directory_of_s3_is_made_where_it_is_the_usual_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("./s3", "s3", str(tmp_path / "s3")):
        assert server_setup._s3_directory(name) == tmp_path / "s3"
        (tmp_path / "s3").rmdir()
    with pytest.raises(SetupError, match="There is no directory ./s4"):
        server_setup._s3_directory("./s4")


@pytest.mark.parametrize("bucket", ["sagemaker-sample-files", "jumpstart-*", "*", "private-[ab]"])
def test_buckets_that_are_read_through_are_names_or_patterns(bucket: str, tmp_path: Path) -> None:
    server_setup._check_read_through([bucket], tmp_path)
    with pytest.raises(SetupError, match="needs a directory in which objects are kept: name one with --s3"):
        server_setup._check_read_through([bucket], None)


@pytest.mark.parametrize("bucket", ["s3://sagemaker-sample-files", "a/b", "", ".."])
def test_what_is_no_name_of_a_bucket_is_not_read_through(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="is not the name of a bucket"):
        server_setup._check_read_through([bucket], tmp_path)


def test_a_recording_has_a_file_with_a_reasonable_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert server_setup._recording(None, False, RECORD_SIZE) is None
    settings = server_setup._recording("r.gz", True, "2MiB")
    assert settings == RecordingSettings(tmp_path / "r.gz", 2 * 1024 * 1024, bodies=True)


@pytest.mark.parametrize(
    "file, bodies, size, words",
    [
        (None, True, RECORD_SIZE, "name its file with --record"),
        (None, False, "2MiB", "name its file with --record"),
        ("r.gz", False, "much", "--record-size: 'much' is not a size"),
        ("r.gz", False, "1KiB", "--record-size must be at least 1 MiB, not 1KiB"),
    ],
)
def test_options_of_a_recording_are_checked(file: str | None, bodies: bool, size: str, words: str) -> None:
    with pytest.raises(SetupError, match=words):
        server_setup._recording(file, bodies, size)
