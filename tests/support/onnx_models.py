"""ONNX models, made without the package ``onnx``: protocol buffers with the few fields that are needed.

The numbers of the fields are those of onnx.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

FLOAT, INT64 = 1, 7  # TensorProto.DataType


def linear(weights: Sequence[float], bias: float) -> bytes:
    """A model with the input ``rows``, of any number of rows of floats, and one output with a number for each row."""
    nodes = [("Gemm", ["rows", "weights", "bias"], ["prediction"])]
    initial = [_tensor("weights", [len(weights), 1], weights), _tensor("bias", [1], [bias])]
    return _model(nodes, {"rows": (FLOAT, ["n", len(weights)])}, {"prediction": (FLOAT, ["n", 1])}, initial)


def sum_and_difference() -> bytes:
    """A model with two inputs of integers, ``a`` and ``b``, and two outputs, ``sum`` and ``difference``."""
    nodes = [("Add", ["a", "b"], ["sum"]), ("Sub", ["a", "b"], ["difference"])]
    column: tuple[int, list[int | str]] = (INT64, ["n", 1])
    return _model(nodes, {"a": column, "b": column}, {"sum": column, "difference": column}, [])


_Values = Mapping[str, tuple[int, list[int | str]]]  # name -> type and sizes; a size that is a name is any number


def _model(
    nodes: Sequence[tuple[str, list[str], list[str]]], inputs: _Values, outputs: _Values, initial: Sequence[bytes]
) -> bytes:
    graph = b"".join(
        (
            *(_node(*node) for node in nodes),
            _field(2, b"graph"),
            *(_field(5, tensor) for tensor in initial),
            *(_field(11, _value(name, *of)) for name, of in inputs.items()),
            *(_field(12, _value(name, *of)) for name, of in outputs.items()),
        )
    )
    return _field(1, 8) + _field(7, graph) + _field(8, _field(2, 13))


def _node(operator: str, inputs: list[str], outputs: list[str]) -> bytes:
    names = [_field(1, name.encode()) for name in inputs] + [_field(2, name.encode()) for name in outputs]
    return _field(1, b"".join(names) + _field(4, operator.encode()))


def _value(name: str, kind: int, sizes: list[int | str]) -> bytes:
    shape = b"".join(
        _field(1, _field(1, size) if isinstance(size, int) else _field(2, size.encode())) for size in sizes
    )
    return _field(1, name.encode()) + _field(2, _field(1, _field(1, kind) + _field(2, shape)))


def _tensor(name: str, sizes: Sequence[int], values: Sequence[float]) -> bytes:
    data = struct.pack(f"<{len(values)}f", *values)
    return b"".join(_field(1, size) for size in sizes) + _field(2, FLOAT) + _field(8, name.encode()) + _field(9, data)


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
