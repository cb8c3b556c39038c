"""What a test has started, found by its environment, however it came to be: processes, and temporary directories."""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from emulator.state_directory import StateDirectory
from tests.support.processes import wait_until_ended
from tests.support.waiting import eventually

MARK = "LOCALMME_TEST_LEFTOVERS"


class Leftovers:
    """All processes with this test's mark, and what is in its directory of temporary files."""

    def __init__(self, temporary: Path) -> None:
        self.mark = uuid.uuid4().hex
        self.temporary = temporary

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid != os.getpid() and process.environ().get(MARK) == self.mark:
                    found.append(process)
        return found

    def directories(self) -> list[Path]:
        """The state directories of emulators that have none of their own."""
        return list(self.temporary.glob("localmme-*/*"))

    def are_gone(self) -> None:
        while found := self.processes():  # once, and not at each look: this reads the environment of every process
            wait_until_ended(found)
        # One that is ending has no environment any more, but may still hold its locks.
        eventually(lambda: not any(StateDirectory(each).is_in_use() for each in self.directories()))


@pytest.fixture
def leftovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Leftovers]:
    """Temporary files and the states of named emulators go below the test's directory. After it, no process is left."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    leftovers = Leftovers(temporary)
    monkeypatch.setenv(MARK, leftovers.mark)
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)  # the one that is remembered
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    yield leftovers
    try:
        leftovers.are_gone()
    finally:
        for process in leftovers.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
