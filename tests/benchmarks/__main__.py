"""Runs the benchmarks: ``python -m tests.benchmarks [resources] [extraction] [packing] [s3] [serving]``, all by default."""

from __future__ import annotations

import importlib
import sys

from tests.benchmarks.report import Report

ALL = ("resources", "extraction", "packing", "s3", "serving")

report = Report()
for name in sys.argv[1:] or ALL:
    importlib.import_module(f"tests.benchmarks.{name}").main(report)
report.print()
