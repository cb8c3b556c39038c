"""Runs ``localmme check`` as a user does, and keeps what it reported."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from localmme.check.contract import CHECKS
from tests.running import REPOSITORY

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
    """Check, all or ``only`` some; the report."""
    some = [] if only is None else ["--only", ",".join(only)]
    command = [sys.executable, "-m", "localmme.cli", "check", *arguments, *some, "--json"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=280)
    assert done.returncode in (0, 1) and done.stdout, done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    return Report(done.returncode, checks)


def all_but(*names: str) -> list[str]:
    """The names of all other checks."""
    return [name for name in NAMES if name not in names]
