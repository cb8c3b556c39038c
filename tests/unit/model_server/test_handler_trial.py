"""A handler for all models is tried when its server starts, and an archive's is explained when it is loaded."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from emulator.model_server.handlers import styles
from emulator.model_server.http.response import HandlerError
from emulator.model_server.workers import log

Try = Callable[..., None]


@pytest.fixture
def try_out(tmp_path: Path, fresh_imports: None) -> Try:
    def try_out(text: str, name: str = "") -> None:
        file = tmp_path / "my_handler.py"
        file.write_text(text)
        styles.try_out(f"{file}:{name}" if name else str(file))

    return try_out


CLASSES = """
number = 1

class Deaf:
    def initialize(self, context): pass

class Idle:
    def handle(self, data, context): pass
"""


@pytest.mark.parametrize(
    "text, name, complaint",
    [
        ("def handle(data, context)\n    pass", "", "SyntaxError: expected ':' (my_handler.py, line 1)"),
        ("  x = 1", "", "IndentationError: unexpected indent (my_handler.py, line 1)"),
        ("import mxnet.gluon", "", "No module named 'mxnet'. Handlers run in .* -m pip install mxnet$"),
        ("from json import jump", "", "ImportError: cannot import name 'jump' from 'json'"),
        ("def handle(data): pass", "", "handle(data) cannot be called as handle(data, context)"),
        ("def handle(a, b, c): pass", "", "handle(a, b, c) cannot be called"),
        ("def predict_fn(data, model): pass", "", "Please provide a model_fn implementation"),
        ("def model_fn(d): pass\ndef predict_fn(data): pass", "", "predict_fn must take 2 arguments, or 3 with the"),
        ("x = 1", "", "has no function handle(data, context), and no model_fn(model_dir)."),
        ("def input_handler(d, c): pass", "", "input_handler, which SageMaker's TensorFlow Serving container calls"),
        (CLASSES, "absent", "my_handler.py has no function or class absent."),
        (CLASSES, "number", "my_handler.py has no function or class number."),
        (CLASSES, "Deaf", "The class Deaf has no method handle(data, context) to answer."),
        (CLASSES, "Idle", "The class Idle has no method initialize(context) to load the model."),
        (CLASSES, "", "Of its classes (Deaf, Idle), name the handler class: --handler FILE:NAME."),
    ],
)
def test_what_can_never_work_is_said_with_what_to_do(try_out: Try, text: str, name: str, complaint: str) -> None:
    escaped = complaint.replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(HandlerError, match=escaped):
        try_out(text, name)


@pytest.mark.parametrize(
    "text, name",
    [
        ("def handle(data, context): pass", ""),
        ("def handle(*everything): pass", ""),
        ("handle = print", ""),
        ("def model_fn(model_dir, context): pass\ndef predict_fn(data, model): pass", ""),
        ("class Only:\n    def initialize(self, c): pass\n    def handle(self, d, c): pass", ""),
        ("class Late:\n    def __init__(self): self.initialize = self.handle = print", "Late"),
        # It may be right where it is run: in the directory of a model.
        ("import of_each_archive", ""),
        ("LABELS = open('labels.json')", ""),
        ("import os\nKEY = os.environ['NOT_SET_BEFORE_THE_MODEL_IS_THERE']", ""),
    ],
)
def test_what_may_work_is_let_pass(try_out: Try, text: str, name: str) -> None:
    try_out(text, name)


def test_a_module_that_archives_may_bring_is_warned_of(try_out: Try, caplog: pytest.LogCaptureFixture) -> None:
    try_out("import of_each_archive\n")
    (told,) = caplog.messages
    assert told.startswith("Unless every archive contains it, no model can be loaded: ModuleNotFoundError: ")
    assert told.endswith("-m pip install of_each_archive")


def test_a_model_whose_handler_cannot_be_called_is_told_without_a_class_of_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fresh_imports: None
) -> None:
    directory = model(tmp_path / "lisbon", {"code/inference.py": "def input_handler(data, context): ..."})
    try:
        styles.load("lisbon", directory, None, None)
    except HandlerError as error:
        assert error.__traceback__ is not None
        error.__traceback__ = error.__traceback__.tb_next  # this test's own frame, as of a handler that called us
        log.failure("Model lisbon could not be loaded")
        assert capsys.readouterr().err == f"Model lisbon could not be loaded\n{error}\n"
    else:
        pytest.fail("it was loaded")


# Archives


def model(directory: Path, files: Mapping[str, str]) -> str:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(directory)


@pytest.mark.parametrize("handler", ["lisbon/code/inference.py", "lisbon/inference.py"])
def test_an_archive_that_is_inside_one_folder_is_told(tmp_path: Path, handler: str, fresh_imports: None) -> None:
    with pytest.raises(HandlerError, match=r"inside the folder lisbon/.*localmme pack \.\.\./lisbon"):
        styles.load("m", model(tmp_path, {handler: "", "lisbon/weights": "", "._lisbon": ""}), None, None)


def test_packages_that_an_archive_asks_for_and_that_are_not_there_are_told_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, fresh_imports: None
) -> None:
    handler = "def handle(data, context): pass"
    listed = "# for the model\nclick>=8\nno-such-package==1.0 ; python_version > '3'\n-r more.txt\n\nNo_Other.package\n"
    with caplog.at_level(logging.WARNING):
        styles.load("m", model(tmp_path, {"code/inference.py": handler, "code/requirements.txt": listed}), None, None)
    (told,) = caplog.messages
    assert "code/requirements.txt names packages that are not installed: no-such-package, No_Other.package." in told
    assert told.endswith(f"{sys.executable} -m pip install no-such-package No_Other.package")
    caplog.clear()
    styles.load("m", model(tmp_path, {"code/requirements.txt": "click\n"}), None, None)
    assert caplog.messages == []
