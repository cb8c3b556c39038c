"""Sizes as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import SetupError
from emulator.sizes import format_size, parse_size

KIB, MIB, GIB, TIB = 1024, 1024**2, 1024**3, 1024**4


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("100000000", 100_000_000),
        ("0", 0),
        ("7b", 7),
        ("512MB", 512 * MIB),
        ("512M", 512 * MIB),
        ("512m", 512 * MIB),
        ("512MiB", 512 * MIB),
        ("512Mi", 512 * MIB),
        ("1.5GiB", GIB + GIB // 2),
        ("16GB", 16 * GIB),
        (" 16 gb ", 16 * GIB),
        ("2k", 2 * KIB),
        ("0.5TB", TIB // 2),
        ("1.1KiB", 1126),
    ],
)
def test_sizes_are_read_as_docker_reads_them(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "GB", "-1GB", "1,5GB", "1e9", "five", "1.GB", ".5GB", "5 mib b", "1XB", "5i", "5iB", "٣GB"]
)
def test_anything_else_is_refused_with_examples(text):
    with pytest.raises(SetupError) as refusal:
        parse_size(text)
    message = str(refusal.value)
    assert repr(text) in message and "512MB" in message and "1.5GiB" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (KIB, "1 KiB"),
        (GIB + GIB // 2, "1.5 GiB"),
        (MIB - 1, "1 MiB"),
        (16 * GIB, "16 GiB"),
        (5000 * 1024**5, "5000 PiB"),
    ],
)
def test_sizes_are_written_for_people(size, text):
    assert format_size(size) == text


@given(number=st.integers(1, 1023), unit=st.sampled_from([1, KIB, MIB, GIB, TIB]))
def test_a_whole_number_of_units_survives_the_round_trip(number, unit):
    assert parse_size(format_size(number * unit)) == number * unit


@given(st.integers(0, 2**70))
def test_what_was_written_is_read_back_to_the_shown_precision(size):
    shown = format_size(size)
    read = parse_size(shown)
    assert abs(read - size) <= 0.05 * size
    assert format_size(read) == shown
