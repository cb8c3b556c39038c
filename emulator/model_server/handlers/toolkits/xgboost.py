"""SageMaker's XGBoost container in script mode: CSV, LIBSVM and RecordIO-Protobuf become a DMatrix.

That container serves many models only in algorithm mode, which is without a handler. What is here is what its
single-model endpoints do with a handler.
"""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path
from typing import Any

from emulator.model_server.handlers.content import CSV, UnsupportedFormatError
from emulator.model_server.handlers.toolkits import legacy_content, recordio
from emulator.model_server.handlers.toolkits.toolkit import Toolkit
from emulator.model_server.handlers.toolkits.transformer import Defaults, Transformer, missing


def _input_fn(body: Any, content_type: str) -> Any:
    kind = content_type.partition(";")[0].strip()
    if kind not in _DECODERS:
        raise UnsupportedFormatError(kind)
    return _DECODERS[kind](body)


def _decode_csv(body: Any) -> Any:
    """Rows without a header; the delimiter is guessed from the first one, and an empty cell is a missing value."""
    import numpy
    import xgboost

    text = body.decode() if isinstance(body, bytes) else body
    rows = text.split("\n")
    delimiter = csv.Sniffer().sniff(rows[0][:512]).delimiter
    delimiter = "," if delimiter.isalnum() else delimiter
    cells = [[cell or "nan" for cell in row.split(delimiter)] for row in rows]
    return xgboost.DMatrix(numpy.array(cells).astype(None))


def _decode_libsvm(body: Any) -> Any:
    import xgboost

    with tempfile.TemporaryDirectory() as directory:  # of its own: all files beside the one to read are looked at
        file = Path(directory, "rows")
        file.write_bytes(body)
        return xgboost.DMatrix(f"{file}?format=libsvm")


def _decode_recordio(body: Any) -> Any:
    import xgboost

    return xgboost.DMatrix(recordio.matrix(bytes(body)))


def _predict_fn(data: Any, model: Any) -> Any:
    return model.predict(data, validate_features=False)


_DECODERS = {
    CSV: _decode_csv,
    "text/libsvm": _decode_libsvm,
    "text/x-libsvm": _decode_libsvm,
    "application/x-recordio-protobuf": _decode_recordio,
}
DEFAULTS = Defaults(
    missing("model_fn", "https://github.com/aws/sagemaker-python-sdk"), _input_fn, _predict_fn, legacy_content.encode
)
TOOLKIT = Toolkit(
    "SageMaker's XGBoost container", lambda handler: Transformer(handler, DEFAULTS), ("",), takes_submitted=True
)
