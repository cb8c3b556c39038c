"""Tells from what a handler imports, or from a model's files, which container it is written for."""

from __future__ import annotations

import ast
import json
import os

# A module that a handler imports -> the toolkit of the container that has it.
_OF_TOOLKITS = {
    "sagemaker_huggingface_inference_toolkit": "huggingface",
    "sagemaker_pytorch_serving_container": "pytorch",
    "sagemaker_sklearn_container": "sklearn",
    "sagemaker_xgboost_container": "xgboost",
    "sagemaker_inference": "inference",
}
# XGBoost is not among them: its container has no handlers where there are many models, so that such a handler is most
# likely of another container.
_OF_FRAMEWORKS = {"transformers": "huggingface", "torch": "pytorch", "sklearn": "sklearn"}


def of_handler(file: str) -> tuple[str, str] | None:
    """The toolkit of a handler, and the module that tells it; None = it is not plain.

    A container's own package counts most. Of frameworks, it must be one; the Hugging Face container has PyTorch too.
    """
    imported = _imports(file)
    for known in (_OF_TOOLKITS, _OF_FRAMEWORKS):
        found = {module: known[module] for module in known if module in imported}
        if "transformers" in found:
            found.pop("torch", None)
        if len(found) == 1:
            module, name = found.popitem()
            return name, module
        if found:
            return None
    return None


def of_files(model_dir: str) -> tuple[str, str] | None:
    """The toolkit of a model without a handler, and the file that tells it; None = it is not plain."""
    try:
        names = sorted(os.listdir(model_dir))
        if "config.json" in names:
            with open(os.path.join(model_dir, "config.json"), encoding="utf-8") as file:
                return ("huggingface", "config.json") if json.load(file).get("architectures") else None
    except (OSError, ValueError, AttributeError):
        return None
    models = [name for name in names if name.endswith((".pt", ".pth"))]
    return ("pytorch", models[0]) if len(models) == 1 else None


def _imports(file: str) -> set[str]:
    """The top-level names of what a file imports, anywhere in it."""
    with open(file, "rb") as source:
        nodes = ast.walk(ast.parse(source.read()))
    imported: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            imported.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            imported.add(node.module.partition(".")[0])
    return imported
