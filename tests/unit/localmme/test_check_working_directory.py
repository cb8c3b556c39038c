"""The directory of a run of the checks: gone with it, or with the next run if it was killed."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from emulator.errors import SetupError
from emulator.state_directory import StateDirectory
from localmme import state_directories
from localmme.check.working_directory import working_directory


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the directories of the checks are."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return state_directories.base() / ".checks"


def directories(base: Path) -> list[Path]:
    return list(base.glob("check-*"))


def test_it_is_there_as_long_as_the_run_and_others_may_look_into_it(base: Path) -> None:
    with working_directory() as made:
        assert directories(base) == [made.path]
        assert StateDirectory(made.path).is_in_use()
        assert made.path.stat().st_mode & 0o777 == 0o755  # an image's user may be any
        assert base.stat().st_mode & 0o777 == 0o700
        assert not made.left_containers
        (made.path / "file").touch()
    assert directories(base) == []


def test_it_goes_when_the_run_fails(base: Path) -> None:
    with pytest.raises(ValueError), working_directory():
        raise ValueError
    assert directories(base) == []


def test_two_runs_at_once_leave_each_other_alone(base: Path) -> None:
    with working_directory() as one:
        with working_directory() as other:
            assert {*directories(base)} == {one.path, other.path}
        assert directories(base) == [one.path]


@pytest.mark.parametrize("left_containers", [False, True])
def test_what_a_killed_run_left_goes_with_the_next(base: Path, left_containers: bool) -> None:
    left = StateDirectory(base / "check-killed")
    left.path.mkdir(parents=True)
    left.lock.touch()
    if left_containers:
        left.engine_mark.touch()
    with working_directory() as made:
        assert directories(base) == [made.path]
        assert made.left_containers is left_containers


def test_what_a_living_run_has_stays(base: Path) -> None:
    living = StateDirectory(base / "check-living")
    living.path.mkdir(parents=True)
    lock = os.open(living.lock, os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with working_directory():
        assert living.path.exists()
    os.close(lock)


def test_a_place_that_cannot_be_written_to_is_named(base: Path) -> None:
    base.parent.mkdir(parents=True)
    base.touch()
    words = rf"{base} cannot be written to: .* Name another by XDG_STATE_HOME."
    with pytest.raises(SetupError, match=words), working_directory():
        pass
