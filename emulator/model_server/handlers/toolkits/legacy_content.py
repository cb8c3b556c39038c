"""Decodes and encodes JSON, CSV and NPY as the library under SageMaker's scikit-learn and XGBoost containers does.

It differs from the inference toolkit in CSV, and takes one content type to encode, never a list.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

from emulator.model_server.handlers import content
from emulator.model_server.handlers.content import CSV


class ClientError(Exception):
    """The body cannot be read."""


def decode(body: Any, content_type: str | None) -> Any:
    """``body`` as an array. Raises UnsupportedFormatError, or whatever parsing raises."""
    return content.convert(_DECODERS, content_type, body)


def encode(prediction: Any, accept: str) -> Any:
    """The prediction in a content type. Raises UnsupportedFormatError, or whatever encoding raises."""
    return content.convert(_ENCODERS, accept, prediction)


def _decode_csv(body: str) -> Any:
    """Cells as text, without the dimensions that have one element only."""
    import numpy

    try:
        return numpy.array(list(csv.reader(io.StringIO(body), strict=True))).squeeze().astype(None)
    except ValueError:
        raise
    except Exception as error:
        raise ClientError(f"Error while decoding csv: {error}") from error


def _encode_csv(prediction: Any) -> str:
    import numpy

    array = numpy.array(prediction)
    if array.ndim == 1:
        array = array.reshape(-1, 1)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", strict=True).writerows(array)
    return text.getvalue()


_DECODERS: dict[str | None, Callable[[Any], Any]] = {**content.DECODERS, CSV: _decode_csv}
_ENCODERS: dict[str, Callable[[Any], Any]] = {**content.ENCODERS, CSV: _encode_csv}
del _DECODERS[content.NPZ]
