"""State directories that are known by name: a failed start leaves none, and old ones are tidied up."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from emulator.errors import SetupError
from emulator.services.sagemaker.records import ModelRecord
from emulator.services.sagemaker.registry import Registry
from localmme import serve_options, state_directory
from localmme.state_directory import CONTAINERS_MARK, KEPT_RUNS, LOCK, LOG, RECORD, REGISTRY, lived_in, tidy


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return state_directory.base()


def begin_and_end(directory: Path, error: BaseException | None) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    with lived_in(directory, "http://127.0.0.1:1", "us-east-1", 1.0):
        Registry.open(directory / REGISTRY).close()
        if error is not None:
            raise error


@pytest.mark.parametrize("name", ["8080", "mine"])
@pytest.mark.parametrize("error", [SystemExit(3), SetupError("no")], ids=repr)
def test_a_start_that_fails_leaves_no_directory(base: Path, name: str, error: BaseException) -> None:
    with pytest.raises(type(error)):
        begin_and_end(base / name, error)
    assert list(base.iterdir()) == []


def test_one_that_served_leaves_its_logs(base: Path) -> None:
    with pytest.raises(SystemExit):
        begin_and_end(base / "8080", SystemExit(0))
    assert (base / "8080" / RECORD).exists()


def test_a_start_that_fails_leaves_what_was_there_before(base: Path, tmp_path: Path) -> None:
    begin_and_end(base / "8080", None)
    (base / "new").mkdir()
    (base / "new" / LOG).touch()  # it was detached: what started it looks for the reason there
    with pytest.raises(SystemExit):
        begin_and_end(base / "8080", SystemExit(3))
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(SystemExit):
        begin_and_end(tmp_path / "elsewhere", SystemExit(3))
    assert (base / "8080").exists() and (base / "new").exists() and (tmp_path / "elsewhere").exists()


def ran(directory: Path, when: int) -> Path:
    """What an emulator of then has left."""
    (directory / "logs").mkdir(parents=True)
    (directory / LOCK).touch()
    (directory / RECORD).touch()
    os.utime(directory / RECORD, (when, when))
    return directory


def test_old_ones_without_a_name_are_removed_unless_something_is_kept_there(base: Path) -> None:
    old = [ran(base / str(40000 + number), number) for number in range(8)]
    late = [ran(base / str(50000 + number), 100 + number) for number in range(KEPT_RUNS)]
    named = ran(base / "mine", 0)
    registry = Registry.open(old[0] / REGISTRY)
    registry.put(ModelRecord("m", {}))
    registry.close()
    Registry.open(old[1] / REGISTRY).close()  # nothing was created
    (old[2] / CONTAINERS_MARK).touch()
    (old[3] / REGISTRY).write_text("no database")
    (old[4] / LOCK).unlink()  # nobody can be kept from using it
    with (old[5] / LOCK).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        tidy(base / "mine")
        tidy(base.parent / "40000")
        assert all(directory.exists() for directory in old)
        tidy(ran(base / "60000", 1000))
    left = {directory.name for directory in base.iterdir()}
    assert left == {"60000", named.name, *(each.name for each in (*late, old[0], old[2], old[3], old[4], old[5]))}


def test_a_directory_that_is_tidied_up_at_this_moment_is_made_anew(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flock, removed = fcntl.flock, []

    def late(descriptor: int, how: int) -> None:
        if not removed:
            removed.append(True)
            state_directory.shutil.rmtree(base / "40000")
        flock(descriptor, how)

    monkeypatch.setattr(serve_options.fcntl, "flock", late)
    serve_options._lock(base / "40000")
    assert state_directory.is_held(base / "40000" / LOCK)


def test_the_directory_of_s3_is_made_where_it_is_the_usual_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("./s3", "s3", str(tmp_path / "s3")):
        assert serve_options._s3_directory(name) == tmp_path / "s3"
        (tmp_path / "s3").rmdir()
    with pytest.raises(SetupError, match="There is no directory ./s4"):
        serve_options._s3_directory("./s4")
