"""A handler's functions where no container is chosen, and none is plain: the inference toolkit's, and more.

The toolkit leaves ``predict_fn`` to each container; here it is ``model.predict(data)``, or ``model(data)`` for a model
without that method. An iterator is streamed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from emulator.model_server.handlers import content
from emulator.model_server.handlers.toolkits import inference
from emulator.model_server.handlers.toolkits.toolkit import Toolkit
from emulator.model_server.handlers.toolkits.transformer import Defaults, Transformer


def _predict_fn(data: Any, model: Any) -> Any:
    if hasattr(model, "predict"):
        return model.predict(data)
    if callable(model):
        return model(data)
    raise NotImplementedError(
        "Please provide a predict_fn implementation: what model_fn returned has no method predict, and is not callable."
    )


def _output_fn(prediction: Any, accept: str) -> Any:
    return (prediction, accept) if isinstance(prediction, Iterator) else content.encode(prediction, accept)


DEFAULTS = Defaults(inference.DEFAULTS.model_fn, content.decode, _predict_fn, _output_fn)
TOOLKIT = Toolkit("an unknown container", lambda handler: Transformer(handler, DEFAULTS), ("code", ""))
