"""Which container's functions stand in for those that a handler lacks, and what ``--toolkit`` changes.

What each container does is compared with its own code in ``real/test_toolkits.py``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from emulator.model_server.handlers import toolkits
from emulator.model_server.handlers.toolkits import NAMES, VARIABLE, detection, named, recordio
from tests.support.handlers import CSV, IDENTITY, JSON, Models
from tests.support.toolkit_tables import records, tensor

SAYS = """
class Model:
    def predict(self, data): return str(data.dtype)

def model_fn(model_dir): return Model()
"""


@pytest.mark.parametrize(
    "imports, found",
    [
        ("import torch", ("pytorch", "torch")),
        ("from torch.nn import Module", ("pytorch", "torch")),
        ("def model_fn(d):\n    import sklearn.linear_model", ("sklearn", "sklearn")),
        ("import torch, transformers", ("huggingface", "transformers")),
        ("import sagemaker_inference.errors, torch", ("inference", "sagemaker_inference")),
        ("import torch, sklearn", None),
        ("import numpy, xgboost", None),
        ("from .torch import x", None),
        ("text = 'import torch'", None),
    ],
)
def test_the_container_is_told_from_what_a_handler_imports(
    tmp_path: Path, imports: str, found: tuple[str, str] | None
) -> None:
    file = tmp_path / "inference.py"
    file.write_text(imports)
    assert detection.of_handler(str(file)) == found


@pytest.mark.parametrize(
    "files, found",
    [
        ({"config.json": '{"architectures": ["BertModel"]}'}, ("huggingface", "config.json")),
        ({"config.json": "{}", "a.pt": ""}, None),
        ({"config.json": "no JSON"}, None),
        ({"a.pth": "", "notes.txt": ""}, ("pytorch", "a.pth")),
        ({"a.pt": "", "b.pt": ""}, None),
        ({}, None),
    ],
)
def test_the_container_is_told_from_the_files_of_a_model_without_handler(
    tmp_path: Path, files: dict[str, str], found: tuple[str, str] | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert detection.of_files(str(tmp_path)) == found
    assert detection.of_files(str(tmp_path / "missing")) is None


def test_the_functions_of_the_container_are_used_and_the_log_says_so(
    load: Models, caplog: pytest.LogCaptureFixture
) -> None:
    assert load(SAYS).ask(b"[1]", JSON).json() == "int64"
    assert not caplog.messages
    assert load("try: import sklearn\nexcept ImportError: pass\n" + SAYS).ask(b"[1]", JSON).json() == "float32"
    [line] = caplog.messages
    assert line == (
        "inference.py imports sklearn and has no input_fn and no predict_fn and no output_fn: it gets what SageMaker's "
        "scikit-learn container has for that. --toolkit chooses another."
    )


@pytest.mark.parametrize(
    "functions",
    [
        "def transform_fn(model, body, content_type, accept): return body",
        "def input_fn(body, content_type): return body\n"
        "def predict_fn(data, model): return data\n"
        "def output_fn(prediction, accept): return prediction",
    ],
)
def test_nothing_is_said_of_a_handler_that_lacks_nothing(
    load: Models, caplog: pytest.LogCaptureFixture, functions: str
) -> None:
    handler = f"try: import sklearn\nexcept ImportError: pass\ndef model_fn(model_dir): pass\n{functions}"
    assert load(handler).ask(b"[1]", JSON).body == b"[1]"
    assert not caplog.messages


def test_a_model_that_cannot_be_loaded_counts_as_loaded_in_a_named_container(
    load: Models, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = "def model_fn(model_dir): raise ValueError('no weights')\n"
    assert load.refusal(handler) == "ValueError: no weights (inference.py, line 1, in model_fn)"
    monkeypatch.setenv(VARIABLE, "inference")
    answer = load(handler).ask(b"[1]", JSON)
    assert (answer.status, answer.phrase) == (500, "no weights")
    assert answer.body.startswith(b"no weights\nTraceback")
    assert "it counts as loaded all the same" in capsys.readouterr().err


def test_a_generator_is_streamed_unless_a_container_is_named(load: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = IDENTITY + "def transform_fn(model, body, content_type, accept): return iter(['a'])\n"
    assert load(handler).ask(b"[1]", JSON).streamed
    monkeypatch.setenv(VARIABLE, "inference")
    answer = load(handler).ask(b"[1]", JSON)
    assert (answer.status, answer.json()["message"]) == (503, "Unsupported model output data type.")


def test_a_handler_where_the_container_does_not_look_is_pointed_out(
    load: Models, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(VARIABLE, "sklearn")
    answer = load.loaded(load.write(code__inference=IDENTITY)).ask(b"[1]", JSON)
    assert answer.body.startswith(b"\nPlease provide a model_fn implementation.")
    assert "does not look at" in caplog.text and "code/inference.py" in caplog.text


def test_the_handler_of_all_models_is_called_as_the_container_does(
    load: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "sklearn")
    model = load.loaded(load.write(), str(load.write(serve=SAYS) / "serve.py"))
    assert model.ask(b"1,2", CSV, JSON).json() == "float32"


def test_in_multi_model_server_a_function_that_fails_at_the_load_fails_it(
    load: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "mms")
    refused = load.refusal("def handle(data, context): raise ValueError('no weights')")
    assert refused == "ValueError: no weights (inference.py, line 1, in handle)"
    assert load.refusal().startswith("There is no handler: name it in MAR-INF/MANIFEST.json")


def test_no_toolkit_imports_its_framework_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    for framework in ("PIL", "numpy", "scipy", "sklearn", "torch", "transformers", "xgboost"):
        monkeypatch.setitem(sys.modules, framework, None)
    for name in NAMES:
        monkeypatch.delitem(sys.modules, f"{toolkits.__name__}.{name}", raising=False)
        assert named(name).container


@pytest.mark.parametrize(
    "body, problem",
    [
        (b"", "no records"),
        (b"no RecordIO", "There is no record at byte 0"),
        (records(tensor(2, b"\0\0\0\0")) + b"more", "There is no record at byte"),
        (records(b"\x08\x01"), "A record is not a message"),
        (records(tensor(2, b"\0\0\0\0")).replace(b"values", b"VALUES"), "no feature values"),
        (records(b"\x12"), "A record is cut off"),
    ],
)
def test_what_is_no_recordio_is_reported(body: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        recordio.matrix(body)
