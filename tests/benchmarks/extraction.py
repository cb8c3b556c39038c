"""How fast a model.tar.gz is extracted, beside ``tar xzf``: python tests/benchmarks/extraction.py [--megabytes 1024]."""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))  # so that it also measures a checkout that is not installed

from emulator.artifacts.archive import extract  # noqa: E402

MEGABYTE = 1024 * 1024
DATA_FILES = 8
SMALL_FILES = 2000


def make_archive(work: Path, megabytes: int) -> Path:
    """A model of random float32 weights in a few large files, beside many small ones."""
    model = work / "model"
    (model / "small").mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(DATA_FILES):
        with open(model / f"weights-{number}.bin", "wb") as file:
            for _ in range(megabytes // DATA_FILES):
                file.write(random.standard_normal(MEGABYTE // 4, dtype=np.float32).tobytes())
    for number in range(SMALL_FILES):
        (model / "small" / f"{number}.json").write_text(f'{{"number": {number}}}\n' * 50)
    archive = work / "model.tar.gz"
    subprocess.run(["tar", "czf", archive, "-C", model, "."], check=True)
    shutil.rmtree(model)
    return archive


def with_tar(archive: Path, directory: Path) -> None:
    directory.mkdir()
    subprocess.run(["tar", "xzf", archive, "-C", directory], check=True)


def with_ours(archive: Path, directory: Path) -> None:
    extract(archive, directory, max_bytes=1 << 50, max_files=1 << 30)


def seconds(extraction: Callable[[Path, Path], None], archive: Path, directory: Path) -> float:
    os.sync()  # what the last round left to be written must not slow down this one
    start = time.perf_counter()
    extraction(archive, directory)
    taken = time.perf_counter() - start
    shutil.rmtree(directory)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1024, help="size of the model, unpacked")
    parser.add_argument("--rounds", type=int, default=5, help="how often each of the two extracts it")
    parser.add_argument("--directory", help="where to work, instead of the default temporary directory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as temporary:
        work = Path(temporary)
        archive = make_archive(work, options.megabytes)
        print(f"{options.megabytes} MB in an archive of {archive.stat().st_size // MEGABYTE} MB, in seconds:")
        print(f"{'round':>6}  {'tar xzf':>8}  {'localmme':>8}")
        rounds = []
        for number in range(1, options.rounds + 1):
            rounds.append([seconds(each, archive, work / "extracted") for each in (with_tar, with_ours)])
            print(f"{number:>6}  {rounds[-1][0]:8.2f}  {rounds[-1][1]:8.2f}")
        tar, ours = (statistics.median(times) for times in zip(*rounds))
        print(f"{'median':>6}  {tar:8.2f}  {ours:8.2f}")
        print(f"tar / localmme: {tar / ours:.2f}")


if __name__ == "__main__":
    main()
