"""Reads RecordIO-Protobuf: rows of numbers, dense or sparse, in the format of SageMaker's built-in algorithms."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

_MAGIC = 0xCED7230A
# The tensors of a row, by their field's number in the message Value.
_DTYPES = {2: "<f4", 3: "<f8", 7: "int32"}


def matrix(body: bytes) -> Any:
    """The rows as a NumPy array, or, if they have keys, as a sparse matrix of SciPy. Raises ValueError."""
    import numpy

    rows = [_row(record) for record in _records(body)]
    if not rows:
        raise ValueError("The body has no records.")
    if not any(len(keys) for _, keys, _ in rows):
        return numpy.vstack([values for values, _, _ in rows])
    import scipy.sparse

    ends = numpy.cumsum([0, *(len(values) for values, _, _ in rows)])
    values, keys = (numpy.concatenate(column) for column in list(zip(*rows))[:2])
    width = max(int(shape[-1]) for _, _, shape in rows if len(shape))
    return scipy.sparse.csr_matrix((values, keys, ends), shape=(len(rows), width))


def _records(body: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(body):
        if len(body) < at + 8 or struct.unpack_from("<I", body, at)[0] != _MAGIC:
            raise ValueError(f"There is no record at byte {at}.")
        length = struct.unpack_from("<I", body, at + 4)[0]
        yield body[at + 8 : at + 8 + length]
        at += 8 + (length + 3) // 4 * 4


def _row(record: bytes) -> tuple[Any, Any, Any]:
    """The values, keys and shape of the feature ``values`` in a message Record."""
    import numpy

    for number, entry in _fields(record):
        if number != 1:  # features
            continue
        feature = dict(_fields(entry))
        if feature.get(1) != b"values":
            continue
        for kind, tensor in _fields(feature[2]):
            parts = dict(_fields(tensor))
            values, keys, shape = (parts.get(part, b"") for part in (1, 2, 3))
            if kind in _DTYPES:
                numbers = (
                    numpy.array(list(_varints(values))).astype(numpy.int32)
                    if _DTYPES[kind] == "int32"
                    else numpy.frombuffer(values, _DTYPES[kind])
                )
                return numbers, numpy.array(list(_varints(keys)), int), list(_varints(shape))
    raise ValueError("A record has no feature values.")


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The numbers and bytes of a message's fields. Raises ValueError for kinds that Record does not have."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag & 7 != 2:
            raise ValueError("A record is not a message of the type Record.")
        length, at = _varint(message, at)
        yield tag >> 3, message[at : at + length]
        at += length


def _varints(packed: bytes) -> Iterator[int]:
    at = 0
    while at < len(packed):
        number, at = _varint(packed, at)
        yield number if number < 1 << 63 else number - (1 << 64)


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number, and where it ends."""
    number = shift = 0
    while True:
        if at >= len(message):
            raise ValueError("A record is cut off.")
        byte = message[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at
