"""Splits the data of a transform job into records, and groups these into the mini-batches that containers get. [api]

Only the record that is read and the mini-batch that is filled are in memory.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from typing import Literal

from emulator.errors import EmulatorError

SplitType = Literal["None", "Line", "RecordIO", "TFRecord"]
MB = 1 << 20  # [ours] that a MB of MaxPayloadInMB has 2**20 bytes
RECORDIO_MAGIC = 0xCED7230A
RECORDIO_LENGTH_BITS = 29  # of the second word; above them is which part of a record it is


class RecordProblem(EmulatorError):
    """An input object cannot be transformed: the words for the job's log."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of an input object."""

    data: bytes  # without line end, header and padding
    wrapped: bytes  # as it is in the object


def too_long() -> RecordProblem:
    """A record, or an object that is not split, is over MaxPayloadInMB. [ours] The words."""
    return RecordProblem("ClientError: Too much data for max payload size")


def records(source: BufferedIOBase, split: SplitType, max_bytes: int) -> Iterator[Record]:
    """The records of an object. ``max_bytes`` of each, 0 = any number. Blocks.

    Lines that are empty are no records. [ours] Raises RecordProblem for a record that is longer, or broken.
    """
    if split == "Line":
        yield from _lines(source, max_bytes)
    elif split == "RecordIO":
        yield from _recordio(source, max_bytes)
    elif split == "TFRecord":
        yield from _tfrecords(source, max_bytes)
    else:
        whole = source.read(max_bytes + 1 if max_bytes else -1)
        _check(len(whole), max_bytes)
        yield Record(whole, whole)


def mini_batches(found: Iterable[Record], single: bool, max_bytes: int) -> Iterator[list[Record]]:
    """The records in groups: of one each if ``single``, or else of as many as ``max_bytes`` hold (0 = all).

    Raises RecordProblem for a record that is longer.
    """
    batch: list[Record] = []
    size = 0
    for record in found:
        _check(len(record.wrapped), max_bytes)
        if batch and (single or (max_bytes and size + len(record.wrapped) > max_bytes)):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += len(record.wrapped)
    if batch:
        yield batch


def body_of(batch: list[Record], single: bool) -> bytes:
    """What a container gets of a mini-batch: a record alone without its wrapping, several as they are. [api]"""
    return batch[0].data if single else b"".join(record.wrapped for record in batch)


def _lines(source: BufferedIOBase, max_bytes: int) -> Iterator[Record]:
    while line := source.readline(max_bytes + 1 if max_bytes else -1):
        _check(len(line), max_bytes)
        data = line.removesuffix(b"\n").removesuffix(b"\r")
        if data:
            yield Record(data, line)


def _recordio(source: BufferedIOBase, max_bytes: int) -> Iterator[Record]:
    """Records of MXNet's RecordIO. One whose data contains the magic number is in several parts, without it between."""
    data, wrapped = [], b""
    while header := source.read(8):
        if len(header) < 8 or struct.unpack_from("<I", header)[0] != RECORDIO_MAGIC:
            raise RecordProblem("ClientError: The data is not in RecordIO format")
        (word,) = struct.unpack_from("<I", header, 4)
        part, length = word >> RECORDIO_LENGTH_BITS, word & ((1 << RECORDIO_LENGTH_BITS) - 1)
        padded = length + -length % 4
        _check(len(wrapped) + len(header) + padded, max_bytes)
        body = _read(source, padded, "RecordIO")
        data.append(body[:length])
        wrapped += header + body
        if part in (0, 3):  # a whole record, or the last part of one
            yield Record(struct.pack("<I", RECORDIO_MAGIC).join(data), wrapped)
            data, wrapped = [], b""
    if wrapped:
        raise RecordProblem("ClientError: The data ends within a RecordIO record")


def _tfrecords(source: BufferedIOBase, max_bytes: int) -> Iterator[Record]:
    """Records of TensorFlow's TFRecord: a length and its checksum before the data, the data's checksum after it."""
    while header := source.read(12):
        if len(header) < 12:
            raise RecordProblem("ClientError: The data ends within a TFRecord record")
        (length,) = struct.unpack_from("<Q", header)
        _check(len(header) + length + 4, max_bytes)
        body = _read(source, length + 4, "TFRecord")
        yield Record(body[:length], header + body)


def _read(source: BufferedIOBase, size: int, kind: str) -> bytes:
    try:
        body = source.read(size)
    except (OverflowError, MemoryError):  # a length that cannot be right
        body = b""
    if len(body) < size:
        raise RecordProblem(f"ClientError: The data ends within a {kind} record")
    return body


def _check(size: int, max_bytes: int) -> None:
    if max_bytes and size > max_bytes:
        raise too_long()
