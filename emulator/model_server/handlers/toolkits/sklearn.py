"""SageMaker's scikit-learn container, with many models: arrays of 32-bit floats, and ``model.predict``."""

from __future__ import annotations

from typing import Any

from emulator.model_server.handlers.content import TEXT
from emulator.model_server.handlers.toolkits import legacy_content
from emulator.model_server.handlers.toolkits.toolkit import Toolkit
from emulator.model_server.handlers.toolkits.transformer import Defaults, Transformer, missing


def _input_fn(body: Any, content_type: str | None) -> Any:
    array = legacy_content.decode(body, content_type)
    if content_type not in TEXT:
        return array
    import numpy

    return array.astype(numpy.float32)


def _predict_fn(data: Any, model: Any) -> Any:
    return model.predict(data)


DEFAULTS = Defaults(
    missing("model_fn", "https://github.com/aws/sagemaker-python-sdk"), _input_fn, _predict_fn, legacy_content.encode
)
TOOLKIT = Toolkit(
    "SageMaker's scikit-learn container", lambda handler: Transformer(handler, DEFAULTS), ("",), takes_submitted=True
)
