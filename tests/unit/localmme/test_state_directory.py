"""Whose a state directory is, when several want it."""

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

from localmme import state_directory
from localmme.state_directory import LOCK, RECORD, Record, living, wait_for_leftovers


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[int]:
    """The descriptor of the lock that an emulator holds; to be closed when it goes."""
    descriptor = os.open(tmp_path / LOCK, os.O_CREAT | os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield descriptor
    with contextlib.suppress(OSError):  # it has gone
        os.close(descriptor)


def of_master(directory: Path, pid: int) -> None:
    record = Record("name", "http://127.0.0.1:1", pid, "2030-01-01T00:00:00+00:00", "us-east-1", 1.0, str(directory))
    directory.joinpath(RECORD).write_text(json.dumps(asdict(record)))


def killed() -> subprocess.Popen[bytes]:
    """A process that was killed, and that nobody has waited for yet."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    return process


def test_what_is_left_of_a_killed_emulator_is_waited_for_and_that_is_said(
    tmp_path: Path, locked: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with killed() as master:
        of_master(tmp_path, master.pid)
        assert living(tmp_path) is None
        leaving = threading.Timer(2 * state_directory.PATIENCE_SECONDS, os.close, [locked])
        leaving.start()
        wait_for_leftovers(tmp_path)
        assert not state_directory.is_held(tmp_path / LOCK)
        leaving.join()
    told = capsys.readouterr().err
    assert told == f"Waiting for what is left of a killed emulator to leave {tmp_path} ...\n"


def test_an_emulator_that_lives_is_not_waited_for(
    tmp_path: Path, locked: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_sleep(_: float) -> None:
        raise AssertionError("waits")

    monkeypatch.setattr(time, "sleep", no_sleep)
    of_master(tmp_path, os.getpid())
    wait_for_leftovers(tmp_path)
    assert capsys.readouterr().err == ""


def test_what_does_not_leave_is_not_waited_for_for_ever(
    tmp_path: Path, locked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_directory, "LEFTOVERS_SECONDS", 0.05)
    wait_for_leftovers(tmp_path)
    assert state_directory.is_held(tmp_path / LOCK)
