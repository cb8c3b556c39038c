"""Records and mini-batches of a transform job."""

import io
import struct

import pytest

from emulator.jobs.record_splitting import MB, Record, RecordProblem, SplitType, body_of, mini_batches, records

TOO_LONG = "ClientError: Too much data for max payload size"


def in_recordio(data: bytes, part: int = 0) -> bytes:
    return struct.pack("<II", 0xCED7230A, part << 29 | len(data)) + data + bytes(-len(data) % 4)


def in_tfrecord(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + b"crc." + data + b"crc."


def split(source: bytes, kind: SplitType, max_bytes: int = 0) -> list[bytes]:
    return [record.data for record in records(io.BytesIO(source), kind, max_bytes)]


@pytest.mark.parametrize(
    ("kind", "source", "expected"),
    [
        ("None", b"a\nb\n", [b"a\nb\n"]),
        ("None", b"", [b""]),
        ("Line", b"1,2\n3,4\n", [b"1,2", b"3,4"]),
        ("Line", b"1,2\n3,4", [b"1,2", b"3,4"]),
        ("Line", b"1,2\r\n\r\n\n3,4\r\n", [b"1,2", b"3,4"]),
        ("Line", b"", []),
        ("RecordIO", in_recordio(b"abc") + in_recordio(b"") + in_recordio(b"abcd"), [b"abc", b"", b"abcd"]),
        (
            "RecordIO",
            in_recordio(b"ab", 1) + in_recordio(b"cd", 2) + in_recordio(b"e", 3) + in_recordio(b"f"),
            [struct.pack("<I", 0xCED7230A).join([b"ab", b"cd", b"e"]), b"f"],
        ),
        ("TFRecord", in_tfrecord(b"abc") + in_tfrecord(b""), [b"abc", b""]),
    ],
)
def test_data_are_split_into_records(kind: SplitType, source: bytes, expected: list[bytes]) -> None:
    assert split(source, kind) == expected


@pytest.mark.parametrize(
    ("kind", "source", "message"),
    [
        ("RecordIO", b"1,2\n3,4\n", "ClientError: The data is not in RecordIO format"),
        ("RecordIO", in_recordio(b"abc")[:-1], "ClientError: The data ends within a RecordIO record"),
        ("RecordIO", in_recordio(b"abc")[:6], "ClientError: The data is not in RecordIO format"),
        ("RecordIO", in_recordio(b"abc", 1), "ClientError: The data ends within a RecordIO record"),
        ("TFRecord", in_tfrecord(b"abc")[:-1], "ClientError: The data ends within a TFRecord record"),
        ("TFRecord", b"short", "ClientError: The data ends within a TFRecord record"),
        ("TFRecord", b"\xff" * 64, "ClientError: The data ends within a TFRecord record"),
    ],
)
def test_broken_data_are_reported(kind: SplitType, source: bytes, message: str) -> None:
    with pytest.raises(RecordProblem, match=message):
        split(source, kind)


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("None", b"x" * 11),
        ("Line", b"x" * 11),
        ("Line", b"x" * 10 + b"\n"),
        ("RecordIO", in_recordio(b"xyz")),
        ("TFRecord", b"\xff" * 64),
    ],
)
def test_a_record_that_is_too_long_is_not_read(kind: SplitType, source: bytes) -> None:
    with pytest.raises(RecordProblem, match=TOO_LONG):
        split(source, kind, max_bytes=10)


@pytest.mark.parametrize(
    ("single", "max_bytes", "expected"),
    [
        (False, 0, [b"1\n22\n333\n4"]),
        (False, 7, [b"1\n22\n", b"333\n4"]),
        (False, 4, [b"1\n", b"22\n", b"333\n", b"4"]),
        (True, 7, [b"1", b"22", b"333", b"4"]),
    ],
)
def test_records_are_grouped_up_to_the_largest_payload(single: bool, max_bytes: int, expected: list[bytes]) -> None:
    found = records(io.BytesIO(b"1\n22\n333\n4"), "Line", max_bytes)
    assert [body_of(batch, single) for batch in mini_batches(found, single, max_bytes)] == expected


def test_binary_records_keep_their_wrapping_only_together() -> None:
    source = in_recordio(b"abc") + in_recordio(b"de")
    assert [body_of(b, False) for b in mini_batches(records(io.BytesIO(source), "RecordIO", 0), False, 0)] == [source]
    alone = mini_batches(records(io.BytesIO(source), "RecordIO", 0), True, 0)
    assert [body_of(batch, True) for batch in alone] == [b"abc", b"de"]


def test_only_one_mini_batch_is_read_at_a_time() -> None:
    source = io.BytesIO(b"0123456\n" * MB)
    next(mini_batches(records(source, "Line", MB), False, MB))
    assert source.tell() <= 2 * MB


def test_a_record_that_grew_is_refused_as_well() -> None:
    with pytest.raises(RecordProblem, match=TOO_LONG):
        list(mini_batches([Record(b"long", b"long\n")], False, 4))
