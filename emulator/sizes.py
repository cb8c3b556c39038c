"""Sizes of memory and disk as people write them, such as 512MB and 1.5GiB, read and written."""

from __future__ import annotations

import re
from decimal import Decimal

from emulator.errors import SetupError

GIB = 2**30  # bytes
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(?:([KMGTP])I?)?B?", re.ASCII | re.IGNORECASE)


def parse_size(text: str) -> int:
    """Bytes of a size. Units are powers of 1024, as in ``docker run --memory``: M, MB and MiB are the same.

    Raises SetupError when the text is not a size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise SetupError(f"{text!r} is not a size: write 512MB, 1.5GiB or a number of bytes such as 100000000.")
    number, prefix = match.groups()
    return int(Decimal(number) * 1024 ** " KMGTP".index((prefix or " ").upper()))


def format_size(size: int) -> str:
    """A size for people, to a tenth of the largest unit that fits: ``1.5 GiB``."""
    number, unit = float(size), 0
    # 1023.95 and above would be shown as 1024.0, which is 1 of the next unit.
    while number >= 1023.95 and unit < len(_UNITS) - 1:
        number /= 1024
        unit += 1
    return f"{number:.1f}".removesuffix(".0") + f" {_UNITS[unit]}"
