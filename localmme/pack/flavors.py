"""Recognizes models' files by their names and first bytes, and directories by what is in them. Nothing is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from emulator.errors import SetupError
from localmme.pack import huggingface_model, mlflow_model, pickles
from localmme.pack.mistakes import ENTRY_POINTS, MANIFEST
from localmme.pack.model import Model

NONE = "none"  # of --flavor: pack writes no entry point
# What says that a directory is one model, whose container knows what to do with it, or that has a handler.
_SERVED_AS_IT_IS = (*ENTRY_POINTS, MANIFEST, "config.pbtxt", "saved_model.pb")
# What says that a directory is one model, though it may hold others: of MLflow, diffusers and sentence-transformers.
_MARKS = (mlflow_model.DESCRIPTION, "model_index.json", "modules.json")


@dataclass(frozen=True)
class FileFlavor:
    """A kind of model that is one file.

    title: for people.
    package: what its entry point imports, by the name with which pip installs it.
    recognizes: whether a file, by its name and its first bytes, is such a model.
    """

    title: str
    package: str
    recognizes: Callable[[str, bytes], bool]


def _is_xgboost(name: str, first: bytes) -> bool:
    # The text is JSON, the binary form is UBJSON, in which a length is before each name; both begin with the learner.
    return (first[:1] == b"{" and b"learner" in first[:64]) or name.endswith((".bst", ".xgb", ".ubj"))


def _is_pickle(name: str, first: bytes) -> bool:
    return name.endswith(pickles.SUFFIXES)


_FILES = {  # what is recognized by its content comes before suffixes that several libraries' users take
    "lightgbm": FileFlavor("LightGBM", "lightgbm", lambda name, first: first.startswith((b"tree\n", b"tree\r\n"))),
    "xgboost": FileFlavor("XGBoost", "xgboost", _is_xgboost),
    "onnx": FileFlavor("ONNX", "onnxruntime", lambda name, first: name.endswith(".onnx")),
    "joblib": FileFlavor("joblib or pickle", "joblib", _is_pickle),
}
_DIRECTORIES = {"mlflow": mlflow_model, "huggingface": huggingface_model}
FLAVORS = (*_FILES, *_DIRECTORIES)
TITLES = (*(known.title for known in _FILES.values()), "MLflow", "Hugging Face")


def model_of_file(file: Path, flavor: str | None = None) -> Model | None:
    """The model in a file: of this flavor, or as its name and first bytes say. None if it is no model that is known.

    Raises SetupError when the file cannot be read.
    """
    try:
        with open(file, "rb") as opened:
            first = opened.read(pickles.READ_BYTES)
    except OSError as error:
        raise SetupError(f"{file} cannot be read: {error.strerror}.") from None
    found = flavor or next((name for name, known in _FILES.items() if known.recognizes(file.name, first)), None)
    if found is None:
        return None
    if found in _DIRECTORIES:
        raise SetupError(f"--flavor {found} is for a directory, and {file} is a file.")
    if found == "joblib":
        return _pickled(file.name, pickles.class_in(first))
    known = _FILES[found]
    return Model(found, f"{file.name}: {known.title}", (known.package,), {"MODEL": file.name})


def _pickled(name: str, pickled_class: str) -> Model:
    """``pickled_class``: empty if it cannot be seen."""
    module = pickled_class.partition(".")[0]
    package = {"sklearn": "scikit-learn", "__main__": ""}.get(module, module)
    notes: tuple[str, ...] = ()
    if module == "__main__":
        notes = (
            f"{pickled_class} was defined in a script or notebook: it can only be loaded where it is defined. "
            "Define it in a module, import it there, and pack a directory with the model and code/MODULE.py.",
        )
    return Model(
        "joblib",
        f"{name}: {pickled_class or 'an object'}, pickled",
        ("joblib", package) if package else ("joblib",),
        {"MODEL": name},
        notes,
    )


def model_of_directory(directory: Path, flavor: str | None = None, task: str | None = None) -> Model | None:
    """The model in a directory without a handler: of this flavor, or the only one that is recognized.

    ``task``: of a Hugging Face pipeline. None if there is no model or more than one, or the directory is served as it
    is. Raises SetupError when ``flavor`` is given and there is not one model of it, or the model's own description is
    invalid.
    """
    if flavor in _FILES:
        return _file_in(directory, flavor)
    if flavor is None and any((directory / name).exists() for name in ENTRY_POINTS):
        return None
    if flavor == "mlflow" or (flavor is None and (directory / mlflow_model.DESCRIPTION).is_file()):
        return mlflow_model.model_of(directory)
    if flavor is None and is_served_as_it_is(directory):
        return None
    if flavor == "huggingface" or (flavor is None and huggingface_model.is_model(directory)):
        return huggingface_model.model_of(directory, task)
    models = [model for file in _visible_files(directory) if (model := model_of_file(file))]
    return models[0] if len(models) == 1 else None


def _file_in(directory: Path, flavor: str) -> Model:
    """The only model of a flavor in a directory. Raises SetupError."""
    files = _visible_files(directory)
    models = [model for file in files if (model := model_of_file(file)) and model.flavor == flavor]
    if not models and len(files) == 1:
        models = [model for model in [model_of_file(files[0], flavor)] if model]
    if len(models) == 1:
        return models[0]
    names = ", ".join(model.constants["MODEL"] for model in models) or "none that is recognized"
    raise SetupError(
        f"--flavor {flavor} needs one model in {directory}; there is {names}. Name the model's file instead of its "
        "directory, or write code/inference.py yourself: --handler FILE."
    )


def is_served_as_it_is(directory: Path) -> bool:
    """Whether a directory has a handler, or the layout of a server that needs none."""
    if any((directory / name).exists() for name in _SERVED_AS_IT_IS):
        return True
    if any(directory.glob("*.py")) or any((directory / "code").glob("*.py")):
        return True  # a handler under another name
    return any(child.name.isdecimal() or (child / "config.pbtxt").exists() for child in _visible(directory))


def models_in(directory: Path) -> list[Path]:
    """The models in a directory that is none itself: files, or directories with models; empty if there are not two."""
    if _is_one_model(directory):
        return []
    found = [child for child in _visible(directory) if _is_model(child)]
    return found if len(found) > 1 else []


def _is_one_model(directory: Path) -> bool:
    marked = any((directory / name).exists() for name in _MARKS)
    return marked or huggingface_model.is_model(directory) or is_served_as_it_is(directory)


def _is_model(path: Path) -> bool:
    if path.is_dir():
        return _is_one_model(path) or any(model_of_file(file) for file in _visible_files(path))
    return path.is_file() and model_of_file(path) is not None


def _visible_files(directory: Path) -> list[Path]:
    return [child for child in _visible(directory) if child.is_file()]


def _visible(directory: Path) -> list[Path]:
    """What is in a directory, in a fixed order, without hidden files; nothing where it cannot be read."""
    try:
        return sorted(child for child in directory.iterdir() if not child.name.startswith("."))
    except OSError:
        return []
