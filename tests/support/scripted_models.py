"""Models of the scripted container: its command, archives with their cues, and the journal of what it did."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.support.emulator_in_process import InProcessEmulator
from tests.support.emulator_process import Emulator, RunningEmulator
from tests.support.files import archive
from tests.support.processes import wait_until_ended
from tests.support.repository import REPOSITORY

# Isolated, and without site-packages: it starts sooner, and needs nothing but Python.
SCRIPTED_CONTAINER = f"{sys.executable} -IS {REPOSITORY / 'tests' / 'support' / 'scripted_container.py'}"


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


class Shared(RunningEmulator):
    """An emulator of several tests, each of which has models of its own names below ``bucket``."""

    bucket: Path
    journal: Journal

    def model_of(self, test: str, **script: Any) -> str:
        """Write the archive of a test's model; its name, by which it also answers."""
        name = f"{test}-{len(list(self.bucket.iterdir()))}.tar.gz"
        scripted_model(self.bucket / name, **script)
        return name


class SharedEmulator(Shared, Emulator):
    """One that is a process."""


class SharedInProcessEmulator(Shared, InProcessEmulator):
    """One in the tests' process."""


S = TypeVar("S", SharedEmulator, SharedInProcessEmulator)


@contextmanager
def shared(kind: type[S], directory: Path, *arguments: str) -> Iterator[S]:
    """Start an emulator for several tests; afterwards nothing of it is left."""
    bucket, journal = directory / "s3", Journal(directory / "journal.jsonl")
    bucket.mkdir()
    emulator = kind(*scripted_arguments(bucket, journal, {}), *arguments, state=directory / "state")
    emulator.bucket, emulator.journal = bucket, journal
    try:
        yield emulator.wait_in_service()
    finally:
        processes = emulator.processes() if isinstance(emulator, Emulator) and emulator.runs() else []
        emulator.stop()
        wait_until_ended(processes)


def shared_emulator(directory: Path, *arguments: str) -> AbstractContextManager[SharedEmulator]:
    """Start an emulator, a process, for several tests."""
    return shared(SharedEmulator, directory, *arguments)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file that a container waits for, for which this is its cue ``until``."""
    return tmp_path / "gate"


@pytest.fixture
def scripted(serve: Callable[..., RunningEmulator], bucket: Path, journal: Journal) -> Callable[..., RunningEmulator]:
    """An emulator whose container is the scripted one; keyword arguments are the container's cues."""

    def scripted(*arguments: str, **script: Any) -> RunningEmulator:
        return serve(*scripted_arguments(bucket, journal, script), *arguments)

    return scripted
