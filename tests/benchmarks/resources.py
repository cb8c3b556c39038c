"""How soon the emulator is InService, and how much memory it takes after many invocations of many models."""

from __future__ import annotations

import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.benchmarks.report import Report
from tests.support.emulator_process import Emulator
from tests.support.files import archive
from tests.support.real_servers.engine import running
from tests.support.real_servers.images import Images

MODELS, INVOCATIONS, CLIENTS = 1000, 10_000, 8
STARTS = 7
HANDLER = """
def handle(data, context):
    return [b"1"]
"""


def main(report: Report) -> None:
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        (work / "handler.py").write_text(HANDLER)
        for number in range(MODELS):
            archive(work / "s3" / f"{number}.tar.gz", {"weights": str(number)})
        arguments = ("--models", str(work / "s3"), "--handler", f"{work / 'handler.py'}:handle")
        starting(report, "embedded server", arguments, work, "less than 1.50 s")
        with running() as engine:
            image = ("--models", str(work / "s3"), "--image", Images(engine).plain())
            starting(report, "image of the plain sample", image, work, "less than 3.00 s")
        memory(report, arguments, work)


def starting(report: Report, what: str, arguments: tuple[str, ...], work: Path, goal: str) -> None:
    """From the start of the command to its line that says InService."""
    seconds = []
    for _ in range(STARTS):
        began = time.perf_counter()
        emulator = Emulator(*arguments, state=work / "state")
        emulator.wait_in_service()
        seconds.append(time.perf_counter() - began)
        emulator.stop()
    report.add(f"serve, {what}: InService", f"{statistics.median(seconds):.2f} s", goal=goal)


def memory(report: Report, arguments: tuple[str, ...], work: Path) -> None:
    """Resident memory of the emulator's own two processes, the containers apart."""
    emulator = Emulator(*arguments, "--max-loaded-models", "50", state=work / "state").wait_in_service()
    before = resident(emulator)
    emulator.client()
    with ThreadPoolExecutor(CLIENTS) as clients:
        for _ in clients.map(lambda number: emulator.invoke(f"{number % MODELS}.tar.gz"), range(INVOCATIONS)):
            pass
    state = emulator.state()
    assert sum(model["invocations"] for model in state["models"]) == INVOCATIONS
    after = resident(emulator)
    emulator.stop()
    report.add(
        f"resident after {INVOCATIONS:,} invocations of {MODELS:,} models",
        f"worker {after[0]:.0f} MB, master {after[1]:.0f} MB",
        f"before: {before[0]:.0f} and {before[1]:.0f} MB",
        goal="at most 100 MB",
    )


def resident(emulator: Emulator) -> tuple[float, float]:
    """Megabytes (10**6 bytes) of the worker and of the master."""
    worker, master = emulator.processes()[1], emulator.processes()[0]
    return worker.memory_info().rss / 1e6, master.memory_info().rss / 1e6
