"""What runs in place of images: the mappings, and what is wrong with one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from emulator.containers.launch import Command, Image
from emulator.errors import SetupError
from emulator.jobs.training_definition import Script
from emulator.services.sagemaker.image import embedded_server
from emulator.services.sagemaker.mapped_images import MappedImages

SKLEARN = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"


def test_the_first_pattern_that_matches_counts(tmp_path: Path) -> None:
    (tmp_path / "handler.py").touch()
    mappings = {"*/sagemaker-scikit-learn:1.*": "handler:handler.py", "*.amazonaws.com/*": "mine:1"}
    mapped = MappedImages(mappings, tmp_path) + MappedImages({"*": "command:cat"}, tmp_path)
    handler = mapped.runs(SKLEARN)
    assert handler == embedded_server(str(tmp_path / "handler.py"))
    assert mapped.runs("1.dkr.ecr.eu-west-1.amazonaws.com/xgboost:1") == Image("mine:1")
    assert isinstance(mapped.runs("other"), Command)
    assert MappedImages(mappings, tmp_path).runs("other") is None


def test_a_script_trains_and_the_models_code_serves(tmp_path: Path) -> None:
    (tmp_path / "environment" / "bin").mkdir(parents=True)
    (tmp_path / "environment" / "bin" / "python").symlink_to(sys.executable)
    python = os.fspath(tmp_path / "environment" / "bin" / "python")
    mappings = {"own*": "script", "other*": "script:environment", "*": "command:cat"}
    mapped = MappedImages(mappings, tmp_path)
    assert (mapped.trains("own:1"), mapped.runs("own:1")) == (Script(Path(sys.executable)), embedded_server(None))
    assert (mapped.trains("other"), mapped.runs("other")) == (Script(Path(python)), embedded_server(None, python))
    assert mapped.trains("third") == mapped.runs("third") and isinstance(mapped.trains("third"), Command)
    assert MappedImages({}, tmp_path).trains("own:1") is None


def test_what_is_mapped_to_a_handler_does_not_train(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="is mapped to handler:, which does not train: map it to script or command"):
        MappedImages({"a*": "handler:"}, tmp_path).trains("a")


@pytest.mark.parametrize(
    "text, words",
    [
        ("handler:none.py", "a*: There is no handler file "),
        ("handlr:a.py", "a*: handlr: is not a kind of container: did you mean handler?"),
        ("comand:/bin/cat", "did you mean command?"),
        ("scrip:/bin/python", "did you mean script?"),
        ("script:absent", "a*=script:absent: {}/absent cannot be run: No such file or directory"),
        ("script:/bin/false", "/bin/false is no Python 3.10 or newer"),
        ("Not an image", "a* takes a Docker image"),
        ("command:no-such-program-x", "a*: There is no program 'no-such-program-x'"),
    ],
)
def test_what_cannot_run_is_refused_with_its_pattern(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SetupError) as caught:
        MappedImages({"a*": text}, tmp_path)
    assert words.format(tmp_path) in str(caught.value)
