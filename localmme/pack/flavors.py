"""Recognizes models by the names and the first bytes of their files. Nothing is loaded: loading may run code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from emulator.errors import SetupError
from localmme.pack import pickles
from localmme.pack.mistakes import ENTRY_POINTS, MANIFEST

ENTRY_POINT = "code/inference.py"
NONE = "none"  # of --flavor: pack writes no entry point
_TEMPLATES = Path(__file__).with_name("entry_points")
# What says that a directory is one model, whose container knows what to do with it, or that has a handler.
_SERVED_AS_IT_IS = (*ENTRY_POINTS, MANIFEST, "config.pbtxt", "saved_model.pb")


@dataclass(frozen=True)
class Flavor:
    """A kind of model.

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


FLAVORS = {
    "xgboost": Flavor("XGBoost", "xgboost", _is_xgboost),
    "lightgbm": Flavor("LightGBM", "lightgbm", lambda name, first: first.startswith((b"tree\n", b"tree\r\n"))),
    "onnx": Flavor("ONNX", "onnxruntime", lambda name, first: name.endswith(".onnx")),
    "joblib": Flavor("joblib or pickle", "joblib", _is_pickle),
}


@dataclass(frozen=True)
class Model:
    """A model that was recognized.

    flavor: a name in FLAVORS.
    file: the path of its file in the archive.
    pickled_class: of a pickle, the class of the object, if it can be seen.
    """

    flavor: str
    file: str
    pickled_class: str = ""

    @property
    def description(self) -> str:
        """What it is, for people."""
        title = FLAVORS[self.flavor].title
        return f"{self.pickled_class}, pickled" if self.pickled_class else title

    @property
    def packages(self) -> list[str]:
        """What has to be installed where it is served, as far as that can be seen."""
        module = self.pickled_class.partition(".")[0]
        owner = {"sklearn": "scikit-learn"}.get(module, module)
        return sorted({FLAVORS[self.flavor].package, owner} - {"", "__main__"})

    def entry_point(self) -> bytes:
        """Its ``code/inference.py``."""
        text = (_TEMPLATES / f"{self.flavor}.py").read_text(encoding="utf-8")
        return _with_constant(text, "MODEL", self.file).encode()


def model_of_file(file: Path, flavor: str | None = None) -> Model | None:
    """The model in a file: of this flavor, or as its name and first bytes say. None if it is no model that is known.

    Raises SetupError when the file cannot be read.
    """
    try:
        with open(file, "rb") as opened:
            first = opened.read(pickles.READ_BYTES)
    except OSError as error:
        raise SetupError(f"{file} cannot be read: {error.strerror}.") from None
    found = flavor or next((name for name, known in FLAVORS.items() if known.recognizes(file.name, first)), None)
    if found is None:
        return None
    return Model(found, file.name, pickles.class_in(first) if found == "joblib" else "")


def model_of_directory(directory: Path, flavor: str | None = None) -> Model | None:
    """The model in a directory without a handler: of this flavor, or the only one that is recognized.

    None if there is none or more than one, or the directory is served as it is. Raises SetupError when ``flavor`` is
    given and there is not one model of it.
    """
    if flavor is None and is_served_as_it_is(directory):
        return None
    files = _visible_files(directory)
    models = [model for file in files if (model := model_of_file(file))]
    if flavor is None:
        return models[0] if len(models) == 1 else None
    models = [model for model in models if model.flavor == flavor]
    if len(models) == 1:
        return models[0]
    if not models and len(files) == 1:
        return model_of_file(files[0], flavor)
    names = ", ".join(model.file for model in models) or "none that is recognized"
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
    if is_served_as_it_is(directory):
        return []
    found = [child for child in _visible(directory) if _is_model(child)]
    return found if len(found) > 1 else []


def _is_model(path: Path) -> bool:
    if path.is_dir():
        return is_served_as_it_is(path) or any(model_of_file(file) for file in _visible_files(path))
    return path.is_file() and model_of_file(path) is not None


def _visible_files(directory: Path) -> list[Path]:
    return [child for child in _visible(directory) if child.is_file()]


def _visible(directory: Path) -> list[Path]:
    """What is in a directory, in a fixed order, without hidden files; nothing where it cannot be read."""
    try:
        return sorted(child for child in directory.iterdir() if not child.name.startswith("."))
    except OSError:
        return []


def _with_constant(text: str, name: str, value: str) -> str:
    """A module's text with another value of one of its constants."""
    line = f"{name} = {json.dumps(value, ensure_ascii=False)}"
    return re.sub(rf"^{name} = .*$", lambda _: line, text, count=1, flags=re.MULTILINE)
