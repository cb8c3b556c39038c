"""The demo and the notebook of the samples, run as a user runs them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import nbformat
import psutil
import pytest
from nbclient import NotebookClient

from tests.support.repository import REPOSITORY
from tests.support.waiting import eventually

SAMPLE = REPOSITORY / "samples" / "house_prices"


MARK = "LOCALMME_TEST_MARK"


def marked(mark: str) -> list[int]:
    """The processes that this test has started, by their environment: other tests run at the same time."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.append(process.pid)
    return found


@pytest.fixture(autouse=True)
def nothing_is_left_running(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    yield
    eventually(lambda: not marked(mark))


def test_the_demo_shows_cold_and_warm_times_and_what_was_evicted() -> None:
    command = [sys.executable, SAMPLE / "demo.py", "--cities", "2"]  # one more than it keeps in memory
    result = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert result.returncode == 0, result.stderr
    assert "Endpoint local is InService at" in result.stdout
    for words in ("cold ms", "warm ms", "lisbon", "osaka", "evictions", "unloaded   europe/lisbon.tar.gz"):
        assert words in result.stdout
    assert (
        result.stdout.index("Training") < result.stdout.index("Serving") < result.stdout.index("To go on by yourself")
    )
    assert "Traceback" not in result.stdout + result.stderr


def test_the_demo_says_when_there_is_no_emulator() -> None:
    command = [sys.executable, SAMPLE / "demo.py", "--url", "http://127.0.0.1:9"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert "No emulator answers at http://127.0.0.1:9: " in result.stderr


def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its commands are those of the environment that runs the tests.
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    notebook = nbformat.read(SAMPLE / "walkthrough.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(SAMPLE)}}).execute()
    outputs = "".join(
        output.get("text", "") for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    )
    assert "ValidationError" in outputs
