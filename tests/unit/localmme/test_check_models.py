"""The models that ``localmme check`` loads: copies of the archives under names and target models of their own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emulator.errors import SetupError
from localmme.check.models import Models, new_name
from localmme.pack.mlflow_model import EXAMPLE
from tests.support.files import archive, files_below


@pytest.fixture
def models(tmp_path: Path) -> Models:
    """Of two archives."""
    one = archive(tmp_path / "one.tar.gz", {"weights": "1", "code/inference.py": "22"})
    two = archive(tmp_path / "two.tar", {"other": "333"})
    made = Models([one, two], tmp_path / "volume", tmp_path / "originals")
    made.extract()
    return made


def content(directory: Path) -> dict[str, str]:
    return {str(path.relative_to(directory)): path.read_text() for path in files_below(directory)}


ONE, TWO = {"weights": "1", "code/inference.py": "22"}, {"other": "333"}


def test_copies_are_of_the_archives_in_turn_and_have_names_of_their_own(models: Models, tmp_path: Path) -> None:
    made = [models.copy() for _ in range(4)]
    assert [content(model.directory) for model in made] == [TWO, ONE, TWO, ONE]
    assert [model.target_model for model in made] == ["two-1.tar.gz", "one-2.tar.gz", "two-3.tar.gz", "one-4.tar.gz"]
    assert len({model.name for model in made}) == 4
    assert all(model.directory == tmp_path / "volume" / model.name / "model" for model in made)


def test_a_copy_may_be_of_one_archive_and_under_one_name(models: Models) -> None:
    made = [models.copy(0), models.copy(1), models.copy(0, "named")]
    assert [content(model.directory) for model in made] == [ONE, TWO, ONE]
    assert made[2].name == "named"


def test_copies_take_no_room_of_their_own(models: Models) -> None:
    one, other = models.copy(0), models.copy(0)
    assert (one.directory / "weights").samefile(other.directory / "weights")


def test_a_broken_one_has_empty_files_and_harms_no_other(models: Models) -> None:
    whole = models.copy(0)
    broken = models.broken()
    assert broken is not None
    assert content(broken.directory) == dict.fromkeys(ONE, "")
    assert content(whole.directory) == ONE


@pytest.mark.parametrize("others, example", [([], b"[1]"), (["[1]"], b"[1]"), (["[2]"], None), ([""], None)])
def test_the_input_example_of_all_models_is_a_request(tmp_path: Path, others: list[str], example: bytes | None) -> None:
    archives = []
    for number, text in enumerate(["[1]", *others]):
        files = {"weights": "1", **({EXAMPLE: text} if text else {})}
        archives.append(archive(tmp_path / f"{number}.tar.gz", files))
    models = Models(archives, tmp_path / "volume", tmp_path / "originals")
    models.extract()
    assert models.example() == example


def test_archives_that_list_requirements_are_known(tmp_path: Path) -> None:
    listing = archive(tmp_path / "listing.tar.gz", {"weights": "1", "code/requirements.txt": "numpy"})
    models = Models([archive(tmp_path / "a.tar.gz", {"weights": "1"}), listing], tmp_path / "volume", tmp_path / "all")
    models.extract()
    assert models.with_requirements() == ["listing.tar.gz"]


def test_of_a_model_that_is_empty_there_is_no_broken_one(tmp_path: Path) -> None:
    models = Models([archive(tmp_path / "a.tar.gz", {"empty": ""})], tmp_path / "volume", tmp_path / "originals")
    models.extract()
    assert models.broken() is None


def test_one_that_is_removed_leaves_the_volume(models: Models, tmp_path: Path) -> None:
    kept, gone = models.copy(), models.copy()
    models.remove(gone)
    models.remove(gone)
    assert [path.name for path in (tmp_path / "volume").iterdir()] == [kept.name]


@pytest.mark.parametrize("make", ["missing", "no archive", "a directory"])
def test_an_archive_that_cannot_be_extracted_is_named(tmp_path: Path, make: str) -> None:
    path = tmp_path / "a.tar.gz"
    if make == "no archive":
        path.write_bytes(b"text")
    elif make == "a directory":
        path.mkdir()
    with pytest.raises(SetupError, match=f"The model {path} cannot be extracted: "):
        Models([path], tmp_path / "volume", tmp_path / "originals").extract()


def test_a_name_is_like_the_platform_s() -> None:
    assert re.fullmatch("[0-9a-f]{32}", new_name())
    assert new_name() != new_name()
