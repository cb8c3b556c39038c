"""What ``localmme check`` does when the reader of its report has gone, as in ``localmme check ... | head``."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from localmme.check import command


class Gone(io.StringIO):
    """A pipe that nobody reads."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_report_that_nobody_reads_ends_the_checks_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Gone())
    with command._display(as_json=False) as display:
        assert display.printer is not None
        with pytest.raises(BrokenPipeError):  # no SystemExit, which would break off the event loop
            display.printer.end(False, 0)


def test_that_is_not_taken_for_a_fault_of_the_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("localmme.check.report.print_list", gone)
    options: dict[str, Any] = {"image": None, "command": None, "handler": None, "url": None, "data": None}
    options |= {"content_type": None, "accept": None, "timeout": None, "only": None, "junit": None, "memory": "1GiB"}
    options |= {
        "inherit_env": False,
        "models": (),
        "environment": (),
        "limits": (),
        "fast": False,
        "as_json": False,
        "list_only": True,
    }
    with pytest.raises(BrokenPipeError):
        command.check(**options)
