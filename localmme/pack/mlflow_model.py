"""MLflow models: what the file MLmodel says of one, and models that are named by a URI of MLflow."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from emulator.errors import SetupError
from localmme.pack.model import Model

DESCRIPTION = "MLmodel"
# A request as MLflow's own server takes it, which MLflow writes beside a model that is saved with an input example.
EXAMPLE = "serving_input_example.json"
_URI = re.compile(r"(models|runs|mlflow-artifacts):/.*")
_LONGEST_BYTES = 10 * 1024 * 1024  # [ours] of the description
_FLAVOR = "python_function"  # the flavor that every library's models have, and that predicts


def model_of(directory: Path) -> Model:
    """The model in a directory with the file MLmodel. Raises SetupError when that file is invalid."""
    description = _description(directory / DESCRIPTION)
    flavors = description.get("flavors")
    function = flavors.get(_FLAVOR) if isinstance(flavors, dict) else None
    if not isinstance(function, dict):
        raise SetupError(
            f"{directory / DESCRIPTION} has no flavor {_FLAVOR}, by which MLflow predicts. Save the model with it, or "
            "write code/inference.py yourself: --handler FILE."
        )
    notes = []
    requirements = _requirements(directory)
    if requirements:
        notes.append(
            f"MLflow lists what it needs in requirements.txt: {', '.join(requirements)}. SageMaker's multi-model "
            "containers do not install that: have it in the image."
        )
    if not description.get("signature"):
        notes.append("It has no signature: CSV is taken as numbers without names of columns. Save it with a signature.")
    if (directory / EXAMPLE).is_file():
        notes.append(f"Its input example, {EXAMPLE}, is what localmme check sends without --data.")
    versions = f"Python {function.get('python_version', '?')}, MLflow {description.get('mlflow_version', '?')}"
    title = f"{DESCRIPTION}: an MLflow model of {function.get('loader_module', '?')} ({versions})"
    return Model("mlflow", title, ("mlflow", "pandas"), notes=tuple(notes))


def is_uri(text: str) -> bool:
    """Whether a source is named by a URI of MLflow."""
    return _URI.fullmatch(text) is not None


def download(uri: str, directory: Path) -> Path:
    """Download a model below a directory. Returns its path, whose name is the model's.

    Raises SetupError when MLflow is not installed, or cannot find or download the model.
    """
    try:
        import mlflow.artifacts
    except ImportError:
        raise SetupError(f"{uri} is MLflow's, which is not installed here: pip install mlflow-skinny") from None
    directory.mkdir()
    try:
        path = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(directory)))
    except Exception as error:  # of MLflow, of its server's client, or of the store of its files
        raise SetupError(f"MLflow cannot download {uri}: {error} Is MLFLOW_TRACKING_URI set?") from None
    named = directory.with_name(f"{directory.name}-named") / _name(uri)
    named.parent.mkdir()
    return path.rename(named)


def _name(uri: str) -> str:
    """The name of a model's archive: models:/lisbon/3 is lisbon-3, models:/lisbon@best lisbon-best."""
    scheme, _, path = uri.partition(":/")
    steps = [step for step in re.split(r"[/@]", path) if step]
    return "-".join(steps if scheme == "models" else steps[-1:]) or "model"


def _description(file: Path) -> dict[str, Any]:
    try:
        with open(file, encoding="utf-8") as opened:
            loaded = yaml.safe_load(opened.read(_LONGEST_BYTES))
    except OSError as error:
        raise SetupError(f"{file} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SetupError(f"{file} is not YAML: {str(error).partition(chr(10))[0]}.") from None
    return loaded if isinstance(loaded, dict) else {}


def _requirements(directory: Path) -> list[str]:
    """The lines of requirements.txt, without comments; nothing if there is no such file."""
    try:
        lines = (directory / "requirements.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
