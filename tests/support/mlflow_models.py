"""An MLflow model as MLflow 3 writes one, and of MLflow only what loads such a model: MLflow itself takes 100 MB."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml

COLUMNS = [("rooms", "long"), ("city", "string"), ("area", "double")]
_NUMPY = {"long": "int64", "double": "float64", "string": "object"}


def write(directory: Path, *, tensor: bool = False, **more: Any) -> Path:
    """A model whose predictions are what it is called with, so that a test sees that; with columns or a tensor."""
    directory.mkdir(parents=True)
    inputs: list[dict[str, Any]] = [{"type": kind, "name": name, "required": True} for name, kind in COLUMNS]
    if tensor:
        inputs = [{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}]
    description = {
        "flavors": {
            "python_function": {
                "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
                "loader_module": "mlflow.sklearn",
                "model_path": "model.pkl",
                "python_version": "3.11.7",
            },
            "sklearn": {"pickled_model": "model.pkl", "sklearn_version": "1.9.1"},
        },
        "mlflow_version": "3.17.2",
        "saved_input_example_info": {"artifact_path": "input_example.json", "type": "dataframe"},
        "signature": {"inputs": json.dumps(inputs), "outputs": None, "params": None},
    }
    (directory / "MLmodel").write_text(yaml.safe_dump({**description, **more}))
    (directory / "model.pkl").write_bytes(b"\x80\x04N.")
    (directory / "requirements.txt").write_text("# what it needs\nmlflow==3.17.2\nscikit-learn==1.9.1\n")
    example = {"columns": [name for name, _ in COLUMNS], "data": [[1, "a", 10.5]]}
    (directory / "input_example.json").write_text(json.dumps(example))
    (directory / "serving_input_example.json").write_text(json.dumps({"dataframe_split": example}))
    return directory


def install(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Let ``import mlflow.pyfunc`` and ``mlflow.artifacts`` find what stands for them. Returns the second."""
    mlflow, pyfunc, artifacts = (ModuleType(name) for name in ("mlflow", "mlflow.pyfunc", "mlflow.artifacts"))
    vars(pyfunc)["load_model"] = _load
    vars(mlflow).update(pyfunc=pyfunc, artifacts=artifacts)
    for module in (mlflow, pyfunc, artifacts):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return artifacts


def _load(directory: str) -> Any:
    signature = yaml.safe_load((Path(directory) / "MLmodel").read_text()).get("signature")
    schema = _Schema(json.loads(signature["inputs"])) if signature else None
    return SimpleNamespace(metadata=SimpleNamespace(get_input_schema=lambda: schema), predict=lambda data: data)


class _Schema:
    """Of mlflow.types.Schema what an entry point asks."""

    def __init__(self, inputs: list[dict[str, Any]]) -> None:
        self._inputs = inputs

    def is_tensor_spec(self) -> bool:
        return self._inputs[0]["type"] == "tensor"

    def has_input_names(self) -> bool:
        return "name" in self._inputs[0]

    def input_names(self) -> list[str]:
        return [column["name"] for column in self._inputs]

    def pandas_types(self) -> list[str]:
        return [_NUMPY[column["type"]] for column in self._inputs]

    def numpy_types(self) -> list[str]:
        return [column["tensor-spec"]["dtype"] for column in self._inputs]
