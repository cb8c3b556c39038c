"""Numbers that strangers write: in the module that reads them, and wherever S3 takes one."""

from __future__ import annotations

import pytest

from emulator.aws.decimals import LARGEST, decimal
from emulator.aws.errors import AwsError
from emulator.services.s3.aws_chunked import AwsChunked
from emulator.services.s3.preconditions import byte_range, seconds


@pytest.mark.parametrize(
    "text, number",
    [
        ("0", 0),
        ("42", 42),
        ("0" * 5000 + "42", 42),
        ("9223372036854775807", LARGEST),
        ("9223372036854775808", LARGEST),
        ("9" * 5000, LARGEST),
        ("", None),
        (" 1", None),
        ("1\n", None),
        ("+1", None),
        ("-1", None),
        ("1_0", None),
        ("1.0", None),
        ("1e3", None),
        ("0x1", None),
        ("٣", None),
        ("²", None),
        ("\uff11", None),
    ],
)
def test_a_decimal_number_is_made_of_ascii_digits_and_has_a_largest(text: str, number: int | None) -> None:
    assert decimal(text) == number


MANY = "9" * 5000


@pytest.mark.parametrize(
    "asked, found",
    [
        ("bytes=0-4", (0, 5)),
        ("bytes=5-", (5, 5)),
        ("bytes=-3", (7, 3)),
        ("bytes=0-" + MANY, (0, 10)),
        ("bytes=-" + MANY, (0, 10)),
        ("bytes=5-4", None),
        ("bytes=٣-٤", None),
        ("bytes=-", None),
    ],
)
def test_a_range_is_what_of_it_there_is(asked: str, found: tuple[int, int] | None) -> None:
    assert byte_range(asked, 10) == found


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=-0", f"bytes={MANY}-", f"bytes={MANY}-{MANY}"])
def test_a_range_of_which_nothing_is_there_is_refused(asked: str) -> None:
    with pytest.raises(AwsError) as caught:
        byte_range(asked, 10)
    assert caught.value.code == "InvalidRange"


@pytest.mark.parametrize("size", [b"+1", b"-1", b"0x1", b"1_0", b" ", b"", b"g", b"f" * 17, b"9" * 4000])
def test_a_chunk_has_a_size_in_plain_hexadecimal(size: bytes) -> None:
    with pytest.raises(AwsError):
        AwsChunked().feed(size + b"\r\nx\r\n")


@pytest.mark.parametrize("date", ["", "x", "Mon, 01 Jan 99999 00:00:00 GMT", f"Mon, 01 Jan {MANY} 00:00:00 GMT",
                                  f"Mon, {MANY} Jan 2020 00:00:00 GMT", "Mon, 01 Jan 2020 999999999999:00:00 GMT",
                                  "Mon, 01 Jan 0001 00:00:00 +2359", "Mon, 01 Jan 9999 23:59:59 -2359",
                                  "Mon, 01 Jan 2020 00:00:00 +99999999999999999999"])  # fmt: skip
def test_what_is_no_date_is_overlooked(date: str) -> None:
    assert seconds(date) is None or isinstance(seconds(date), int)
