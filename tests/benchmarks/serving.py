"""A warm call through the emulator, through a bare proxy, and straight to the same container: in turn, in one run.

The containers are the plain sample as a process and as an image, Multi Model Server, and localmme's own server, which
listens at no port, so that nothing but a proxy goes to it. The load comes from wrk. Processor time is that of the
emulator's worker, or of the proxy. LOCALMME_BENCHMARK_BESIDE may name the directory of another version, which is
measured in the same rounds with containers of its own.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from emulator.containers.process.container import SOCKET_VARIABLE
from tests.benchmarks.report import Report
from tests.support.emulator_process import Emulator
from tests.support.files import archive
from tests.support.real_servers import mms
from tests.support.real_servers.engine import running
from tests.support.real_servers.images import Images
from tests.support.repository import REPOSITORY

BESIDE = "LOCALMME_BENCHMARK_BESIDE"
ROUNDS = 5
SECONDS = 2
CONNECTIONS = (1, 8, 64)
BODY = "0.1,0.2,0.3"
MODEL = "model.tar.gz"
PLAIN = REPOSITORY / "samples" / "containers" / "plain" / "serve.py"
GOALS = {"plain sample, process": "at least 0.90 and at most 1.90 of its processor time"}  # at 8 and 64 connections
# The same for all servers but the plain sample: the answer is the request.
HANDLER = """
def handle(data, context):
    if data is None:
        return None
    return [bytes(data[0]["body"])]
"""
WRK = f"""
wrk.method = "POST"
wrk.body = "{BODY}"
wrk.headers["Content-Type"] = "text/csv"
wrk.headers["X-Amzn-SageMaker-Target-Model"] = "{MODEL}"
done = function(summary, latency, requests)
  io.write(string.format("FIGURES %f %f %f %d\\n", latency:percentile(50), latency:percentile(99),
    summary.requests / (summary.duration / 1e6), summary.errors.status + summary.errors.read + summary.errors.timeout))
end
"""


@dataclass(frozen=True)
class Way:
    """Where calls are sent to, and the process whose time they take on their way to the container."""

    url: str
    process: psutil.Process | None = None

    def processor_seconds(self) -> float:
        return sum(self.process.cpu_times()[:2]) if self.process else 0.0


@dataclass(frozen=True)
class Figures:
    """Milliseconds, requests a second, and microseconds of processor time a call: of one round, or medians."""

    p50: float
    p99: float
    throughput: float
    micros: float


def main(report: Report) -> None:
    if shutil.which("wrk") is None:
        raise SystemExit("The serving benchmark needs wrk: apt-get install wrk, or brew install wrk.")
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        (work / "handler.py").write_text(HANDLER)
        (work / "wrk.lua").write_text(WRK)
        archive(work / "s3" / MODEL, {"model.json": '{"weights": [1, 1, 1]}'})
        servers = {
            "plain sample, process": ["--command", f"{sys.executable} {PLAIN}"],
            "Multi Model Server": ["--command", shlex.join(mms.command(work / "handler.py"))],
            "embedded server": ["--handler", f"{work / 'handler.py'}:handle"],
        }
        bare = {server: measure(report, server, arguments, work) for server, arguments in servers.items()}
        with running() as engine:
            measure(report, "plain sample, image", ["--image", Images(engine).plain()], work)
    for connections in CONNECTIONS:
        embedded, multi_model_server = (bare[name][connections] for name in ("embedded server", "Multi Model Server"))
        report.add(
            f"embedded server, bare proxy, connections: {connections}",
            f"{embedded.throughput:,.0f}/s",
            f"{multi_model_server.throughput:,.0f}/s (MMS)",
            embedded.throughput / multi_model_server.throughput,
            "at least 1.00 of MMS",
        )


def measure(report: Report, server: str, arguments: list[str], work: Path) -> dict[int, Figures]:
    """Report the figures of all ways to this server; those of the bare proxy, by the number of connections."""
    with contextlib.ExitStack() as stack:
        ways = stack.enter_context(ways_to(arguments, work))
        if beside := os.environ.get(BESIDE):
            other = stack.enter_context(serving(arguments, work, Path(beside)))
            ways[f"localmme in {beside}"] = through(other)
        return {connections: compare(report, server, ways, connections, work) for connections in CONNECTIONS}


@contextlib.contextmanager
def serving(arguments: list[str], work: Path, version: Path = REPOSITORY) -> Iterator[Emulator]:
    """An emulator of that version, with the model in its container's memory."""
    state = Path(tempfile.mkdtemp(dir=work))
    arguments = ["--models", str(work / "s3"), *arguments]
    emulator = Emulator(*arguments, state=state, environment={"PYTHONPATH": str(version)}, directory=version)
    try:
        emulator.wait_in_service()
        emulator.invoke(MODEL, BODY, ContentType="text/csv")
        yield emulator
    finally:
        emulator.stop()


