"""State directories that are known by name: a failed start leaves none, and old ones are tidied up."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from emulator.errors import SetupError
from emulator.services.sagemaker.records import ModelRecord
from emulator.services.sagemaker.registry import Registry
from emulator.state_directory import StateDirectory
from localmme import state_directories
from localmme.state_directories import KEPT_RUNS, is_known_by_name, tidy


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return state_directories.base()


def begin_and_end(path: Path, error: BaseException | None) -> None:
    directory = StateDirectory(path)
    path.mkdir(parents=True, exist_ok=True)
    with directory.occupied("http://127.0.0.1:1", "us-east-1", 1.0, discard_failed=is_known_by_name(directory)):
        Registry.open(directory.registry).close()
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
    assert StateDirectory(base / "8080").record_file.exists()


def test_a_start_that_fails_leaves_what_was_there_before(base: Path, tmp_path: Path) -> None:
    begin_and_end(base / "8080", None)
    (base / "new").mkdir()
    StateDirectory(base / "new").serve_log.touch()  # it was detached: what started it looks for the reason there
    with pytest.raises(SystemExit):
        begin_and_end(base / "8080", SystemExit(3))
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(SystemExit):
        begin_and_end(tmp_path / "elsewhere", SystemExit(3))
    assert (base / "8080").exists() and (base / "new").exists() and (tmp_path / "elsewhere").exists()


def ran(path: Path, when: int) -> StateDirectory:
    """What an emulator of then has left."""
    directory = StateDirectory(path)
    directory.container_logs.mkdir(parents=True)
    directory.lock.touch()
    directory.record_file.touch()
    os.utime(directory.record_file, (when, when))
    return directory


def test_old_ones_without_a_name_are_removed_unless_something_is_kept_there(base: Path) -> None:
    old = [ran(base / str(40000 + number), number) for number in range(8)]
    late = [ran(base / str(50000 + number), 100 + number) for number in range(KEPT_RUNS)]
    named = ran(base / "mine", 0)
    registry = Registry.open(old[0].registry)
    registry.put(ModelRecord("m", {}))
    registry.close()
    Registry.open(old[1].registry).close()  # nothing was created
    old[2].engine_mark.touch()
    old[3].registry.write_text("no database")
    old[4].lock.unlink()  # nobody can be kept from using it
    with old[5].lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        tidy(named)
        tidy(StateDirectory(base.parent / "40000"))
        assert all(directory.path.exists() for directory in old)
        tidy(ran(base / "60000", 1000))
    left = {directory.name for directory in base.iterdir()}
    kept = (named, *late, old[0], old[2], old[3], old[4], old[5])
    assert left == {"60000", *(each.path.name for each in kept)}
