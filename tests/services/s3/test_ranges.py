"""Which bytes a Range header requests."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.aws.errors import AwsError
from emulator.services.s3.preconditions import byte_range


@pytest.mark.parametrize(
    ("asked", "size", "found"),
    [
        (None, 10, None),
        ("bytes=0-0", 10, (0, 1)),
        ("bytes=2-", 10, (2, 8)),
        ("bytes=-3", 10, (7, 3)),
        ("bytes=-30", 10, (0, 10)),
        ("bytes=5-99", 10, (5, 5)),
        ("bytes=5-2", 10, None),
        ("bytes=-", 10, None),
        ("bytes=0-1,3-4", 10, None),
        ("items=0-1", 10, None),
        ("bytes=10-", 10, 416),
        ("bytes=-0", 10, 416),
        ("bytes=-1", 0, 416),
        ("bytes=0-", 0, 416),
    ],
)
def test_ranges(asked: str | None, size: int, found: Any) -> None:
    if found == 416:
        with pytest.raises(AwsError, match="not satisfiable"):
            byte_range(asked, size)
    else:
        assert byte_range(asked, size) == found
