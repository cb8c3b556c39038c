"""Fixtures: a bucket directory, emulators that are never left behind, the scripted container's journal."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator.containers.process.keeper import PR_SET_CHILD_SUBREAPER
from tests.support.docker_fixtures import engine, images  # noqa: F401
from tests.support.emulator_process import SCRIPTED_CONTAINER, Emulator, Journal, eventually
from tests.support.leftovers import leftovers  # noqa: F401

# Under nohup, or in the background of a script, the tests and so all that they start would ignore these; a handler of
# our own is not inherited.
signal.signal(signal.SIGHUP, lambda *_: None)
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def adopts_no_orphans() -> Iterator[None]:
    """What a test runs in this process may make it the parent of orphans, which nobody here would wait for.

    The processes of emulators that later tests kill would stay as zombies, which look as if they ran.
    """
    yield
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """With LOCALMME_TESTS_SKIP_NOTHING set, as in CI, a test that skips has failed."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and "LOCALMME_TESTS_SKIP_NOTHING" in os.environ:
        report.outcome = "failed"
        report.longrepr = f"skipped, where nothing may be: {report.longrepr}"
    return report


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    """The directory that stands for the S3 prefix."""
    directory = tmp_path / "s3"
    directory.mkdir()
    return directory


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Emulator]]:
    """Start ``localmme serve`` with these arguments, without waiting; all are stopped afterwards.

    After the test, none of their processes may be left.
    """
    emulators: list[Emulator] = []

    def start(*arguments: str, environment: dict[str, str] | None = None) -> Emulator:
        emulator = Emulator(*arguments, state=tmp_path / f"state-{len(emulators)}", environment=environment)
        emulators.append(emulator)
        return emulator

    yield start
    left = []
    for emulator in emulators:
        processes = emulator.processes() if emulator._process.poll() is None else []
        emulator.stop()
        left += processes
    eventually(lambda: not any(process.is_running() for process in left), 10, "the processes have ended")


@pytest.fixture
def serve(start: Callable[..., Emulator]) -> Callable[..., Emulator]:
    """The same, and wait until the endpoint is InService."""

    def serve(*arguments: str, environment: dict[str, str] | None = None) -> Emulator:
        return start(*arguments, environment=environment).wait_in_service()

    return serve


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


@pytest.fixture
def scripted(serve: Callable[..., Emulator], bucket: Path, journal: Journal) -> Callable[..., Emulator]:
    """An emulator whose container is the scripted one; keyword arguments are the container's cues."""

    def scripted(*arguments: str, **script: Any) -> Emulator:
        return serve(*scripted_arguments(bucket, journal, script), *arguments)

    return scripted


def scripted_arguments(bucket: Path | str, journal: Journal, script: dict[str, Any]) -> list[str]:
    variables = {"SCRIPT_JOURNAL": str(journal.path), "SCRIPT": json.dumps(script)}
    settings = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
    return ["--models", str(bucket), "--command", SCRIPTED_CONTAINER, *settings]
