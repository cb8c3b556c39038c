"""Packages that a handler imports, and the message about one that is not installed."""

from __future__ import annotations

import logging
import re
import shlex
import sys

from emulator.model_server.handlers import requirements
from emulator.model_server.http.response import describe
from emulator.model_server.workers import log

_log = logging.getLogger(__name__)
# Modules that come from packages, never from an archive. Another module that is missing may be in the archives, which
# are on the import path when a model is loaded. [ours]
_FROM_PACKAGES = frozenset((
    "PIL", "boto3", "botocore", "catboost", "cv2", "joblib", "keras", "lightgbm", "mms", "mxnet", "nltk", "numpy",
    "onnx", "onnxruntime", "pandas", "pyarrow", "requests", "safetensors", "sagemaker", "sagemaker_inference", "scipy",
    "sentence_transformers", "sklearn", "spacy", "tensorflow", "tokenizers", "torch", "torchvision", "transformers",
    "ultralytics", "xgboost",
))  # fmt: skip
# Module -> package, where the names differ.
_PACKAGES = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "mms": "multi-model-server",
    "sagemaker_inference": "sagemaker-inference",
    "sklearn": "scikit-learn",
}


def explain(error: BaseException, model_dir: str | None = None) -> str:
    """An exception in one line, with its place in the handler; for a package that is not installed, also the command
    that installs it.

    ``model_dir``: of the model that was loaded, whose requirements.txt may list that package.
    """
    what = describe(error) + log.place_of(error)
    if not isinstance(error, ModuleNotFoundError):
        return what
    module = (error.name or "").partition(".")[0]
    for file, packages in requirements.listed(model_dir) if model_dir and module else ():
        wanted = {_normalized(module), _normalized(_PACKAGES.get(module, module))}
        listed = next((name for name in packages if _normalized(name) in wanted), None)
        if listed:
            return (
                f"{what}. {file} lists {listed}, but multi-model containers install nothing of that, on "
                f"SageMaker as here: have it in the image, or put the module into code/ (for prototyping, "
                f"--install-requirements installs it). {how_to_install(packages[listed])}"
            )
    return f"{what}. {how_to_install(error.name)}" if comes_with_a_package(error) else what


def warn_of_missing_packages(model_dir: str) -> None:
    """Log which packages of an archive's requirements.txt are not installed."""
    if requirements.are_installed():
        return
    for file, packages in requirements.listed(model_dir):
        missing = [name for name in packages if not _is_installed(name)]
        if missing:
            _log.warning(
                "%s names packages that are not installed: %s. Only --install-requirements installs them. %s",
                file, ", ".join(missing), how_to_install(*map(packages.__getitem__, missing)),
            )  # fmt: skip


def _normalized(package: str) -> str:
    """A package's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", package).lower()


def _is_installed(package: str) -> bool:
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def comes_with_a_package(error: ModuleNotFoundError) -> bool:
    """Whether the missing module comes from a package, never from an archive."""
    return (error.name or "").partition(".")[0] in _FROM_PACKAGES


def how_to_install(*what: str | None) -> str:
    """The command that installs, where handlers run, the packages of these modules, or what a requirements.txt has."""
    tops = (each if "/" in each else _PACKAGES.get(each.partition(".")[0], each) for each in what if each)
    packages = shlex.join(tops) or "what is missing"
    if requirements.are_installed():
        return f"Add to requirements.txt: {packages}"
    return f"Handlers run in {sys.executable}. Install there: {sys.executable} -m pip install {packages}"
