"""What holds for all tests; their fixtures are in tests/support, by subject."""

from __future__ import annotations

import compileall
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from emulator.containers.process.keeper import PR_SET_CHILD_SUBREAPER
from tests.support.repository import REPOSITORY

pytest_plugins = [
    f"tests.support.{module}"
    for module in (
        "docker_fixtures",
        "docker_host",
        "emulator_process",
        "fake_containers",
        "leftovers",
        "scripted_models",
        "container_processes",  # which imports others: they come first, so that their assertions are rewritten
    )
]

# How long an example takes depends on what else the machine does; each run has others. What hypothesis changes on CI
# stays as it is.
settings.register_profile(
    "unhurried", settings(), max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unhurried")

# Under nohup, or in the background of a script, the tests and so all that they start would ignore these; a handler of
# our own is not inherited.
signal.signal(signal.SIGHUP, lambda *_: None)
signal.signal(signal.SIGINT, signal.default_int_handler)

# The tests call this machine only. ONNX Runtime would report to its makers, from whatever process imports it.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# Also where PYTHONDONTWRITEBYTECODE is set: pytest takes twelve seconds to rewrite all assertions, and keeps them so.
sys.dont_write_bytecode = False


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile what the tests start hundreds of times, as pip does when it installs it.

    With PYTHONDONTWRITEBYTECODE set, each of those processes would compile it for itself, for half a second.
    """
    if not hasattr(session.config, "workerinput"):  # pytest-xdist's workers are started later
        for package in ("emulator", "localmme"):
            compileall.compile_dir(REPOSITORY / package, quiet=1)


# The tiers in the order in which several workers run them: files that take long come first, so that at the end, when
# one worker may wait for the others, there are only those that take less than a second each.
TIERS = ("docker", "real", "documents", "emulator", "in_process", "services", "unit")


# The tests, and all that they import, stay until the end. The garbage collector would go through them again and again:
# it rests until they are there, then looks only at what is newer, and less often.
gc.disable()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One process alone runs the tests in the order of their names."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: TIERS.index(item.path.relative_to(Path(__file__).parent).parts[0]))


LIBC = ctypes.CDLL(None)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """What a test runs in this process may make it the parent of orphans, which nobody here would wait for.

    The processes of emulators that later tests kill would stay as zombies, which look as if they ran.
    """
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With LOCALMME_TESTS_SKIP_NOTHING set, as in CI, a test that skips has failed."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and "LOCALMME_TESTS_SKIP_NOTHING" in os.environ:
        report.outcome = "failed"
        report.longrepr = f"skipped, where nothing may be: {report.longrepr}"
    return report
