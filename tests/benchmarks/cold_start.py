"""How fast models are loaded, and how much memory they take: with libraries imported once, without, and on MMS.

The models and the handler are those of samples/house_prices, which use scikit-learn. All servers are containers of
their own, one after the other, on the same handler. Processor time is that of all processes of the container.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil

from tests.benchmarks.report import Report
from tests.support.model_server_process import COMMAND
from tests.support.real_servers import mms
from tests.support.real_servers.container import Container, started
from tests.support.repository import REPOSITORY

SAMPLE = REPOSITORY / "samples" / "house_prices"
JSON = {"Content-Type": "application/json"}
BODY = b'{"rooms": 3, "square_meters": 80, "age": 20}'
IN_SEQUENCE, IN_MEMORY, CONCURRENCY = 11, 20, 8
AT_ONCE, AT_ONCE_SLOWLY = 100, 8  # models that are loaded concurrently; fewer by servers that take seconds for each
PACKAGES = os.path.dirname(os.path.dirname(str(find_spec("sklearn").origin)))  # type: ignore[union-attr]
# Multi Model Server's Python has no scikit-learn; it gets that of this one, after its own packages.
HANDLER = f"""
import sys
sys.path += [{str(SAMPLE)!r}, {PACKAGES!r}]
from handler_mms import handle
"""


@dataclass(frozen=True)
class Figures:
    """Seconds from the load to the first answer, of processor time for that, loads per second, bytes."""

    first: float
    p50: float
    processor: float
    rate: float
    memory: int


def main(report: Report) -> None:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        handler = work / "handler" / "benchmark_handler.py"
        handler.parent.mkdir()
        handler.write_text(HANDLER)
        models = trained(work)
        embedded = [*COMMAND, "--handler", str(handler)]
        once = measure(embedded, models, work / "once.log", AT_ONCE)
        each = measure([*embedded, "--preload", ""], models, work / "each.log", AT_ONCE_SLOWLY)
        others = measure(mms.command(handler), models, work / "mms.log", AT_ONCE_SLOWLY)
    for compared, name in ((each, "without preloading"), (others, "Multi Model Server")):
        row(report, "cold start, p50", once.p50, compared.p50, "s", name, "at most 0.1 s")
        row(report, "cold start, processor time", once.processor, compared.processor, "s", name)
        row(report, f"{IN_SEQUENCE + 1} models in sequence", total(once), total(compared), "s", name, "at most 2 s")
        row(report, f"a load at a concurrency of {CONCURRENCY}", 1 / once.rate, 1 / compared.rate, "s", name)
        row(report, f"memory of {IN_MEMORY} models", once.memory / 1e6, compared.memory / 1e6, "MB", name)


def row(report: Report, what: str, ours: float, theirs: float, unit: str, name: str, goal: str = "") -> None:
    report.add(what, f"{ours:,.3g} {unit}", f"{name} {theirs:,.3g} {unit}", theirs / ours, goal)


def total(figures: Figures) -> float:
    return figures.first + IN_SEQUENCE * figures.p50


def trained(work: Path) -> list[Path]:
    """The directories of the sample's models."""
    subprocess.run([sys.executable, SAMPLE / "train.py", "--output", work / "s3"], check=True, capture_output=True)
    directories = []
    for archive in sorted((work / "s3").rglob("*.tar.gz")):
        directory = work / "models" / archive.name / "model"
        with tarfile.open(archive) as tar:
            tar.extractall(directory, filter="data")
        directories.append(directory)
    return directories


def measure(command: list[str], models: list[Path], log: Path, at_once: int) -> Figures:
    with started(command, log) as container:
        container.wait_until_healthy(120)
        names, directories = (f"m{number}" for number in itertools.count()), itertools.cycle(models)

        def cold_start(_: object = None) -> float:
            name, directory = next(names), next(directories)
            start = time.perf_counter()
            load = json.dumps({"model_name": name, "url": str(directory)}).encode()
            for path, body in (("/models", load), (f"/models/{name}/invoke", BODY)):
                answer = container.call("POST", path, body, JSON, timeout=600)
                assert answer.status == 200, answer.body
            return time.perf_counter() - start

        first = cold_start()
        before = processor_seconds(container)
        p50 = statistics.median(cold_start() for _ in range(IN_SEQUENCE))
        processor = (processor_seconds(container) - before) / IN_SEQUENCE
        for _ in range(IN_MEMORY - IN_SEQUENCE - 1):
            cold_start()
        memory = sum(process.memory_full_info().pss for process in processes(container))
        with ThreadPoolExecutor(CONCURRENCY) as threads:
            start = time.perf_counter()
            list(threads.map(cold_start, range(at_once)))
            rate = at_once / (time.perf_counter() - start)
    figures = Figures(first, p50, processor, rate, memory)
    print(f"{log.stem}: {figures}")
    return figures


def processes(container: Container) -> list[psutil.Process]:
    """All of its session: Multi Model Server's JVM is no child of what was started."""
    return [process for process in psutil.process_iter() if _session(process.pid) == container.process.pid]


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def processor_seconds(container: Container) -> float:
    """Of all processes of the container, those that have ended as well."""
    return sum(sum(process.cpu_times()[:4]) for process in processes(container))


if __name__ == "__main__":
    table = Report()
    main(table)
    table.print()
