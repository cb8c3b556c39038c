"""SageMaker's inference toolkit, on which AWS's containers are built: no function that loads a model or predicts."""

from __future__ import annotations

import os

from emulator.model_server.handlers import content
from emulator.model_server.handlers.toolkits.toolkit import Toolkit
from emulator.model_server.handlers.toolkits.transformer import Defaults, Transformer, missing

_DOCUMENTATION = "https://sagemaker.readthedocs.io/en/stable/"
DEFAULTS = Defaults(
    model_fn=missing("model_fn", _DOCUMENTATION),
    input_fn=content.decode,
    predict_fn=missing("predict_fn", _DOCUMENTATION),
    output_fn=content.encode,
)
# Many models share the code folder of the image; a single model has its own.
_FOLDERS = ("",) if os.environ.get("SAGEMAKER_MULTI_MODEL") == "true" else ("", "code")
TOOLKIT = Toolkit("the plain SageMaker Inference Toolkit", lambda handler: Transformer(handler, DEFAULTS), _FOLDERS)
