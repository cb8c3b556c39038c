"""Packages that a handler imports, and the message about one that is not installed."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
from collections.abc import Iterator

from emulator.model_server.http.response import describe

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
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")


def explain(error: BaseException, model_dir: str | None = None) -> str:
    """An exception in one line; for a package that is not installed, also the command that installs it.

    ``model_dir``: of the model that was loaded, whose requirements.txt may list that package.
    """
    if not isinstance(error, ModuleNotFoundError):
        return describe(error)
    module = (error.name or "").partition(".")[0]
    for file, names in _requirements(model_dir) if model_dir and module else ():
        wanted = {_normalized(module), _normalized(_PACKAGES.get(module, module))}
        listed = next((name for name in names if _normalized(name) in wanted), None)
        if listed:
            return (
                f"{describe(error)}. {file} lists {listed}, but multi-model containers install nothing of that, on "
                f"SageMaker as here: have it in the image, or put the module into code/. {how_to_install(listed)}"
            )
    return f"{describe(error)}. {how_to_install(error.name)}" if comes_with_a_package(error) else describe(error)


def warn_of_missing_packages(model_dir: str) -> None:
    """Log which packages of an archive's requirements.txt are not installed."""
    for file, names in _requirements(model_dir):
        missing = [name for name in names if not _is_installed(name)]
        if missing:
            _log.warning(
                "%s names packages that are not installed: %s. localmme does not install them. %s",
                file, ", ".join(missing), how_to_install(*missing),
            )  # fmt: skip


def _requirements(model_dir: str) -> Iterator[tuple[str, list[str]]]:
    """Each requirements.txt of a model, and the names of the packages in it."""
    for file in ("code/requirements.txt", "requirements.txt"):
        with (
            contextlib.suppress(OSError),
            open(os.path.join(model_dir, file), encoding="utf-8", errors="replace") as lines,
        ):
            yield file, [found[1] for line in lines if (found := _REQUIREMENT.match(line))]


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


def how_to_install(*names: str | None) -> str:
    """The command that installs the packages of these modules where handlers run."""
    tops = (_PACKAGES.get(name.partition(".")[0], name) for name in names if name)
    what = " ".join(tops) or "what is missing"
    return f"Handlers run in {sys.executable}. Install there: {sys.executable} -m pip install {what}"
