"""SageMaker's XGBoost container in script mode, by its published behaviour, as it is on no package index.

The inference toolkit's service, the encoders of ``sagemaker-containers`` and XGBoost are the real ones. RecordIO, which
that container reads with a library of C++, is read here by the messages of ``sagemaker-containers``.
"""

from __future__ import annotations

import csv
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import scipy.sparse
import xgboost
from sagemaker_containers import _encoders, _errors, record_pb2
from sagemaker_inference.default_handler_service import DefaultHandlerService
from sagemaker_inference.default_inference_handler import DefaultInferenceHandler
from sagemaker_inference.transformer import Transformer


def model_fn(model_dir: str) -> Any:
    documentation = "https://github.com/aws/sagemaker-python-sdk"
    raise NotImplementedError(
        f"\nPlease provide a model_fn implementation.\nSee documentation for model_fn at {documentation}\n"
    )


def input_fn(body: Any, content_type: str) -> Any:
    media_type = content_type.split(";")[0].strip()
    if media_type == "text/csv":
        text = body.decode() if isinstance(body, bytes) else body
        delimiter = csv.Sniffer().sniff(text.split("\n")[0][:512]).delimiter
        delimiter = "," if delimiter.isalnum() else delimiter
        rows = [["nan" if cell == "" else cell for cell in line.split(delimiter)] for line in text.split("\n")]
        return xgboost.DMatrix(numpy.array(rows).astype(None))
    if media_type in ("text/libsvm", "text/x-libsvm"):
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory, "rows")
            file.write_bytes(body)
            return xgboost.DMatrix(f"{file}?format=libsvm")
    if media_type == "application/x-recordio-protobuf":
        return xgboost.DMatrix(rows_of(bytes(body)))
    raise _errors.UnsupportedFormatError(media_type)


def rows_of(body: bytes) -> Any:
    tensors = list(tensors_of(body))
    if not tensors[0].keys:
        return numpy.vstack([numpy.array(tensor.values) for tensor in tensors])
    width = tensors[0].shape[0]
    return scipy.sparse.vstack(
        [scipy.sparse.csr_matrix((list(t.values), list(t.keys), [0, len(t.keys)]), (1, width)) for t in tensors]
    )


def tensors_of(body: bytes) -> Iterator[Any]:
    at = 0
    while at < len(body):
        _, length = struct.unpack_from("<II", body, at)
        record = record_pb2.Record()
        record.ParseFromString(body[at + 8 : at + 8 + length])
        value = record.features["values"]
        yield getattr(value, value.WhichOneof("value"))
        at += 8 + -(-length // 4) * 4


def predict_fn(data: Any, model: Any) -> Any:
    return model.predict(data, validate_features=False)


def output_fn(prediction: Any, accept: str) -> Any:
    encoded = _encoders.encode(prediction, accept)
    return encoded.encode("utf-8") if accept == "text/csv" else encoded


class HandlerService(DefaultHandlerService):  # type: ignore[misc]
    """What Multi Model Server loads."""

    def __init__(self) -> None:
        defaults = DefaultInferenceHandler()
        for function in (model_fn, input_fn, predict_fn, output_fn):
            setattr(defaults, f"default_{function.__name__}", function)
        super().__init__(Transformer(default_inference_handler=defaults))