def through(emulator: Emulator) -> Way:
    return Way(f"{emulator.url}/endpoints/local/invocations", emulator.worker())


@contextlib.contextmanager
def ways_to(arguments: list[str], work: Path) -> Iterator[dict[str, Way]]:
    """The ways to one container."""
    with serving(arguments, work) as emulator:
        instance = emulator.instance()
        path = f"/models/{instance['memory']['models'][0]['model_name']}/invoke"
        address, ways = instance["containers"][0]["address"], {}
        if socket := socket_of(emulator):
            address = f"unix:{socket}"
        else:
            ways["straight"] = Way(f"http://{address}{path}")
        command = [sys.executable, "-m", "tests.benchmarks.bare_proxy", address, path]
        with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as proxy:
            assert proxy.stdout is not None
            try:
                port = proxy.stdout.readline().strip()
                ways["bare proxy"] = Way(f"http://127.0.0.1:{port}/", psutil.Process(proxy.pid))
                yield {**ways, "localmme": through(emulator)}
            finally:
                proxy.kill()


def socket_of(emulator: Emulator) -> str:
    """Where the container listens, if it is localmme's own server; else nothing."""
    for process in emulator.worker().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has ended
            if socket := process.environ().get(SOCKET_VARIABLE):
                return socket
    return ""


def compare(report: Report, server: str, ways: Mapping[str, Way], connections: int, work: Path) -> Figures:
    """Report each way's figures, and how they compare with the bare proxy's; which are returned."""
    rounds: dict[str, list[Figures]] = {name: [] for name in ways}
    for number in range(ROUNDS + 1):
        for name, way in ways.items():
            figures = one_round(way, connections, work / "wrk.lua")
            if number:  # the first round is for warming up
                rounds[name].append(figures)
    bare = median(rounds["bare proxy"])
    for name in ways:
        figures = median(rounds[name])
        is_goal = name == "localmme" and connections > 1
        report.add(
            f"{server}, {name}, {connections} connection{'s' * (connections > 1)}",
            f"p50 {figures.p50:.2f} p99 {figures.p99:.2f} ms, {figures.throughput:,.0f}/s",
            f"{bare.throughput:,.0f}/s (bare proxy)",
            figures.throughput / bare.throughput,
            goal=GOALS.get(server, "") if is_goal else "",
            note=f"{figures.micros:.0f} us of processor time a call, {spread(rounds[name])}" if figures.micros else "",
        )
    return bare


def one_round(way: Way, connections: int, script: Path) -> Figures:
    time.sleep(0.5)  # what the last run left in the server's queue is worked off: Multi Model Server refuses over 100
    before = way.processor_seconds()
    command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}", "-s", str(script), way.url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"FIGURES (\S+) (\S+) (\S+) (\d+)", output)
    assert found and found[4] == "0", output
    throughput = float(found[3])
    micros = (way.processor_seconds() - before) / (throughput * SECONDS) * 1e6
    return Figures(float(found[1]) / 1000, float(found[2]) / 1000, throughput, micros)


def median(rounds: list[Figures]) -> Figures:
    return Figures(
        statistics.median(one.p50 for one in rounds),
        statistics.median(one.p99 for one in rounds),
        statistics.median(one.throughput for one in rounds),
        statistics.median(one.micros for one in rounds),
    )


def spread(rounds: list[Figures]) -> str:
    return f"{min(one.micros for one in rounds):.0f} to {max(one.micros for one in rounds):.0f}"
