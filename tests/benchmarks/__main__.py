"""Runs the benchmarks: ``python -m tests.benchmarks [NAME ...]``, by default all of them."""

from __future__ import annotations

import importlib
import sys

from tests.benchmarks.report import Report

ALL = ("resources", "extraction", "packing", "s3", "cold_start", "reload", "training", "serving", "page")

report = Report()
for name in sys.argv[1:] or ALL:
    importlib.import_module(f"tests.benchmarks.{name}").main(report)
report.print()
