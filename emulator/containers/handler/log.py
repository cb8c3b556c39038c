"""What a worker says in the log: each message in one write, so that the lines of several workers do not mix."""

from __future__ import annotations

import logging
import sys
import traceback


def start() -> None:
    """Have what the handler prints and logs come out line by line, whatever characters are in it."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    # As in Multi Model Server, a handler's logging.info() is seen without further ado.
    logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)


def failure(what: str) -> None:
    """Say ``what`` failed, with the traceback of the exception being handled."""
    sys.stderr.write(f"{what}\n{traceback.format_exc()}")
