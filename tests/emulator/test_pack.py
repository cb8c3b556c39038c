"""``localmme pack`` as a process: interrupted, on a full disk, in a terminal; and what it made is served."""

from __future__ import annotations

import json
import os
import pty
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localmme.pack.writing import UNFINISHED_PREFIX
from tests.support.command_line import localmme
from tests.support.emulator_process import Emulator
from tests.support.packed_models import (
    GIB,
    extracted,
    tree,
)
from tests.support.repository import REPOSITORY
from tests.support.waiting import eventually

# Whole or not at all


@pytest.fixture
def packing(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start packing something that takes long, over an archive that is there already; wait until it writes."""
    model = tmp_path / "model"
    model.mkdir()
    with open(model / "weights", "wb") as file:
        file.truncate(64 * GIB)
    output = tmp_path / "s3"
    output.mkdir()
    (output / "a.tar.gz").write_bytes(b"the archive before")
    processes = []

    def start(**options: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "localmme", "pack", str(model), "-o", str(output / "a.tar.gz")]
        process = subprocess.Popen(
            [*command, "--storage", "1TiB"], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True, **options
        )
        processes.append(process)
        eventually(lambda: process.poll() is not None or len(list(output.iterdir())) == 2, what="packing")
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_leaves_what_was_there(packing, tmp_path, number):
    process = packing()
    assert [path.name[:9] for path in (tmp_path / "s3").iterdir() if path.name != "a.tar.gz"] == [UNFINISHED_PREFIX]
    process.send_signal(number)
    assert process.wait(60) != 0
    assert [path.name for path in (tmp_path / "s3").iterdir()] == ["a.tar.gz"]
    assert (tmp_path / "s3" / "a.tar.gz").read_bytes() == b"the archive before"


def test_a_full_disk_leaves_what_was_there(packing, tmp_path):
    limit = 64 * 1024
    process = packing(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "a.tar.gz cannot be written: File too large." in errors
    assert [path.name for path in (tmp_path / "s3").iterdir()] == ["a.tar.gz"]
    assert (tmp_path / "s3" / "a.tar.gz").read_bytes() == b"the archive before"


def test_packing_takes_no_more_memory_for_a_large_directory(tmp_path):
    peaks = []
    for name, size in (("small", 1), ("large", GIB // 8)):
        model = tree(tmp_path / name, {})
        for number in range(2):
            with open(model / f"weights-{number}", "wb") as file:
                file.truncate(size)
        command = [sys.executable, "-m", "localmme", "pack", str(model), "-o", str(tmp_path / "a.tar.gz")]
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
        _, code, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(code)
        assert process.returncode == 0
        peaks.append(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
    assert peaks[1] - peaks[0] < 16 * 1024 * 1024


def test_an_archive_is_named_like_its_directory_and_put_where_you_are(tmp_path):
    tree(tmp_path / "models" / "lisbon", {"weights": "12"})
    command = [sys.executable, "-m", "localmme", "pack", "models/lisbon"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    size = (tmp_path / "lisbon.tar.gz").stat().st_size
    assert result.stdout == f"lisbon.tar.gz: {size} B, of 1 file, 2 B.\n"
    assert result.stderr == ""


def test_progress_is_shown_in_a_terminal_only(tmp_path):
    model = tree(tmp_path / "model", {"weights": os.urandom(30_000_000)})
    command = [sys.executable, "-m", "localmme", "pack", str(model), "-o", str(tmp_path / "a.tar.gz")]
    environment = {**os.environ, "TERM": "xterm", "FORCE_COLOR": "1"}
    terminal, end = pty.openpty()
    seen: list[bytes] = []

    def read() -> None:
        try:
            while block := os.read(terminal, 4096):
                seen.append(block)
        except OSError:  # its other end is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    subprocess.run(command, cwd=REPOSITORY, stderr=end, stdout=subprocess.DEVNULL, env=environment, check=True)
    os.close(end)
    reader.join(10)
    os.close(terminal)
    assert b"Packing a.tar.gz" in b"".join(seen)
    assert subprocess.run(command, cwd=REPOSITORY, capture_output=True, env=environment, check=True).stderr == b""


# And it is served


def test_a_packed_sample_is_served(tmp_path, serve: Callable[..., Emulator]):
    pytest.importorskip("sklearn")
    sample = REPOSITORY / "samples" / "house_prices"
    command = [sys.executable, sample / "train.py", "--output", tmp_path / "trained", "--cities", "1"]
    subprocess.run(command, check=True, capture_output=True)
    (trained,) = (tmp_path / "trained").rglob("*.tar.gz")
    model = extracted(trained, tmp_path / "model")
    (model / "code").mkdir()
    shutil.copy(sample / "handler.py", model / "code" / "inference.py")
    (tmp_path / "s3").mkdir()
    for options in ([], ["--no-compression"]):
        archive = tmp_path / "s3" / f"city{len(options)}.tar.gz"
        result = localmme("pack", str(model), "-o", str(archive), *options, check=True)
        assert result.stderr == ""
        assert localmme("pack", "--verify", str(archive)).returncode == 0
    emulator = serve("--models", str(tmp_path / "s3"))
    answers = [
        emulator.invoke(name, json.dumps({"rooms": 3, "square_meters": 80, "age": 20}))
        for name in ("city0.tar.gz", "city1.tar.gz")
    ]
    assert answers[0] == answers[1]
    assert answers[0]["prices"][0] > 0
