"""What an open page costs the emulator, and what many models cost the page.

The emulator: wrk calls 1,000 models over 64 connections for a minute, in turns with one page open and with none; the
container is the plain sample. The browser is on the same machine, so the processor time of the emulator's worker is
said beside the calls a second. The page: 10,000 models on four instances, some of which are called all the time; what
its main thread does is measured by the browser's own means.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.report import Report
from tests.support.emulator_process import Emulator
from tests.support.files import archive
from tests.support.real_clients import browser
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

MODELS, CONNECTIONS, ROUNDS, SECONDS = 1_000, 64, 6, 5
MANY_MODELS, MANY_SECONDS = 10_000, 15
PLAIN = REPOSITORY / "samples" / "containers" / "plain" / "serve.py"
WRK = f"""
wrk.method = "POST"
wrk.body = "0.1,0.2,0.3"
wrk.headers["Content-Type"] = "text/csv"
request = function()
  wrk.headers["X-Amzn-SageMaker-Target-Model"] = math.random(0, {MODELS - 1}) .. ".tar.gz"
  return wrk.format(nil, wrk.path)
end
"""
# Before the page's own scripts: when rows of the grid are there first, and how long its main thread is busy without a
# pause: in its animation frames, in which the views are updated, and as the browser itself reports it (50 ms and more).
MEASURE = """
window.measured = {rows: null, frames: [], longTasks: [], messages: []};
const frame = window.requestAnimationFrame.bind(window);
window.requestAnimationFrame = (update) => frame((time) => {
  const began = performance.now();
  update(time);
  measured.frames.push(performance.now() - began);
});
new PerformanceObserver((list) => measured.longTasks.push(...list.getEntries().map((each) => each.duration)))
  .observe({type: "longtask", buffered: true});
const listen = EventSource.prototype.addEventListener;
EventSource.prototype.addEventListener = function (name, take) {
  listen.call(this, name, (event) => {
    const began = performance.now();
    take(event);
    measured.messages.push([name, performance.now() - began]);
  });
};
const look = () => {
  if (document.querySelector(".grid tbody tr:not(.spacer)")) measured.rows = performance.now();
  else frame(look);
};
frame(look);
"""


def main(report: Report) -> None:
    if shutil.which("wrk") is None:
        raise SystemExit("The benchmark of the page needs wrk: apt-get install wrk, or brew install wrk.")
    with tempfile.TemporaryDirectory() as directory, browser.launched(names={}) as chromium:
        cost_for_the_emulator(report, Path(directory) / "calls", chromium)
        cost_for_the_page(report, Path(directory) / "many", chromium)


def served(work: Path, models: int, *options: str) -> Emulator:
    for number in range(models):
        archive(work / "s3" / f"{number}.tar.gz", {"model.json": '{"weights": [1, 1, 1]}'})
    arguments = ("--models", str(work / "s3"), "--command", f"{sys.executable} {PLAIN}", *options)
    return Emulator(*arguments, state=work / "state").wait_in_service(300)


def cost_for_the_emulator(report: Report, work: Path, chromium: Browser) -> None:
    """Calls a second with one page open, against none: the median of the pairs' ratios."""
    emulator = served(work, MODELS)
    (work / "wrk.lua").write_text(WRK)
    try:
        for number in range(MODELS):
            emulator.invoke(f"{number}.tar.gz", b"0.1,0.2,0.3", ContentType="text/csv")
        one_round(emulator, work)
        pairs = []
        for _ in range(ROUNDS):
            without = one_round(emulator, work)
            with opened(chromium, emulator) as page:
                pairs.append((without, one_round(emulator, work)))
                assert page.get_by_text("live", exact=True).is_visible()
    finally:
        emulator.stop()
    for position, what, unit, goal in (
        (0, "calls", "calls/s", "at least 0.97"),
        (1, "processor time", "µs a call", ""),
    ):
        none, one = (statistics.median(pair[is_open][position] for pair in pairs) for is_open in (0, 1))
        ratio = statistics.median(pair[1][position] / pair[0][position] for pair in pairs)
        name = f"{what}, {MODELS:,} models, {CONNECTIONS} connections, one page open"
        report.add(name, f"{one:,.0f} {unit}", f"none: {none:,.0f} {unit}", ratio, goal)


def one_round(emulator: Emulator, work: Path) -> tuple[float, float]:
    """Calls a second, and microseconds of the worker's processor time for each."""
    worker = emulator.worker()
    before = sum(worker.cpu_times()[:2])
    url = f"{emulator.url}/endpoints/local/invocations"
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}", "-s", str(work / "wrk.lua"), url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in said, said
    calls = int(re.search(r"(\d+) requests in", said)[1])  # type: ignore[index]
    took = float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])  # type: ignore[index]
    return took, 1e6 * (sum(worker.cpu_times()[:2]) - before) / calls


@contextlib.contextmanager
def opened(chromium: Browser, emulator: Emulator) -> Iterator[Page]:
    page = chromium.new_page(viewport={"width": 1400, "height": 1000})
    page.add_init_script(MEASURE)
    try:
        page.goto(f"{emulator.url}/_localmme/")
        page.locator(".grid tbody tr:not(.spacer)").first.wait_for(timeout=120_000)
        yield page
    finally:
        page.close()


def cost_for_the_page(report: Report, work: Path, chromium: Browser) -> None:
    """From the start of the navigation to the first rows; and the main thread's time while calls go on."""
    emulator = served(work, MANY_MODELS, "--instances", "4")
    try:
        firsts = []
        for _ in range(3):
            with opened(chromium, emulator) as page:
                page.wait_for_timeout(1000)
                painted = page.evaluate("performance.getEntriesByType('paint').at(-1).startTime")
                firsts.append((painted, page.evaluate("measured.rows")))
        with opened(chromium, emulator) as page, calling(emulator):
            page.wait_for_timeout(3000)
            page.evaluate("Object.assign(measured, {frames: [], longTasks: [], messages: []})")
            page.wait_for_timeout(MANY_SECONDS * 1000)
            measured: dict[str, Any] = page.evaluate("measured")
    finally:
        emulator.stop()
    painted, rows = (statistics.median(each) for each in zip(*firsts, strict=True))
    report.add(
        f"page, {MANY_MODELS:,} models: first paint", f"{painted:.0f} ms", f"rows: {rows:.0f} ms", goal="less than 1 s"
    )
    frames = sorted(measured["frames"])
    messages = [took for _, took in measured["messages"]]
    report.add(
        f"page, {MANY_MODELS:,} models: update of the views",
        f"median {statistics.median(frames):.1f} ms, longest {frames[-1]:.1f} ms",
        f"reading a message: longest {max(messages):.1f} ms",
        goal="less than 50 ms",
        note=f"{len(frames)} in {MANY_SECONDS} s; {len(measured['longTasks'])} tasks of 50 ms and more",
    )


@contextlib.contextmanager
def calling(emulator: Emulator) -> Iterator[None]:
    """While somebody calls one model after the other."""
    client, stop = emulator.client(), threading.Event()

    def call() -> None:
        number = 0
        while not stop.is_set():
            number = (number + 7) % MANY_MODELS
            client.invoke_endpoint(
                EndpointName="local", TargetModel=f"{number}.tar.gz", Body=b"0.1,0.2,0.3", ContentType="text/csv"
            )

    caller = threading.Thread(target=call)
    caller.start()
    try:
        yield
    finally:
        stop.set()
        caller.join()
