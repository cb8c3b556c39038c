"""What a check has found: a verdict, its explanation, and the exchange that shows it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NoReturn

from localmme.check.calls import Exchange


class Verdict(str, Enum):
    """The outcome of a check.

    fail: SageMaker would break on it: an endpoint does not come up, a model cannot be used, an invocation fails.
    warn: the contract's sentence is not kept, but the platform copes.
    skipped: it could not be checked; the detail says why.
    """

    PASS = "pass"
    FAIL = "fail"
    WARN = "warn"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """What a check has found. (What is wrong with an archive is a ``pack.mistakes.Mistake``.)"""

    verdict: Verdict
    detail: str
    exchange: Exchange | None = None  # the exchange that shows it; None = none does


class CheckEnded(Exception):
    """Raised to end a check with a finding."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.detail)
        self.finding = finding


def passed(detail: str = "", exchange: Exchange | None = None) -> Finding:
    return Finding(Verdict.PASS, detail, exchange)


def failed(detail: str, exchange: Exchange | None = None) -> Finding:
    return Finding(Verdict.FAIL, detail, exchange)


def warned(detail: str, exchange: Exchange | None = None) -> Finding:
    return Finding(Verdict.WARN, detail, exchange)


def skipped(detail: str, exchange: Exchange | None = None) -> Finding:
    return Finding(Verdict.SKIPPED, detail, exchange)


def skip(detail: str, exchange: Exchange | None = None) -> NoReturn:
    """End the check under way as skipped."""
    raise CheckEnded(skipped(detail, exchange))


def fail(detail: str, exchange: Exchange | None = None) -> NoReturn:
    """End the check under way with a failure."""
    raise CheckEnded(failed(detail, exchange))


def warn(detail: str, exchange: Exchange | None = None) -> NoReturn:
    """End the check under way with a warning."""
    raise CheckEnded(warned(detail, exchange))
