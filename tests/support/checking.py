"""Runs ``localmme check`` as a user does, from its options on, and keeps what it reported."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from unittest import mock

import pytest

from localmme.check.checks import CHECKS
from localmme.cli.main import main

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


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``localmme check`` in this process: another would take a second to import everything."""
    out, err = io.StringIO(), io.StringIO()
    redirected = (contextlib.redirect_stdout(out), contextlib.redirect_stderr(err))
    with redirected[0], redirected[1], mock.patch.dict(os.environ, environment), pytest.raises(SystemExit) as ended:
        main(["check", *arguments])
    assert isinstance(ended.value.code, int)
    return subprocess.CompletedProcess(arguments, ended.value.code, out.getvalue(), err.getvalue())


def checked(*arguments: str, only: Iterable[str] | None = None) -> Report:
    """Check, all or ``only`` some; the report."""
    some = [] if only is None else ["--only", ",".join(only)]
    done = run(*arguments, *some, "--json")
    assert done.returncode in (0, 1), done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    return Report(done.returncode, checks)


def all_but(*names: str) -> list[str]:
    """The names of all other checks."""
    return [name for name in NAMES if name not in names]
