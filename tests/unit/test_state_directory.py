"""Whose a state directory is, when several want it, and what is left of it when nobody lives there any more."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from emulator import state_directory
from emulator.errors import SetupError
from emulator.state_directory import EmulatorRecord, StateDirectory, is_locked


@pytest.fixture
def directory(tmp_path: Path) -> StateDirectory:
    return StateDirectory(tmp_path / "state")


@pytest.fixture
def locked(directory: StateDirectory) -> Iterator[int]:
    """The descriptor of the lock that an emulator holds; to be closed when it goes."""
    directory.path.mkdir()
    descriptor = os.open(directory.lock, os.O_CREAT | os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield descriptor
    with contextlib.suppress(OSError):  # it has gone
        os.close(descriptor)


def of_master(directory: StateDirectory, pid: int) -> None:
    since = "2030-01-01T00:00:00+00:00"
    record = EmulatorRecord("state", "http://127.0.0.1:1", pid, since, "us-east-1", 1.0, str(directory.path))
    directory.record_file.write_text(json.dumps(asdict(record)))


def killed() -> subprocess.Popen[bytes]:
    """A process that was killed, and that nobody has waited for yet."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    return process


def forbid_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_sleep(_: float) -> None:
        raise AssertionError("waits")

    monkeypatch.setattr(time, "sleep", no_sleep)


def test_what_is_left_of_a_killed_emulator_is_waited_for_and_that_is_said(
    directory: StateDirectory, locked: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(state_directory, "PATIENCE_SECONDS", 0.05)
    with killed() as master:
        of_master(directory, master.pid)
        assert directory.living_emulator() is None
        leaving = threading.Timer(0.2, os.close, [locked])
        leaving.start()
        directory.wait_for_leftovers()
        assert not directory.is_in_use()
        leaving.join()
    reported = capsys.readouterr().err
    assert reported == f"Waiting for what is left of a killed emulator to leave {directory.path} ...\n"


def test_an_emulator_that_lives_is_not_waited_for(
    directory: StateDirectory, locked: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forbid_waiting(monkeypatch)
    of_master(directory, os.getpid())
    directory.wait_for_leftovers()
    assert capsys.readouterr().err == ""


def test_what_does_not_leave_is_not_waited_for_for_ever(
    directory: StateDirectory, locked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_directory, "LEFTOVERS_SECONDS", 0.05)
    directory.wait_for_leftovers()
    assert directory.is_in_use()


def test_where_nobody_lives_nothing_is_waited_for(directory: StateDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_waiting(monkeypatch)
    directory.wait_for_leftovers()
    directory.path.mkdir()
    of_master(directory, os.getpid())  # one that has ended, whose number another process has now
    directory.wait_for_leftovers()


def test_one_that_another_emulator_uses_is_not_taken(
    directory: StateDirectory, locked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_directory, "LOCK_SECONDS", 0.01)
    with pytest.raises(SetupError, match=f"^Another emulator uses the state directory {directory.path}. Stop it, or"):
        directory.take()


def test_one_that_cannot_be_made_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="file/state cannot be used: Not a directory"):
        StateDirectory(tmp_path / "file" / "state").take()


def test_one_that_is_tidied_up_at_this_moment_is_made_anew(
    directory: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, removed = fcntl.flock, []

    def late(descriptor: int, how: int) -> None:
        if not removed:
            removed.append(True)
            directory.remove()
        flock(descriptor, how)

    monkeypatch.setattr(state_directory.fcntl, "flock", late)
    directory.take()
    assert directory.is_in_use()


def test_the_record_says_who_lives_there(directory: StateDirectory) -> None:
    directory.take()
    with directory.occupied("http://127.0.0.1:1", "eu-west-1", 7.0, discard_failed=False):
        record = directory.living_emulator()
        assert record is not None and (record.url, record.region, record.pid) == (
            "http://127.0.0.1:1",
            "eu-west-1",
            os.getpid(),
        )
        assert record.directory.path == directory.path
    assert directory.record() == record  # its clients find its port again


@pytest.mark.parametrize("owner_lives", [True, False])
def test_one_whose_owner_has_gone_goes_with_the_emulator(directory: StateDirectory, owner_lives: bool) -> None:
    directory.take()
    with open(directory.owner_lock, "w") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        assert is_locked(directory.owner_lock)
        with directory.occupied("http://127.0.0.1:1", "us-east-1", 1.0, discard_failed=False):
            if not owner_lives:
                owner.close()
    assert directory.path.exists() is owner_lives


def test_the_lock_of_an_owner_that_is_dying_is_waited_for(
    directory: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_directory, "OWNER_SECONDS", 60.0)
    directory.take()
    with open(directory.owner_lock, "w") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        monkeypatch.setattr(state_directory.time, "sleep", lambda _: owner.close())
        with directory.occupied("http://127.0.0.1:1", "us-east-1", 1.0, discard_failed=False):
            pass
    assert not directory.path.exists()


def test_an_owner_that_stops_its_emulator_is_not_waited_for(
    directory: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep(_: float) -> None:
        pytest.fail("it was waited for")

    monkeypatch.setattr(state_directory.time, "sleep", sleep)
    directory.take()
    with open(directory.owner_lock, "w") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        directory.owner_stops.touch()
        with directory.occupied("http://127.0.0.1:1", "us-east-1", 1.0, discard_failed=False):
            pass
        assert directory.path.exists()


def test_an_old_log_goes_unless_it_is_this_emulators_own(
    directory: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.take()
    directory.serve_log.write_text("of one that was detached, earlier")
    with directory.occupied("http://127.0.0.1:1", "us-east-1", 1.0, discard_failed=False):
        assert not directory.serve_log.exists()
    with open(directory.serve_log, "w") as log:
        fstat = os.fstat
        monkeypatch.setattr(os, "fstat", lambda descriptor: fstat(log.fileno() if descriptor == 2 else descriptor))
        with directory.occupied("http://127.0.0.1:1", "us-east-1", 1.0, discard_failed=False):
            assert directory.serve_log.exists()
