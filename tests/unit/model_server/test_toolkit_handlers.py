"""Handlers in the style of SageMaker's inference toolkit: its functions, and what stands in for those they lack.

What is asserted here of Multi Model Server 1.1.11 and of SageMaker's inference toolkit 1.10.1 was observed with both.
"""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy
import pytest

from tests.support.handlers import CSV, IDENTITY, JSON, NPY, Models


def test_each_function_is_given_what_the_toolkit_gives_it(load: Models) -> None:
    model = load(
        """
        calls = []

        def model_fn(model_dir):
            calls.append(["model_fn", model_dir])
            return "model"

        def input_fn(body, content_type):
            calls.append(["input_fn", body, content_type])
            return "data"

        def predict_fn(data, model):
            calls.append(["predict_fn", data, model])
            return "prediction"

        def output_fn(prediction, accept):
            calls.append(["output_fn", prediction, accept])
            return str(calls)
        """
    )
    answer = model.ask(b"1,2", CSV, "x/y")
    assert answer.body.decode() == str(
        [
            ["model_fn", str(model.directory)],
            ["input_fn", "1,2", CSV],
            ["predict_fn", "data", "model"],
            ["output_fn", "prediction", "x/y"],
        ]
    )
    assert answer.headers["content-type"] == "x/y"


def test_each_function_may_take_the_context_too(load: Models) -> None:
    model = load(
        """
        def pre_model_fn(model_dir, context): global log; log = [context.model_name]
        def model_fn(model_dir, context): log.append(context.model_name); return 1
        def model_warmup_fn(model_dir, model, context): log.append(context.model_name)
        def input_fn(body, content_type, context): return context.get_request_header(0, "Accept")
        def predict_fn(data, model, context=None): return [data, context.get_request_id() is not None]
        def output_fn(prediction, accept, context): context.set_response_status(201); return str(prediction + log)
        """
    )
    answer = model.ask(b"", CSV, "x/y")
    assert (answer.status, answer.body.decode()) == (201, str(["x/y", True, *[model.name] * 3]))


def test_transform_fn_does_it_all(load: Models) -> None:
    model = load(
        """
        def model_fn(model_dir): return "model"
        def transform_fn(model, body, content_type, accept): return repr([model, body, content_type, accept]), "z/z"
        """
    )
    answer = model.ask(b"\x01", "x/x", "y/y")
    assert answer.body.decode() == repr(["model", bytearray(b"\x01"), "x/x", "y/y"])
    assert answer.headers["content-type"] == "z/z"


@pytest.mark.parametrize("content_type", [JSON, CSV])
def test_json_and_csv_are_text_and_anything_else_is_bytes(load: Models, content_type: str) -> None:
    model = load(IDENTITY + "def input_fn(body, content_type): return type(body).__name__\n")
    assert model.ask(b"1", content_type).json() == "str"
    assert model.ask(b"1", content_type + "; charset=utf-8").json() == "bytearray"


@pytest.mark.parametrize("accept", [None, "*/*"])
def test_the_answer_is_json_unless_something_else_is_accepted(
    load: Models, monkeypatch: pytest.MonkeyPatch, accept: str | None
) -> None:
    model = load(IDENTITY)
    answer = model.ask(b"[1]", JSON, accept)
    assert (answer.body, answer.headers["content-type"]) == (b"[1]", JSON)
    monkeypatch.setenv("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", CSV)
    answer = model.ask(b"[1]", JSON, accept)
    assert (answer.body, answer.headers["content-type"]) == (b"1\n", CSV)


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    numpy.save(file, numpy.array(array))
    return file.getvalue()


@pytest.mark.parametrize(
    "content_type, body, accept, answered",
    [
        (JSON, b"[[1, 2], [3, 4.5]]", JSON, b"[[1.0, 2.0], [3.0, 4.5]]"),
        (JSON, b"[[1, 2], [3, 4]]", CSV, b"1,2\n3,4\n"),
        (JSON, b"[[1, 2], [3, 4]]", NPY, npy([[1, 2], [3, 4]])),
        (CSV, b"1,2\n3,4", JSON, b"[[1, 2], [3, 4]]"),
        (CSV, b"1,2.5\n3,4", JSON, b"[[1, 2.5], [3, 4.0]]"),  # each column has its own type
        (CSV, b"1,2", CSV, b"1\n2\n"),
        (CSV, b"5", JSON, b"5"),
        (NPY, npy([[1.5, 2]]), JSON, b"[[1.5, 2.0]]"),
        (NPY, npy([1, 2]), "text/html, text/csv", b"1\n2\n"),
    ],
)
def test_bodies_are_decoded_and_encoded_as_the_toolkit_does(
    load: Models, content_type: str, body: bytes, accept: str, answered: bytes
) -> None:
    answer = load(IDENTITY).ask(body, content_type, accept)
    assert (answer.status, answer.body) == (200, answered)
    assert answer.headers["content-type"] == accept.split(", ")[-1]


