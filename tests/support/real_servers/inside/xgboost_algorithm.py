"""SageMaker's XGBoost container in algorithm mode, by its published behaviour, as it is on no package index.

It serves many models like this: an archive has one file, the booster, and no handler. The inference toolkit's service,
the encoders of ``sagemaker-containers`` and XGBoost are the real ones.
"""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Any

import xgboost
import xgboost_container
from sagemaker_containers import _errors
from sagemaker_inference import encoder
from sagemaker_inference.default_handler_service import DefaultHandlerService
from sagemaker_inference.default_inference_handler import DefaultInferenceHandler
from sagemaker_inference.errors import GenericInferenceToolkitError
from sagemaker_inference.transformer import Transformer


def model_fn(model_dir: str) -> Any:
    try:
        file, *_ = (path for path in sorted(Path(model_dir).iterdir()) if path.is_file())
        return xgboost.Booster(model_file=str(file))
    except Exception as error:
        raise GenericInferenceToolkitError(
            HTTPStatus.INTERNAL_SERVER_ERROR, f"Unable to load model: {error}"
        ) from error


def input_fn(body: Any, content_type: str) -> Any:
    if not body:
        raise GenericInferenceToolkitError(HTTPStatus.NO_CONTENT, "")
    try:
        return xgboost_container.input_fn(body, content_type)
    except _errors.UnsupportedFormatError as error:
        raise GenericInferenceToolkitError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, str(error)) from error


def predict_fn(data: Any, model: Any) -> Any:
    try:
        return model.predict(data, validate_features=False)
    except Exception as error:
        raise GenericInferenceToolkitError(HTTPStatus.BAD_REQUEST, str(error)) from error


def output_fn(prediction: Any, accept: str) -> Any:
    kind = accept.lower().removeprefix("text/").removeprefix("application/")
    if kind == "csv":
        return ",".join(map(str, prediction.tolist())).encode()
    if kind == "json":
        return encoder.encode(prediction, "application/json")
    raise GenericInferenceToolkitError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"{accept} is not an accepted Accept type.")


class HandlerService(DefaultHandlerService):  # type: ignore[misc]
    """What Multi Model Server loads."""

    def __init__(self) -> None:
        defaults = DefaultInferenceHandler()
        for function in (model_fn, input_fn, predict_fn, output_fn):
            setattr(defaults, f"default_{function.__name__}", function)
        super().__init__(Transformer(default_inference_handler=defaults))
