"""Straight to the container against through the emulator: Multi Model Server, the embedded server, and the plain sample
as a process and as an image.

The same running container is measured both ways, in turn, so that a machine that gets slower slows both. The load comes
from wrk.
"""

from __future__ import annotations

import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.report import Report
from tests.support.emulator_process import Emulator
from tests.support.files import archive
from tests.support.real_servers import mms
from tests.support.real_servers.engine import running
from tests.support.real_servers.images import Images
from tests.support.repository import REPOSITORY

ROUNDS = 5
SECONDS = 3
CONNECTIONS = (1, 8, 64)
BODY = "0.1,0.2,0.3"
MODEL = "model.tar.gz"
PLAIN = REPOSITORY / "samples" / "containers" / "plain" / "serve.py"
# The same for both servers: the answer is the request.
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


@dataclass
class Figures:
    """Medians over the rounds: milliseconds, requests a second."""

    p50: float
    p99: float
    throughput: float


def main(report: Report) -> None:
    if shutil.which("wrk") is None:
        raise SystemExit("The serving benchmark needs wrk: apt-get install wrk, or brew install wrk.")
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        (work / "handler.py").write_text(HANDLER)
        (work / "wrk.lua").write_text(WRK)
        archive(work / "s3" / MODEL, {"model.json": '{"weights": [1, 1, 1]}'})
        servers = {
            "Multi Model Server": ["--command", shlex.join(mms.command(work / "handler.py"))],
            "embedded server": ["--handler", f"{work / 'handler.py'}:handle"],
            "plain sample, process": ["--command", f"{sys.executable} {PLAIN}"],
        }
        straight = {server: measure(report, server, arguments, work) for server, arguments in servers.items()}
        with running() as engine:
            measure(report, "plain sample, image", ["--image", Images(engine).plain()], work)
    for connections in CONNECTIONS:
        embedded, multi_model_server = (
            straight[name][connections] for name in ("embedded server", "Multi Model Server")
        )
        report.add(
            f"embedded server straight, connections: {connections}",
            f"{embedded.throughput:,.0f}/s",
            f"{multi_model_server.throughput:,.0f}/s (MMS)",
            embedded.throughput / multi_model_server.throughput,
            "at least 1.00 of MMS",
        )


def measure(report: Report, server: str, arguments: list[str], work: Path) -> dict[int, Figures]:
    """Report this server's figures; those of going straight to it, by the number of connections."""
    emulator = Emulator("--models", str(work / "s3"), *arguments, state=work / "state")
    try:
        emulator.wait_in_service()
        emulator.invoke(MODEL, BODY, ContentType="text/csv")
        instance = emulator.instance()
        name = instance["memory"]["models"][0]["model_name"]
        urls = {
            "straight": f"http://{instance['containers'][0]['address']}/models/{name}/invoke",
            "through": f"{emulator.url}/endpoints/local/invocations",
        }
        straight = {}
        for connections in CONNECTIONS:
            rounds: dict[str, list[Figures]] = {"straight": [], "through": []}
            for number in range(ROUNDS + 1):
                for way, url in urls.items():
                    figures = wrk(url, connections, work / "wrk.lua")
                    if number:  # the first round is for warming up
                        rounds[way].append(figures)
            ratio = statistics.median(
                through.throughput / direct.throughput
                for through, direct in zip(rounds["through"], rounds["straight"], strict=True)
            )
            added = statistics.median(
                through.p50 - direct.p50 for through, direct in zip(rounds["through"], rounds["straight"], strict=True)
            )
            direct, through = median(rounds["straight"]), median(rounds["through"])
            straight[connections] = direct
            goals = {("Multi Model Server", 1): "at most +0.40 ms", ("Multi Model Server", 8): "at least 0.75"}
            report.add(
                f"{server}, {connections} connection{'s' * (connections > 1)}",
                f"p50 {through.p50:.2f} p99 {through.p99:.2f} ms, {through.throughput:,.0f}/s",
                f"p50 {direct.p50:.2f} p99 {direct.p99:.2f} ms, {direct.throughput:,.0f}/s",
                ratio,
                goals.get((server, connections), ""),
                note=f"{added:+.2f} ms",
            )
        return straight
    finally:
        emulator.stop()


def wrk(url: str, connections: int, script: Path) -> Figures:
    time.sleep(0.5)  # what the last run left in the server's queue is worked off: Multi Model Server refuses over 100
    command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}", "-s", str(script), url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"FIGURES (\S+) (\S+) (\S+) (\d+)", output)
    assert found and found[4] == "0", output
    return Figures(float(found[1]) / 1000, float(found[2]) / 1000, float(found[3]))


def median(figures: list[Figures]) -> Figures:
    return Figures(
        statistics.median(one.p50 for one in figures),
        statistics.median(one.p99 for one in figures),
        statistics.median(one.throughput for one in figures),
    )
