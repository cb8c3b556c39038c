"""Decimal numbers in requests, where any text may be sent.

``int`` takes the digits of all scripts, signs and underscores, and raises for more than 4,300 digits.
"""

from __future__ import annotations

LARGEST = 2**63 - 1


def decimal(text: str) -> int | None:
    """The number that ASCII digits say, LARGEST at most; None for anything else."""
    if not text.isascii() or not text.isdecimal():
        return None
    digits = text.lstrip("0") or "0"
    return min(int(digits), LARGEST) if len(digits) < 20 else LARGEST
