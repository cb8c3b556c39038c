"""Models of the scripted container: its command, archives with their cues, and the journal of what it did."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.emulator_process import Emulator
from tests.support.files import archive
from tests.support.processes import wait_until_ended
from tests.support.repository import REPOSITORY

SCRIPTED_CONTAINER = f"{sys.executable} {REPOSITORY / 'tests' / 'support' / 'scripted_container.py'}"


def scripted_model(path: Path, answer: str = "", **script: Any) -> Path:
    """An archive for the scripted container, with its cues."""
    return archive(path, {"answer.txt": answer or path.name, "script.json": json.dumps(script)})


class Journal:
    """What the scripted container wrote down."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self, call: str | None = None) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        entries = [json.loads(line) for line in self.path.read_text().splitlines()]
        return [entry for entry in entries if call is None or entry.get("call") == call]

    def calls(self, *calls: str) -> list[str]:
        """The names of the calls in their order, of these kinds only."""
        return [entry["call"] for entry in self.entries() if entry.get("call") in calls]


def scripted_arguments(bucket: Path | str, journal: Journal, script: dict[str, Any]) -> list[str]:
    """What ``localmme serve`` has to be started with for the scripted container with these cues."""
    variables = {"SCRIPT_JOURNAL": str(journal.path), "SCRIPT": json.dumps(script)}
    settings = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
    return ["--models", str(bucket), "--command", SCRIPTED_CONTAINER, *settings]


class SharedEmulator(Emulator):
    """An emulator of several tests, each of which has models of its own names below ``bucket``."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.bucket = directory / "s3"
        self.bucket.mkdir()
        self.journal = Journal(directory / "journal.jsonl")
        super().__init__(*scripted_arguments(self.bucket, self.journal, {}), *arguments, state=directory / "state")

    def model_of(self, test: str, **script: Any) -> str:
        """Write the archive of a test's model; its name, by which it also answers."""
        name = f"{test}-{len(list(self.bucket.iterdir()))}.tar.gz"
        scripted_model(self.bucket / name, **script)
        return name


@contextmanager
def shared_emulator(directory: Path, *arguments: str) -> Iterator[SharedEmulator]:
    """Start an emulator for several tests; afterwards nothing of it is left."""
    emulator = SharedEmulator(directory, *arguments)
    try:
        emulator.wait_in_service()
        yield emulator
    finally:
        processes = emulator.processes() if emulator.runs() else []
        emulator.stop()
        wait_until_ended(processes)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


@pytest.fixture
def scripted(serve: Callable[..., Emulator], bucket: Path, journal: Journal) -> Callable[..., Emulator]:
    """An emulator whose container is the scripted one; keyword arguments are the container's cues."""

    def scripted(*arguments: str, **script: Any) -> Emulator:
        return serve(*scripted_arguments(bucket, journal, script), *arguments)

    return scripted
