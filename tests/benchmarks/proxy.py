"""A warm call through the emulator, through a bare proxy, and straight to the same container: in turn, in one run.

Processor time is that of the emulator's worker, or of the proxy.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

from tests.benchmarks.report import Report
from tests.benchmarks.serving import BODY, MODEL, PLAIN, SECONDS, WRK, median, wrk
from tests.support.emulator_process import REPOSITORY, Emulator
from tests.support.files import archive

ROUNDS = 5
CONNECTIONS = (1, 8, 64)


def main(report: Report) -> None:
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        (work / "wrk.lua").write_text(WRK)
        archive(work / "s3" / MODEL, {"model.json": '{"weights": [1, 1, 1]}'})
        arguments = ("--models", str(work / "s3"), "--command", f"{sys.executable} {PLAIN}")
        emulator = Emulator(*arguments, state=work / "state").wait_in_service()
        try:
            emulator.invoke(MODEL, BODY, ContentType="text/csv")
            instance = emulator.instance()
            address = instance["containers"][0]["address"]
            path = f"/models/{instance['memory']['models'][0]['model_name']}/invoke"
            command = [sys.executable, "-m", "tests.benchmarks.bare_proxy", *address.split(":"), path]
            with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as proxy:
                assert proxy.stdout is not None
                ways = {
                    "straight": (f"http://{address}{path}", None),
                    "bare proxy": (f"http://127.0.0.1:{proxy.stdout.readline().strip()}/", psutil.Process(proxy.pid)),
                    "localmme": (f"{emulator.url}/endpoints/local/invocations", emulator.processes()[1]),
                }
                try:
                    for connections in CONNECTIONS:
                        compare(report, ways, connections, work / "wrk.lua")
                finally:
                    proxy.kill()
        finally:
            emulator.stop()


def compare(report: Report, ways: dict[str, tuple[str, psutil.Process | None]], connections: int, script: Path) -> None:
    """Report each way's figures, and how they compare with the bare proxy's."""
    rounds = {way: [] for way in ways}
    micros: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(ROUNDS + 1):
        for way, (url, process) in ways.items():
            before = sum(process.cpu_times()[:2]) if process else 0.0
            figures = wrk(url, connections, script)
            if number:  # the first round is for warming up
                rounds[way].append(figures)
                used = sum(process.cpu_times()[:2]) - before if process else 0.0
                micros[way].append(used / (figures.throughput * SECONDS) * 1e6)
    bare = median(rounds["bare proxy"])
    for way in ways:
        figures, cpu = median(rounds[way]), statistics.median(micros[way])
        report.add(
            f"{way}, {connections} connection{'s' * (connections > 1)}",
            f"p50 {figures.p50:.2f} p99 {figures.p99:.2f} ms, {figures.throughput:,.0f}/s",
            f"bare proxy: {bare.throughput:,.0f}/s",
            figures.throughput / bare.throughput,
            note=f"{cpu:.0f} us of processor time a call" if cpu else "",
            goal="at least 0.90 and at most 120 us" if way == "localmme" and connections > 1 else "",
        )
