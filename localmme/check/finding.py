"""What a check found: its verdict, in which words, and by which exchange."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NoReturn

from localmme.check.calls import Exchange


class Verdict(str, Enum):
    """How it ended.

    fail: SageMaker would break on it: an endpoint does not come up, a model cannot be used, an invocation fails.
    warn: the contract's sentence is not kept, but the platform copes.
    skipped: it could not be told, for the reason in the detail.
    """

    PASS = "pass"
    FAIL = "fail"
    WARN = "warn"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    verdict: Verdict
    detail: str
    exchange: Exchange | None = None  # that which told; None = it was not told by one


class CheckEnded(Exception):
    """Ends a check from wherever it is with a finding."""

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
    """End the check under way: it cannot be told."""
    raise CheckEnded(skipped(detail, exchange))


def fail(detail: str, exchange: Exchange | None = None) -> NoReturn:
    """End the check under way with a failure."""
    raise CheckEnded(failed(detail, exchange))
