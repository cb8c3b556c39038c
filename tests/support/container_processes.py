"""Processes of containers, which tests know by a mark in their environment, and the scripted container's journal."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.emulator_process import RunningEmulator
from tests.support.files import archive
from tests.support.scripted_models import Journal
from tests.support.waiting import eventually

MARK = "LOCALMME_TEST_MARK"
LARGE_FILE = bytes(20 * 2**20)


@pytest.fixture
def mark() -> Iterator[str]:
    """For the environment of processes, by which they are found whatever becomes of their parents.

    After the test none may be left.
    """
    mark = uuid.uuid4().hex
    yield mark
    try:
        gone(mark)
    finally:
        for process in marked(mark):
            with contextlib.suppress(psutil.Error):
                process.kill()


def marked(mark: str) -> list[psutil.Process]:
    """The processes that have it, and have not ended."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def gone(mark: str) -> None:
    """Wait until no process has it."""
    eventually(lambda: not marked(mark), what=f"no process is left: {marked(mark)}")


def container_pid(journal: Journal) -> int:
    """Of the container that was started last."""
    return int(starts(journal)[-1]["pid"])


def starts(journal: Journal) -> list[dict[str, Any]]:
    """Of containers, in their order."""
    return [entry for entry in journal.entries() if entry.get("event") == "start"]


def large_archive(path: Path) -> None:
    """One that takes a while to extract."""
    archive(path, {**{f"weights-{n}": LARGE_FILE for n in range(8)}, "answer.txt": f"I am {path.name}"})


def extracting(emulator: RunningEmulator) -> bool:
    """Whether such an archive is being extracted."""
    return any((emulator.state_directory / "instances").glob("**/.extracting-*/weights-1"))
