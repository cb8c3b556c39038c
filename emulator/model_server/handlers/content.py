"""Decodes and encodes JSON, CSV and NPY as SageMaker's inference toolkit does for handlers without functions for it.

numpy is imported when the first request needs it. Where it is not installed, JSON and CSV are lists instead of arrays.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

JSON, CSV, NPY, NPZ = "application/json", "text/csv", "application/x-npy", "application/x-npz"
TEXT = (JSON, CSV)  # handlers get these as str


class UnsupportedFormatError(Exception):
    """The request's content type, or every accepted content type, is not supported."""

    def __init__(self, content_type: str | None) -> None:
        indent = " " * 12  # in the toolkit's text, byte for byte
        super().__init__(
            f"Content type {content_type} is not supported by this framework.\n\n"
            f"{indent}Please implement input_fn to to deserialize the request data or an output_fn to\n"
            f"{indent}serialize the response. For more information, see the SageMaker Python SDK README."
        )


def decode(body: Any, content_type: str | None) -> Any:
    """``body`` as an array. The content type must match exactly: with parameters, such as a charset, it does not.

    Raises UnsupportedFormatError, or whatever parsing raises.
    """
    return convert(DECODERS, content_type, body)


def convert(converters: Mapping[Any, Callable[..., Any]], content_type: str | None, *arguments: Any) -> Any:
    """What the content type's converter makes of the arguments. Raises what that raises.

    Raises UnsupportedFormatError when there is none, and, as the toolkits do, for a KeyError within it.
    """
    try:
        return converters[content_type](*arguments)
    except KeyError:
        raise UnsupportedFormatError(content_type) from None


def encode(prediction: Any, accept: str) -> tuple[Any, str]:
    """The prediction in the first accepted content type that is supported, and that content type.

    Raises UnsupportedFormatError.
    """
    for content_type in accept.replace(" ", "").split(","):
        if content_type in ENCODERS:
            return ENCODERS[content_type](prediction), content_type
    raise UnsupportedFormatError(accept)


def _numpy() -> ModuleType | None:
    try:
        import numpy
    except ImportError:
        return None
    return numpy


def _needed_numpy() -> ModuleType:
    numpy = _numpy()
    if numpy is None:
        raise ModuleNotFoundError("NPY needs numpy: install it where localmme runs")
    return numpy


def _decode_json(body: str) -> Any:
    data, numpy = json.loads(body), _numpy()
    return numpy.array(data) if numpy else data


def _decode_csv(body: str) -> Any:
    if numpy := _numpy():
        return numpy.genfromtxt(io.StringIO(body), dtype=None, delimiter=",")
    rows = [[_number(cell) for cell in row] for row in csv.reader(io.StringIO(body)) if row]
    return rows[0] if len(rows) == 1 else rows


def _number(cell: str) -> Any:
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            pass
    return cell


def _decode_npy(body: bytes) -> Any:
    # Unlike the toolkit, this does not unpickle arrays of objects: that would run code from a request.
    return _needed_numpy().load(io.BytesIO(body))


def _decode_npz(body: bytes) -> Any:
    import scipy.sparse

    return scipy.sparse.load_npz(io.BytesIO(body))


def _encode_json(prediction: Any) -> str:
    return json.dumps(prediction, default=_as_list)


def _as_list(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _encode_csv(prediction: Any) -> str:
    text = io.StringIO()
    if numpy := _numpy():
        numpy.savetxt(text, prediction, delimiter=",", fmt="%s")
    else:
        rows = [row if isinstance(row, (list, tuple)) else [row] for row in prediction]
        csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _encode_npy(prediction: Any) -> bytes:
    file = io.BytesIO()
    _needed_numpy().save(file, prediction)
    return file.getvalue()


DECODERS: dict[str | None, Callable[[Any], Any]] = {
    JSON: _decode_json,
    CSV: _decode_csv,
    NPY: _decode_npy,
    NPZ: _decode_npz,
}
ENCODERS: dict[str, Callable[[Any], Any]] = {JSON: _encode_json, CSV: _encode_csv, NPY: _encode_npy}
