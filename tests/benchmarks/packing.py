"""How fast ``localmme pack`` makes a model.tar.gz, beside ``tar czf``."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.extraction import make_model
from tests.benchmarks.report import Report, run


def seconds(*command: str) -> float:
    os.sync()  # what the last round left to be written must not slow down this one
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main(report: Report, megabytes: int = 256, rounds: int = 3) -> None:
    times = []
    with tempfile.TemporaryDirectory() as directory:
        model = Path(directory, "model")
        make_model(model, megabytes)
        theirs, mine = (str(Path(directory, name)) for name in ("theirs.tar.gz", "mine.tar.gz"))
        for number in range(1, rounds + 1):
            tar = seconds("tar", "czf", theirs, "-C", str(model), ".")
            ours = seconds(sys.executable, "-m", "localmme", "pack", str(model), "-o", mine)
            print(f"round {number}: tar czf {tar:.2f} s, localmme pack {ours:.2f} s")
            times.append((tar, ours))
    tar, ours = (statistics.median(each) for each in zip(*times))
    what = f"pack {megabytes} MB, median of {rounds}"
    report.add(what, f"{ours:.2f} s", f"tar czf {tar:.2f} s", tar / ours, "at least 1.00")


if __name__ == "__main__":
    run(main, __doc__, "size of the model, unpacked", "how often each of the two packs it")
