"""SageMaker's scikit-learn container, by its published behaviour, as it is on no package index.

What it is made of is the real code: the inference toolkit's service, and the encoders of ``sagemaker-containers``.
"""

from __future__ import annotations

from typing import Any

import numpy
from sagemaker_containers import _encoders
from sagemaker_inference.default_handler_service import DefaultHandlerService
from sagemaker_inference.default_inference_handler import DefaultInferenceHandler
from sagemaker_inference.transformer import Transformer


def model_fn(model_dir: str) -> Any:
    documentation = "https://github.com/aws/sagemaker-python-sdk"
    raise NotImplementedError(
        f"\nPlease provide a model_fn implementation.\nSee documentation for model_fn at {documentation}\n"
    )


def input_fn(body: Any, content_type: str) -> Any:
    array = _encoders.decode(body, content_type)
    return array.astype(numpy.float32) if content_type in ("application/json", "text/csv") else array


def predict_fn(data: Any, model: Any) -> Any:
    return model.predict(data)


def output_fn(prediction: Any, accept: str) -> Any:
    return _encoders.encode(prediction, accept)


class HandlerService(DefaultHandlerService):  # type: ignore[misc]
    """What Multi Model Server loads."""

    def __init__(self) -> None:
        defaults = DefaultInferenceHandler()
        for function in (model_fn, input_fn, predict_fn, output_fn):
            setattr(defaults, f"default_{function.__name__}", function)
        super().__init__(Transformer(default_inference_handler=defaults))
