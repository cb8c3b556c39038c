"""How fast a model.tar.gz is extracted, beside ``tar xzf``."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from emulator.archives.extraction import extract
from tests.benchmarks.report import Report, run

MEGABYTE = 1024 * 1024
DATA_FILES = 8
SMALL_FILES = 2000


def make_model(model: Path, megabytes: int) -> None:
    """A directory of random float32 weights in a few large files, beside many small ones."""
    (model / "small").mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(DATA_FILES):
        with open(model / f"weights-{number}.bin", "wb") as file:
            for _ in range(megabytes // DATA_FILES):
                file.write(random.standard_normal(MEGABYTE // 4, dtype=np.float32).tobytes())
    for number in range(SMALL_FILES):
        (model / "small" / f"{number}.json").write_text(f'{{"number": {number}}}\n' * 50)


def make_archive(work: Path, megabytes: int) -> Path:
    """An archive of such a model."""
    model = work / "model"
    make_model(model, megabytes)
    archive = work / "model.tar.gz"
    subprocess.run(["tar", "czf", archive, "-C", model, "."], check=True)
    shutil.rmtree(model)
    return archive


def with_tar(archive: Path, directory: Path) -> None:
    directory.mkdir()
    subprocess.run(["tar", "xzf", archive, "-C", directory], check=True)


def with_ours(archive: Path, directory: Path) -> None:
    with open(archive, "rb") as file:
        extract(file, directory, max_bytes=1 << 50, max_files=1 << 30)


def seconds(extraction: Callable[[Path, Path], None], archive: Path, directory: Path) -> float:
    os.sync()  # what the last round left to be written must not slow down this one
    start = time.perf_counter()
    extraction(archive, directory)
    taken = time.perf_counter() - start
    shutil.rmtree(directory)
    return taken


def main(report: Report, megabytes: int = 1024, rounds: int = 5) -> None:
    times = []
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        archive = make_archive(work, megabytes)
        for number in range(1, rounds + 1):
            tar, ours = (seconds(extraction, archive, work / "extracted") for extraction in (with_tar, with_ours))
            print(f"round {number}: tar xzf {tar:.2f} s, localmme {ours:.2f} s")
            times.append((tar, ours))
    tar, ours = (statistics.median(each) for each in zip(*times))
    what = f"extract {megabytes} MB, median of {rounds}"
    report.add(what, f"{ours:.2f} s", f"tar xzf {tar:.2f} s", tar / ours, "at least 1.00, better 1.50")


if __name__ == "__main__":
    run(main, __doc__, "size of the model, unpacked", "how often each of the two extracts it")
