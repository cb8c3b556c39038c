"""What is said of a directory of models at the start: files that are no archives."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.archives.directory_source import DirectorySource
from emulator.archives.directory_warnings import bare_models
from emulator.archives.errors import ArchiveNotFound
from emulator.archives.s3_source import S3Source
from tests.support.files import archive


def filled(directory: Path, *names: str) -> DirectorySource:
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(b"weights")
    return DirectorySource(directory)


@pytest.mark.parametrize(
    "names, words",
    [
        (["m0.pkl"], "is one file that is no model archive: m0.pkl."),
        (["m0.pkl", "m1.PKL"], "are 2 files that are no model archive: m0.pkl, m1.PKL."),
        (["a.tar.gz", "team/m0.joblib"], "is one file that is no model archive: team/m0.joblib."),
        (
            ["m0.pt", "m1.pt", "m2.pt", "m3.pt"],
            "are 4 files that are no model archive: m0.pt, m1.pt, m2.pt, ...",
        ),
        (["weights.npz", "readme.md"], "are 2 files that are no model archive: readme.md, weights.npz."),
    ],
)
def test_files_that_are_no_archives_are_told_with_what_makes_them(tmp_path: Path, names: list[str], words: str) -> None:
    told = bare_models(filled(tmp_path, *names))
    assert words in told and "localmme pack DIR -o NAME.tar.gz" in told


@pytest.mark.parametrize("names", [[], ["a.tar.gz"], ["a.tgz", "readme.md", "data/train.csv"], [".hidden.pkl"]])
def test_archives_and_what_may_lie_beside_them_are_passed_over(tmp_path: Path, names: list[str]) -> None:
    assert bare_models(filled(tmp_path, *names)) == ""


def test_an_archive_of_another_name_is_one(tmp_path: Path) -> None:
    archive(tmp_path / "model.bin", {"weights": "1"})
    archive(tmp_path / "lisbon", {"weights": "1"})
    assert bare_models(DirectorySource(tmp_path)) == ""


def test_real_s3_is_not_asked() -> None:
    assert bare_models(S3Source("models")) == ""


def test_an_archive_that_is_not_there_brings_one_of_nearly_that_name_to_mind(tmp_path: Path) -> None:
    bucket = filled(tmp_path, "europe/lisbon.tar.gz", "asia/osaka.tar.gz")
    with pytest.raises(ArchiveNotFound, match="^Failed to download model data") as refused:
        bucket.version("europe/lisbno.tar.gz")
    assert str(refused.value.__cause__).endswith("europe/lisbno.tar.gz: did you mean europe/lisbon.tar.gz?")


def test_a_models_name_without_its_ending_brings_the_archive_to_mind(tmp_path: Path) -> None:
    bucket = filled(tmp_path, "a.tar.gz", "osaka.tar.gz")
    with pytest.raises(ArchiveNotFound) as refused:
        bucket.version("a")
    assert str(refused.value.__cause__).endswith("a: did you mean a.tar.gz?")
    with pytest.raises(ArchiveNotFound) as refused:
        bucket.version("nothing-like-it")
    assert refused.value.__cause__ is None
