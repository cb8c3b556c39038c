"""Runs ``localmme check`` as a user does, from its options on, and keeps what it reported."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from localmme.check.contract import CHECKS
from localmme.cli import main

NAMES = tuple(check.name for check in CHECKS)


@dataclass(frozen=True)
class Report:
    """What came of it."""

    exit_code: int
    checks: Mapping[str, Mapping[str, Any]]  # by name

    @property
    def verdicts(self) -> dict[str, str]:
        """By the checks' names."""
        return {name: check["verdict"] for name, check in self.checks.items()}

    def odd(self) -> dict[str, str]:
        """The verdicts that are not a pass."""
        return {name: verdict for name, verdict in self.verdicts.items() if verdict != "pass"}

    def __str__(self) -> str:
        return "\n".join(
            f"{name}: {check['verdict']} ({check['seconds']} s): {check['detail']}\n  {check['received'][:500]}"
            for name, check in self.checks.items()
            if check["verdict"] != "pass"
        )


def checked(*arguments: str, only: Iterable[str] | None = None) -> Report:
    """Check, all or ``only`` some; the report. In this process: another would take a second to import everything."""
    some = [] if only is None else ["--only", ",".join(only)]
    output = io.StringIO()
    with contextlib.redirect_stdout(output), pytest.raises(SystemExit) as ended:
        main(["check", *arguments, *some, "--json"])
    assert isinstance(ended.value.code, int) and ended.value.code in (0, 1), ended.value.code
    checks = {check["name"]: check for check in json.loads(output.getvalue())["checks"]}
    return Report(ended.value.code, checks)


def all_but(*names: str) -> list[str]:
    """The names of all other checks."""
    return [name for name in NAMES if name not in names]
