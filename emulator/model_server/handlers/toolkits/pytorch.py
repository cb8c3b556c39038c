"""SageMaker's PyTorch container: TorchScript models, tensors."""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

from emulator.model_server.handlers import content
from emulator.model_server.handlers.toolkits.toolkit import Toolkit
from emulator.model_server.handlers.toolkits.transformer import Defaults, Transformer

_MODEL = "model.pt"


class ModelLoadError(Exception):
    """A file is not a TorchScript model."""


def _torch() -> ModuleType:
    import torch

    return torch  # type: ignore[no-any-return]


def _device() -> Any:
    torch = _torch()
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _model_fn(model_dir: str) -> Any:
    """The TorchScript model in ``model.pt``, or in the only such file."""
    path = os.path.join(model_dir, _MODEL)
    if not os.path.exists(path):
        # As there, where names are looked up in the working directory, which is the model's.
        files = [name for name in os.listdir(model_dir) if os.path.isfile(name) and name.endswith((".pt", ".pth"))]
        if len(files) != 1:
            raise ValueError(f"Exactly one .pth or .pt file is required for PyTorch models: {files}")
        path = os.path.join(model_dir, files[0])
    try:
        return _torch().jit.load(path, map_location=_device()).to(_device())
    except RuntimeError:
        raise ModelLoadError(f"Failed to load {path}. Please ensure model is saved using torchscript.") from None


def _input_fn(body: Any, content_type: str | None) -> Any:
    array = content.decode(body, content_type)
    torch = _torch()
    tensor = torch.FloatTensor(array) if content_type in content.TEXT else torch.from_numpy(array)
    return tensor.to(_device())


def _predict_fn(data: Any, model: Any) -> Any:
    with _torch().no_grad():
        model = model.to(_device())
        data = data.to(_device())
        model.eval()
        return model(data)


def _output_fn(prediction: Any, accept: str) -> Any:
    if type(prediction) is _torch().Tensor:
        prediction = prediction.detach().cpu().numpy().tolist()
    return content.encode(prediction, accept)[0]  # the answer's content type is the whole of what is accepted


DEFAULTS = Defaults(_model_fn, _input_fn, _predict_fn, _output_fn)
TOOLKIT = Toolkit(
    "SageMaker's PyTorch container", lambda handler: Transformer(handler, DEFAULTS), ("", "code"), loads=True
)
