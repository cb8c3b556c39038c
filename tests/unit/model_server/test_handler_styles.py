"""Handlers in every style that people have them run in the embedded server as they do in the real ones.

What is asserted here of Multi Model Server 1.1.11 and of SageMaker's inference toolkit 1.10.1 was observed with both.
"""

from __future__ import annotations

import pytest

from tests.support.handlers import CSV, JSON, Models

# Which handler


def test_an_archives_handler_is_in_code_or_beside_it(load: Models) -> None:
    root = load("def handle(data, context): return ['root']")
    both = load("def handle(data, context): return ['root']", code__inference="def handle(d, c): return ['code']")
    assert root.ask().body == b"root"
    assert both.ask().body == b"code"


def test_handlers_import_what_lies_beside_them_and_in_the_model(load: Models) -> None:
    inference = "import near, far\ndef handle(data, context): return [near.WORD + far.WORD]"
    files = {"code__inference": inference, "code__near": "WORD = 'near '", "far": "WORD = 'far'", "near": "WORD = '?'"}
    assert load.loaded(load.write(**files)).ask().body == b"near far"


def test_a_model_without_a_handler_cannot_be_loaded_and_is_told_what_to_do(load: Models) -> None:
    message = load.refusal()
    assert "has neither code/inference.py nor inference.py" in message
    assert "--handler FILE" in message