@pytest.mark.parametrize(
    "content_type, accept, unsupported",
    [
        ("text/plain", JSON, "text/plain"),
        ("application/json; charset=utf-8", JSON, "application/json; charset=utf-8"),
        (JSON, "text/html", "text/html"),
    ],
)
def test_a_content_type_that_is_not_supported_is_500_as_in_the_toolkit(
    load: Models, content_type: str, accept: str, unsupported: str
) -> None:
    answer = load(IDENTITY).ask(b"[1]", content_type, accept)
    assert answer.status == 500
    assert answer.body.decode().startswith(f"Content type {unsupported} is not supported by this framework.")


def test_an_array_of_pickled_objects_is_not_unpickled(load: Models) -> None:
    file = io.BytesIO()
    numpy.save(file, numpy.array([{}], dtype=object), allow_pickle=True)
    answer = load(IDENTITY).ask(file.getvalue(), NPY)
    assert answer.status == 500
    assert b"allow_pickle" in answer.body


def test_without_numpy_json_and_csv_are_lists(load: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    array = npy([1])
    monkeypatch.setitem(sys.modules, "numpy", None)
    model = load(IDENTITY)
    assert model.ask(b"[[1, 2.5]]", JSON).json() == [[1, 2.5]]
    assert model.ask(b"1,2.5,x\n3,4,y\n", CSV).json() == [[1, 2.5, "x"], [3, 4, "y"]]
    assert model.ask(b"1,2", CSV).json() == [1, 2]
    assert model.ask(b"[[1, 2], [3, 4]]", JSON, CSV).body == b"1,2\n3,4\n"
    assert model.ask(b"[1, 2]", JSON, CSV).body == b"1\n2\n"
    assert b"NPY needs numpy" in model.ask(array, NPY).body


def test_without_predict_fn_the_model_predicts_or_is_called(load: Models) -> None:
    estimator = load(
        """
        class Estimator:
            def predict(self, data): return data * 2
            def __call__(self, data): raise ValueError

        def model_fn(model_dir): return Estimator()
        """
    )
    function = load("def model_fn(model_dir): return lambda data: data + 1")
    neither = load("def model_fn(model_dir): return 7")
    assert estimator.ask(b"[1]", JSON).json() == [2]
    assert function.ask(b"[1]", JSON).json() == [2]
    answer = neither.ask(b"[1]", JSON)
    assert answer.status == 500
    assert answer.body.startswith(b"Please provide a predict_fn implementation")


def test_what_a_function_raises_is_answered_with_its_traceback(
    load: Models, capsys: pytest.CaptureFixture[str]
) -> None:
    model = load(IDENTITY + "def predict_fn(data, model): raise ValueError('too many digits')\n")
    answer = model.ask(b"[1]", JSON)
    assert answer.status == 500
    assert answer.body.startswith(b"too many digits\nTraceback (most recent call last):\n")
    assert "\nValueError: too many digits\n" in capsys.readouterr().err
    assert answer.headers == {}


def test_an_error_of_the_toolkits_kind_carries_its_own_status(load: Models) -> None:
    model = load(
        IDENTITY
        + """
class BaseInferenceToolkitError(Exception):
    def __init__(self, status_code, message, phrase):
        self.status_code, self.message, self.phrase = status_code, message, phrase

class TooLong(BaseInferenceToolkitError):
    pass

def predict_fn(data, model):
    raise TooLong(413, "too long", "Too Long")
"""
    )
    answer = model.ask(b"[1]", JSON)
    assert (answer.status, answer.body[:9]) == (413, b"too long\n")


@pytest.mark.parametrize("function", ["predict_fn(data, model)", "transform_fn(model, body, content_type, accept)"])
def test_running_out_of_memory_in_a_function_is_500(load: Models, function: str) -> None:
    """As in the toolkit, by which a service function alone makes the platform unload other models."""
    answer = load(IDENTITY + f"def {function}: raise MemoryError('no room')\n").ask(b"[1]", JSON)
    assert (answer.status, answer.body[:8]) == (500, b"no room\n")


@pytest.mark.parametrize(
    "functions",
    [
        "def predict_fn(data, model): return iter(['a', b'b'])",
        "def output_fn(prediction, accept): return iter(['a', b'b'])",
        "def output_fn(prediction, accept): return iter(['a', b'b']), accept",
        "def output_fn(prediction, accept):\n    yield 'a'\n    yield b'b'",
    ],
)
def test_a_functions_iterator_is_streamed(load: Models, functions: str) -> None:
    answer = load(IDENTITY + functions).ask(b"[1]", JSON, "text/event-stream")
    assert answer.streamed
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.body == b"ab"


def test_a_model_pickled_with_classes_of_its_handler_can_be_loaded(load: Models) -> None:
    inference = """
        import os, pickle

        class Net:
            def __call__(self, data): return data * 3

        def model_fn(model_dir):
            with open(os.path.join(model_dir, "model.pkl"), "rb") as file:
                return pickle.load(file)
        """
    directory = load.write(code__inference=inference)
    (directory / "model.pkl").write_bytes(b"cinference\nNet\n)\x81.")  # an instance of inference.Net
    assert load.loaded(directory).ask(b"[1]", JSON).json() == [3]
