"""How long an edited handler takes from saving to the new answer with ``serve --reload``, and what many edits leave.

The models and the handler are those of samples/house_prices, which use scikit-learn: once with ``--handler``, once in a
directory in place of an archive. An edit is one call of ``write``; the call that follows at once is through boto3.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.benchmarks.cold_start import BODY, SAMPLE, trained
from tests.benchmarks.report import Report
from tests.support.emulator_process import Emulator
from tests.support.processes import open_files_and_threads
from tests.support.waiting import eventually

WARM_UP, EDITS, EDITS_IN_A_ROW = 5, 50, 200
EDIT = """

def output_fn(prediction, accept):
    return json.dumps({{**prediction, "edit": {}}})
"""


def main(report: Report) -> None:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        model = trained(work)[0]
        handler = work / "handler.py"
        save(handler, 0)
        archive = next((work / "s3").rglob("*.tar.gz"))
        arguments: tuple[str, ...] = ("--models", str(archive.parent), "--handler", str(handler))
        measure(report, "a handler", Emulator(*arguments, "--reload", state=work / "a"), archive.name, handler)

        inference = work / "unpacked" / "city" / "code" / "inference.py"
        shutil.copytree(model, work / "unpacked" / "city")
        inference.parent.mkdir()
        save(inference, 0)
        arguments = ("--models", str(work / "unpacked"), "--unpacked")
        emulator = Emulator(*arguments, "--reload", state=work / "b")
        measure(report, "an unpacked model", emulator, "city.tar.gz", inference)


def save(handler: Path, number: int) -> None:
    """The sample's handler, with an answer that says which edit it is."""
    handler.write_text((SAMPLE / "handler.py").read_text() + EDIT.format(number))


def measure(report: Report, what: str, emulator: Emulator, target_model: str, handler: Path) -> None:
    emulator.wait_in_service()
    try:
        numbers = iter(range(1, 10_000))

        def edit() -> float:
            number = next(numbers)
            begun = time.perf_counter()
            save(handler, number)
            answer = emulator.invoke(target_model, BODY)
            seconds = time.perf_counter() - begun
            assert answer["edit"] == number, answer
            return seconds

        assert emulator.invoke(target_model, BODY)["edit"] == 0
        for _ in range(WARM_UP):
            edit()
        seconds = [edit() for _ in range(EDITS)]
        p50 = f"{statistics.median(seconds):.3f} s"
        report.add(f"{what}, from saving to the new answer: p50", p50, goal="less than 0.3 s")
        report.add(f"{what}, from saving to the new answer: longest of {EDITS}", f"{max(seconds):.3f} s")
        in_a_row(report, what, emulator, edit)
    finally:
        emulator.stop()


def in_a_row(report: Report, what: str, emulator: Emulator, edit: Callable[[], float]) -> None:
    settled(emulator, len(emulator.processes()))
    before = used(emulator)
    for _ in range(EDITS_IN_A_ROW):
        edit()
    settled(emulator, before[0])
    after = used(emulator)
    for name, now, then, unit in zip(("processes", "open files", "memory"), after, before, ("", "", " MB")):
        report.add(f"{what}, {name} after {EDITS_IN_A_ROW} edits", f"{now:,.0f}{unit}", f"before {then:,.0f}{unit}")


def settled(emulator: Emulator, processes: int) -> None:
    """Wait until there are no more processes than that: the last worker but one may be about to end."""
    eventually(lambda: len(emulator.processes()) <= processes, what=f"{processes} processes")


def used(emulator: Emulator) -> tuple[int, int, float]:
    """Processes, their open files, and their memory in MB: anonymous pages, of which those that they share count once.

    Not pages of files: their shares change with other programs that use the same libraries.
    """
    processes: list[psutil.Process] = emulator.processes()
    files = sum(open_files_and_threads(process)[0] for process in processes)
    return len(processes), files, sum(map(anonymous_bytes, processes)) / 1e6


def anonymous_bytes(process: psutil.Process) -> int:
    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss_Anon:"))


if __name__ == "__main__":
    table = Report()
    main(table)
    table.print()