@pytest.mark.parametrize("program", ["predictor.py", "predictor"])
def test_the_name_of_the_archives_handler_can_be_set(
    load: Models, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setenv("SAGEMAKER_PROGRAM", program)
    model = load("raise ValueError", code__predictor="def handle(data, context): return ['p']")
    assert model.ask().body == b"p"


def test_a_handler_file_serves_all_models_and_outranks_their_own(load: Models) -> None:
    handlers = load.write(
        mine="import near\ndef handle(d, context): return [context.model_name + near.WORD]", near="WORD = '!'"
    )
    mine = str(handlers / "mine.py")
    one, two = load.loaded(load.write(code__inference="raise ValueError"), mine), load.loaded(load.write(), mine)
    assert [model.ask().body.decode() for model in (one, two)] == [f"{one.name}!", f"{two.name}!"]


@pytest.mark.parametrize("name", ["predict", "Predictor"])
def test_a_function_or_a_class_of_the_handler_file_can_be_named(load: Models, name: str) -> None:
    handlers = load.write(
        mine="""
        class Other:
            pass

        class Predictor:
            def initialize(self, context):
                self.name = context.model_name

            def handle(self, data, context):
                return ["Predictor " + self.name]

        def predict(data, context):
            return ["predict " + context.model_name]

        def handle(data, context):
            raise ValueError
        """
    )
    model = load.loaded(load.write(), f"{handlers / 'mine.py'}:{name}")
    assert model.ask().body.decode() == f"{name} {model.name}"


@pytest.mark.parametrize(
    "inference, complaint",
    [
        ("def handle(data, context:\n    pass", "SyntaxError: '(' was never closed (inference.py, line 1)"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("from json import jump", "ImportError: cannot import name 'jump' from 'json'"),
        ("from mms.service import PredictionException", "-m pip install multi-model-server"),
        ("from sagemaker_inference import errors", "-m pip install sagemaker-inference"),
        ("def model_fn(d): raise MemoryError('no room')", "MemoryError: no room. For this the toolkit answers 500"),
        ("x = 1", "no model_fn(model_dir). Write one of these, or one class with initialize(context)"),
        ("class A: pass\nclass B: pass", "Of its classes (A, B), name the handler class: --handler FILE:NAME."),
        ("def input_handler(data, context): pass\ndef output_handler(data, context): pass", "TensorFlow Serving"),
        ("def handler(data, context): pass", "It has handler, which SageMaker's TensorFlow Serving container calls"),
        ("def handle(data, context): return [data[0]]", "is called once with data=None"),
        ("def handle(data): return data", "handle(data) cannot be called as handle(data, context)"),
        ("def predict_fn(data, model): return data", "Please provide a model_fn implementation"),
        (
            "def model_fn(d): pass\ndef transform_fn(m, b, c, a): pass\ndef input_fn(b, c): pass",
            "Cannot use transform_fn implementation in conjunction with input_fn, predict_fn, and/or output_fn",
        ),
        ("def model_fn(a, b, c): pass", "model_fn must take 1 arguments, or 2 with the context, not 3"),
    ],
)
def test_a_handler_that_cannot_be_used_says_why(load: Models, inference: str, complaint: str) -> None:
    assert complaint in load.refusal(inference)


# The service function


def test_the_service_function_is_called_once_to_load_and_then_with_each_request(load: Models) -> None:
    model = load(
        """
        calls = []

        def handle(data, context):
            calls.append(data if data is None else {name: bytes(value).decode() for name, value in data[0].items()})
            return [calls]
        """
    )
    assert model.ask(b"1,2").json() == [None, {"body": "1,2"}]
    assert model.ask(b"").json() == [None, {"body": "1,2"}, {"body": ""}]


@pytest.mark.parametrize("content_type", [CSV, JSON, "application/octet-stream", "text/plain; charset=utf-8"])
def test_the_body_is_a_bytearray_whatever_its_content_type(load: Models, content_type: str) -> None:
    model = load("def handle(data, context): return data and [[len(data), repr(data[0]['body'])]]")
    assert model.ask(b'{"a": 1}', content_type).json() == [1, "bytearray(b'{\"a\": 1}')"]


PARTS = """
def handle(data, context):
    if data is None: return
    types = {k: v["content-type"] for k, v in context.get_all_request_header(0).items() if isinstance(v, dict)}
    return [{name: [value.decode("latin-1"), types.pop(name)] for name, value in data[0].items()} | types]
"""


def test_a_forms_fields_are_parts_of_their_own(load: Models) -> None:
    model = load(PARTS)
    answer = model.ask(b"a=1&b=2+3&a=%34&c=", "application/x-www-form-urlencoded")
    assert answer.json() == {"a": ["4", ""], "b": ["2 3", ""], "c": ["", ""]}
    form = (
        b'--B\r\nContent-Disposition: form-data; name="text"\r\n\r\none\r\n'
        b'--B\r\nContent-Disposition: form-data; name="file"; filename="x.png"\r\nContent-Type: image/png\r\n\r\n'
        b"\x00\r\n\xff\r\n--B--\r\n"
    )
    answer = model.ask(form, "multipart/form-data; boundary=B")
    assert answer.json() == {"text": ["one", ""], "file": ["\x00\r\n\xff", "image/png"]}


def test_the_querys_parameters_stand_beside_the_body(load: Models) -> None:
    model = load(PARTS)
    answer = model.ask(b"1", "text/csv; x=y", query="k=v&k=w")
    assert answer.json() == {"k": ["w", ""], "body": ["1", "text/csv"]}


@pytest.mark.parametrize(
    "result, body",
    [
        ("'text ü'", "text ü".encode()),
        ("b'bytes'", b"bytes"),
        ("bytearray(b'bytearray')", b"bytearray"),
        ("{'a': [1, None]}", b'{\n  "a": [\n    1,\n    null\n  ]\n}'),
        ("[1, 2]", b"[\n  1,\n  2\n]"),
        ("(1, 2)", b"[\n  1,\n  2\n]"),
        ("1.5", b"1.5"),
        ("None", b"null"),
    ],
)
def test_what_a_result_becomes(load: Models, result: str, body: bytes) -> None:
    answer = load(f"def handle(data, context): return [{result}]").ask()
    assert (answer.status, answer.body) == (200, body)
    assert answer.headers == {}  # not even JSON is named by itself


@pytest.mark.parametrize(
    "result, message",
    [
        ("'text'", "Invalid model predict output"),
        ("('tuple',)", "Invalid model predict output"),
        ("None", "Invalid model predict output"),
        ("[]", "number of batch response mismatched"),
        ("[1, 2]", "number of batch response mismatched"),
        ("[{1}]", "Unsupported model output data type."),
        ("[memoryview(b'x')]", "Unsupported model output data type."),
    ],
)
def test_a_result_that_is_none_is_503(load: Models, result: str, message: str) -> None:
    answer = load(f"def handle(data, context): return data and {result}").ask()
    assert (answer.status, answer.json()["message"]) == (503, message)


def test_a_prediction_exception_carries_its_own_status(load: Models) -> None:
    model = load(
        """
        class PredictionException(Exception):
            def __init__(self, message, error_code):
                self.message, self.error_code = message, error_code

        def handle(data, context):
            if data: raise PredictionException("no such digit", 422)
        """
    )
    answer = model.ask()
    assert (answer.status, answer.json()["message"]) == (422, "no such digit")


@pytest.mark.parametrize("inside", [True, False])
def test_a_service_function_may_stream(load: Models, inside: bool) -> None:
    model = load(
        f"""
        def chunks():
            yield "a"
            yield b"b"

        def handle(data, context):
            return {"[chunks()]" if inside else "chunks()"}
        """
    )
    answer = model.ask()
    assert answer.streamed
    assert answer.body == b"ab"


def test_a_service_function_may_be_a_generator(load: Models) -> None:
    model = load(
        """
        words = []

        def handle(data, context):
            if data is None:
                words.extend(["a", "b"])
            else:
                yield from words
        """
    )
    assert model.ask().body == b"ab"


# The class


def test_the_only_class_of_the_module_is_the_handler(load: Models) -> None:
    model = load(
        """
        from collections import OrderedDict

        class Service:
            def initialize(self, context):
                self.model_dir = context.system_properties["model_dir"]

            def handle(self, data, context):
                return [self.model_dir]
        """
    )
    assert model.ask().body.decode() == str(model.directory)


def test_a_class_whose_initialize_raises_is_not_loaded(load: Models) -> None:
    message = load.refusal(
        """
        class Service:
            def initialize(self, context): raise OSError("no weights")
            def handle(self, data, context): return ["?"]
        """,
    )
    assert message == "OSError: no weights (inference.py, line 3, in initialize)"


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        ("import helper\nhelper.divide()", "ZeroDivisionError: division by zero (helper.py, line 2, in divide)"),
        ("import broken", "SyntaxError: invalid syntax (broken.py, line 1)"),
        ("x = (", "SyntaxError: '(' was never closed (inference.py, line 1)"),
        ("\nimport no_such_module", "No module named 'no_such_module' (inference.py, line 2, in <module>)"),
        ("import json\njson.loads('')", "line 1 column 1 (char 0) (inference.py, line 2, in <module>)"),
    ],
)
def test_an_error_has_its_place_in_the_handlers_own_code(load: Models, handler: str, message: str) -> None:
    refused = load.refusal(handler, helper="def divide():\n    return 1 / 0\n", broken="x = = 1\n")
    assert refused.endswith(message)


def test_what_is_raised_outside_of_the_handlers_code_has_no_place(load: Models) -> None:
    refused = load.refusal("handle = isinstance")
    assert refused.startswith("TypeError: isinstance() arg 2 must be") and "inference.py" not in refused
