"""``SAGEMAKER_SUBMIT_DIRECTORY``: the code that SageMaker's Python SDK keeps beside a model."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from emulator.model_server.handlers import submit_directory
from emulator.model_server.handlers.toolkits import VARIABLE
from tests.support.handlers import IDENTITY, JSON, Models


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A directory with a handler."""
    directory = tmp_path / "code"
    directory.mkdir()
    (directory / "serve.py").write_text(IDENTITY + "def predict_fn(data, model): return 'submitted'\n")
    return directory


def archive_of(directory: Path) -> Path:
    path = directory.parent / "sourcedir.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(directory / "serve.py", "serve.py")
    return path


@pytest.mark.parametrize("toolkit", ["auto", "sklearn"])
def test_a_handler_that_no_archive_has_is_looked_for_there(load: Models, code: Path, toolkit: str) -> None:
    os.environ.update({"SAGEMAKER_SUBMIT_DIRECTORY": str(code), "SAGEMAKER_PROGRAM": "serve.py", VARIABLE: toolkit})
    with submit_directory.fetched():
        assert load.loaded(load.write()).ask(b"[1]", JSON).json() == "submitted"
        own = load.write(serve=IDENTITY + "def predict_fn(data, model): return 'own'\n")
        assert load.loaded(own).ask(b"[1]", JSON).json() == "own"


def test_an_archive_is_extracted_for_as_long_as_it_is_needed(code: Path) -> None:
    os.environ["SAGEMAKER_SUBMIT_DIRECTORY"] = str(archive_of(code))
    with submit_directory.fetched():
        extracted = submit_directory.path()
        assert extracted and os.listdir(extracted) == ["serve.py"]
    assert not os.path.exists(extracted)


def test_a_directory_in_the_model_is_where_the_model_is(code: Path) -> None:
    os.environ.update(SAGEMAKER_SUBMIT_DIRECTORY="/opt/ml/model/code", SM_MODEL_DIR=str(code.parent))
    with submit_directory.fetched():
        assert submit_directory.path() == str(code)


def test_a_path_of_another_machine_is_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    os.environ["SAGEMAKER_SUBMIT_DIRECTORY"] = "/opt/ml/code-of-another-machine"
    with submit_directory.fetched():
        assert submit_directory.path() is None
    assert "is ignored: there is no /opt/ml/code-of-another-machine here" in capsys.readouterr().err


def test_what_is_no_archive_ends_the_server_with_the_reason(code: Path) -> None:
    os.environ["SAGEMAKER_SUBMIT_DIRECTORY"] = str(code / "serve.py")
    with pytest.raises(SystemExit, match="serve.py cannot be fetched: .*"), submit_directory.fetched():
        pass
