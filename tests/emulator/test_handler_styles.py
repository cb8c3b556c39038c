"""Handlers in every style that people have them run in the embedded server as they do in the real ones.

What is asserted here of Multi Model Server 1.1.11 and of SageMaker's inference toolkit 1.10.1 was observed with both.
"""

from __future__ import annotations

import io
import itertools
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy
import pytest

from tests.support.model_server_process import Embedded, embedded
from tests.support.real_servers.container import Answer

JSON, CSV, NPY = "application/json", "text/csv", "application/x-npy"
NUMBERS = itertools.count()

IDENTITY = """
def model_fn(model_dir):
    return lambda data: data
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A server whose models carry their handlers."""
    with embedded(tmp_path_factory.mktemp("embedded")) as server:
        yield server


Load = Callable[..., str]


@pytest.fixture
def load(shared: Embedded) -> Iterator[Load]:
    """Load a model with this inference.py; the model's name. It is unloaded after the test."""
    names = []

    def load(inference: str, **files: str) -> str:
        name = f"model-{next(NUMBERS)}"
        names.append(name)
        return shared.loaded(name, inference=inference, **files)

    yield load
    for name in names:
        shared.container.unload(name)


Serve = Callable[..., Embedded]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a server with this handler file, or this NAME in it."""
    with ExitStack() as stack:

        def serve(handler: str, name: str | None = None, **environment: str) -> Embedded:
            file = tmp_path / "handlers" / "my-handler.py"
            file.parent.mkdir(exist_ok=True)
            file.write_text(textwrap.dedent(handler))
            option = f"{file}:{name}" if name else str(file)
            return stack.enter_context(embedded(tmp_path / "server", "--handler", option, **environment))

        yield serve


def refused(server: Embedded, inference: str | None, **files: str) -> str:
    """Why a model with this inference.py cannot be loaded."""
    name = f"model-{next(NUMBERS)}"
    if inference is not None:
        files["inference"] = inference
    answer = server.load(name, **files)
    assert answer.status == 500
    assert server.container.get(name).status == 404
    return answer.json()["message"]


def ask(server: Embedded, name: str, body: bytes = b"", content_type: str = CSV, accept: str | None = None) -> Answer:
    headers = {} if accept is None else {"Accept": accept}
    return server.invoke(name, body, content_type, headers)


# Which handler


def test_an_archives_handler_is_in_code_or_beside_it(shared: Embedded, load: Load) -> None:
    root = load("def handle(data, context): return ['root']")
    both = load("def handle(data, context): return ['root']", code__inference="def handle(d, c): return ['code']")
    assert ask(shared, root).body == b"root"
    assert ask(shared, both).body == b"code"


def test_handlers_import_what_lies_beside_them_and_in_the_model(shared: Embedded) -> None:
    inference = "import near, far\ndef handle(data, context): return [near.WORD + far.WORD]"
    files = {"code__inference": inference, "code__near": "WORD = 'near '", "far": "WORD = 'far'", "near": "WORD = '?'"}
    name = shared.loaded("siblings", **files)
    assert ask(shared, name).body == b"near far"


def test_each_model_has_modules_of_its_own(shared: Embedded, load: Load) -> None:
    inference = "import settings\ndef handle(data, context): return [settings.WORD]"
    one, two = load(inference, settings="WORD = 'one'"), load(inference, settings="WORD = 'two'")
    assert (ask(shared, one).body, ask(shared, two).body) == (b"one", b"two")


def test_a_model_without_a_handler_cannot_be_loaded_and_is_told_what_to_do(shared: Embedded) -> None:
    message = refused(shared, None)
    assert "has neither code/inference.py nor inference.py" in message
    assert "--handler FILE" in message


@pytest.mark.parametrize("program", ["predictor.py", "predictor"])
def test_the_name_of_the_archives_handler_can_be_set(tmp_path: Path, program: str) -> None:
    with embedded(tmp_path, SAGEMAKER_PROGRAM=program) as server:
        server.loaded("m", code__predictor="def handle(data, context): return ['p']", inference="raise ValueError")
        assert ask(server, "m").body == b"p"


def test_a_handler_file_serves_all_models_and_outranks_their_own(serve: Serve) -> None:
    server = serve("import near\ndef handle(data, context): return [context.model_name + near.WORD]")
    (server.directory.parent / "handlers" / "near.py").write_text("WORD = '!'")
    server.loaded("one", code__inference="raise ValueError")
    server.loaded("two")
    assert (ask(server, "one").body, ask(server, "two").body) == (b"one!", b"two!")


@pytest.mark.parametrize("name", ["predict", "Predictor"])
def test_a_function_or_a_class_of_the_handler_file_can_be_named(serve: Serve, name: str) -> None:
    server = serve(
        """
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
        """,
        name,
    )
    server.loaded("m")
    assert ask(server, "m").body.decode() == f"{name} m"


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
def test_a_handler_that_cannot_be_used_says_why(shared: Embedded, inference: str, complaint: str) -> None:
    assert complaint in refused(shared, inference)


# The service function


def test_the_service_function_is_called_once_to_load_and_then_with_each_request(shared: Embedded, load: Load) -> None:
    name = load(
        """
        calls = []

        def handle(data, context):
            calls.append(data if data is None else {name: bytes(value).decode() for name, value in data[0].items()})
            return [calls]
        """
    )
    assert ask(shared, name, b"1,2").json() == [None, {"body": "1,2"}]
    assert ask(shared, name, b"").json() == [None, {"body": "1,2"}, {"body": ""}]


@pytest.mark.parametrize("content_type", [CSV, JSON, "application/octet-stream", "text/plain; charset=utf-8"])
def test_the_body_is_a_bytearray_whatever_its_content_type(shared: Embedded, load: Load, content_type: str) -> None:
    name = load("def handle(data, context): return data and [[len(data), repr(data[0]['body'])]]")
    assert ask(shared, name, b'{"a": 1}', content_type).json() == [1, "bytearray(b'{\"a\": 1}')"]


PARTS = """
def handle(data, context):
    if data is None: return
    types = {k: v["content-type"] for k, v in context.get_all_request_header(0).items() if isinstance(v, dict)}
    return [{name: [value.decode("latin-1"), types.pop(name)] for name, value in data[0].items()} | types]
"""


def test_a_forms_fields_are_parts_of_their_own(shared: Embedded, load: Load) -> None:
    name = load(PARTS)
    answer = ask(shared, name, b"a=1&b=2+3&a=%34&c=", "application/x-www-form-urlencoded")
    assert answer.json() == {"a": ["4", ""], "b": ["2 3", ""], "c": ["", ""]}
    form = (
        b'--B\r\nContent-Disposition: form-data; name="text"\r\n\r\none\r\n'
        b'--B\r\nContent-Disposition: form-data; name="file"; filename="x.png"\r\nContent-Type: image/png\r\n\r\n'
        b"\x00\r\n\xff\r\n--B--\r\n"
    )
    answer = ask(shared, name, form, "multipart/form-data; boundary=B")
    assert answer.json() == {"text": ["one", ""], "file": ["\x00\r\n\xff", "image/png"]}


def test_the_querys_parameters_stand_beside_the_body(shared: Embedded, load: Load) -> None:
    name = load(PARTS)
    answer = shared.container.call("POST", f"/models/{name}/invoke?k=v&k=w", b"1", {"Content-Type": "text/csv; x=y"})
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
def test_what_a_result_becomes(shared: Embedded, load: Load, result: str, body: bytes) -> None:
    answer = ask(shared, load(f"def handle(data, context): return [{result}]"))
    assert (answer.status, answer.body) == (200, body)
    assert answer.headers["Content-Type"] is None  # not even JSON is named by itself


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
def test_a_result_that_is_none_is_503(shared: Embedded, load: Load, result: str, message: str) -> None:
    answer = ask(shared, load(f"def handle(data, context): return data and {result}"))
    assert (answer.status, answer.json()["message"]) == (503, message)


def test_a_prediction_exception_carries_its_own_status(shared: Embedded, load: Load) -> None:
    name = load(
        """
        class PredictionException(Exception):
            def __init__(self, message, error_code):
                self.message, self.error_code = message, error_code

        def handle(data, context):
            if data: raise PredictionException("no such digit", 422)
        """
    )
    answer = ask(shared, name)
    assert (answer.status, answer.json()["message"]) == (422, "no such digit")


def test_numpy_is_imported_by_nobody_but_the_handler(shared: Embedded, load: Load) -> None:
    name = load("import sys\ndef handle(data, context): return ['numpy' in sys.modules]")
    assert ask(shared, name).json() is False


@pytest.mark.parametrize("inside", [True, False])
def test_a_service_function_may_stream(shared: Embedded, load: Load, inside: bool) -> None:
    name = load(
        f"""
        def chunks():
            yield "a"
            yield b"b"

        def handle(data, context):
            return {"[chunks()]" if inside else "chunks()"}
        """
    )
    answer = ask(shared, name)
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.body == b"ab"


def test_a_service_function_may_be_a_generator(shared: Embedded, load: Load) -> None:
    name = load(
        """
        words = []

        def handle(data, context):
            if data is None:
                words.extend(["a", "b"])
            else:
                yield from words
        """
    )
    assert ask(shared, name).body == b"ab"


# The context


def test_the_context_of_a_load(shared: Embedded, load: Load) -> None:
    name = load(
        """
        def handle(data, context):
            global loaded
            if data is None:
                loaded = [context.model_name, context.system_properties, context.manifest,
                          context.request_processor, context.request_ids]
                context.set_response_status(500)
                context.metrics.add_counter("Loads", 1)
            else:
                return [loaded]
        """
    )
    model_name, properties, *rest = ask(shared, name).json()
    assert model_name == name
    assert properties["model_dir"] == shared.container.get(name).json()["modelUrl"]
    assert properties["batch_size"] == 1
    assert {"gpu_id", "server_name", "server_version"} < set(properties)
    assert rest == [None, None, None]
    assert f"[METRICS]Loads.Count:1|#ModelName:{name},Level:Model|#hostname:" in shared.log()


def test_the_manifest_of_an_archive_is_in_the_context(shared: Embedded) -> None:
    directory = shared.model("manifest", inference="def handle(data, context): return [context.manifest]")
    (directory / "MAR-INF").mkdir()
    (directory / "MAR-INF" / "MANIFEST.json").write_text('{"modelVersion": "1.0"}')
    assert shared.container.load("manifest", directory).status == 200
    assert ask(shared, "manifest").json() == {"modelVersion": "1.0"}


def test_the_context_of_a_request(shared: Embedded, load: Load) -> None:
    name = load(
        """
        def handle(data, context):
            if data is None: return
            processor = context.request_processor[0]
            context.set_response_header(0, "X-Answer", "42")
            context.set_response_content_type(0, "application/json")
            context.set_all_response_status(202, "Taken")
            return [[
                context.get_request_id() == context.request_ids[0] == context.get_request_id(0),
                context.get_request_id(1),
                context.get_request_header(0, "Accept"),
                context.get_request_header(0, "accept"),
                context.get_request_header(0, "body"),
                context.get_all_request_header(0) == processor.get_request_properties(),
                processor.get_request_property("Accept"),
                context.get_response_headers(0),
                context.get_response_content_type(0),
                context.get_response_status(0),
                [processor.get_response_status_code(), processor.get_response_status_phrase()],
                processor.get_response_header("X-Answer"),
            ]]
        """
    )
    answer = ask(shared, name, b"", CSV, "a/b")
    assert answer.json() == [
        True,
        None,
        "a/b",
        None,
        {"content-type": CSV},
        True,
        "a/b",
        {"X-Answer": "42", "content-type": JSON},
        JSON,
        [202, "Taken"],
        [202, "Taken"],
        "42",
    ]
    assert (answer.status, answer.headers["X-Answer"], answer.headers["Content-Type"]) == (202, "42", JSON)


def test_each_request_begins_with_a_clean_context(shared: Embedded, load: Load) -> None:
    name = load(
        """
        def handle(data, context):
            if data is None: return
            seen = [dict(context.get_response_headers(0)), context.get_response_status(0)]
            context.set_response_header(0, "X-Answer", "1")
            context.set_response_status(418, "teapot")
            return [[context.get_request_id(), *seen]]
        """
    )
    first, *clean = ask(shared, name).json()
    second, *again = ask(shared, name).json()
    assert first != second
    assert clean == again == [{}, [200, None]]


def test_what_a_handler_measures_is_logged(shared: Embedded, load: Load) -> None:
    name = load(
        """
        class Dimension:
            def __str__(self): return "Host:h"

        def handle(data, context):
            if data is None: return
            metrics = context.metrics
            metrics.add_counter("Words", 2)
            metrics.add_counter("Words", 3)
            metrics.add_time("Parsing", 1.5)
            metrics.add_time("Thinking", 2, None, "s", [Dimension()])
            metrics.add_size("Text", 7, unit="kB")
            metrics.add_percent("Sure", 99)
            metrics.add_metric("Mood", "good", unit="faces")
            metrics.add_error("Oops", "wrong")
            for add in (metrics.add_time, metrics.add_size):
                try:
                    add("Bad", 1, unit="furlong")
                except ValueError:
                    metrics.add_counter("Refused", 1)
            return [context.get_request_id()]
        """
    )
    request_id = ask(shared, name).body.decode()
    ask(shared, name)
    log = shared.log()
    model = f"|#ModelName:{name},Level:Model|#hostname:"
    for line in (
        "[METRICS]Words.Count:5" + model,
        "[METRICS]Parsing.Milliseconds:1.5" + model,
        f"[METRICS]Thinking.Seconds:2|#Host:h,ModelName:{name},Level:Model|#hostname:",
        "[METRICS]Text.Kilobytes:7" + model,
        "[METRICS]Sure.Percent:99" + model,
        "[METRICS]Mood.faces:good" + model,
        "[METRICS]Oops.:wrong|#Level:Error|#hostname:",
        "[METRICS]Refused.Count:2" + model,
    ):
        assert line in log
    assert any("Words.Count" in line and line.endswith(request_id) for line in log.splitlines())


# The class


def test_the_only_class_of_the_module_is_the_handler(shared: Embedded, load: Load) -> None:
    name = load(
        """
        from collections import OrderedDict

        class Service:
            def initialize(self, context):
                self.model_dir = context.system_properties["model_dir"]

            def handle(self, data, context):
                return [self.model_dir]
        """
    )
    assert ask(shared, name).body.decode() == shared.container.get(name).json()["modelUrl"]


def test_a_class_whose_initialize_raises_is_not_loaded(shared: Embedded) -> None:
    message = refused(
        shared,
        """
        class Service:
            def initialize(self, context): raise OSError("no weights")
            def handle(self, data, context): return ["?"]
        """,
    )
    assert message == "OSError: no weights"


# The toolkit's functions


def test_each_function_is_given_what_the_toolkit_gives_it(shared: Embedded, load: Load) -> None:
    name = load(
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
    answer = ask(shared, name, b"1,2", CSV, "x/y")
    assert answer.body.decode() == str(
        [
            ["model_fn", shared.container.get(name).json()["modelUrl"]],
            ["input_fn", "1,2", CSV],
            ["predict_fn", "data", "model"],
            ["output_fn", "prediction", "x/y"],
        ]
    )
    assert answer.headers["Content-Type"] == "x/y"


def test_each_function_may_take_the_context_too(shared: Embedded, load: Load) -> None:
    name = load(
        """
        def pre_model_fn(model_dir, context): global log; log = [context.model_name]
        def model_fn(model_dir, context): log.append(context.model_name); return 1
        def model_warmup_fn(model_dir, model, context): log.append(context.model_name)
        def input_fn(body, content_type, context): return context.get_request_header(0, "Accept")
        def predict_fn(data, model, context=None): return [data, context.get_request_id() is not None]
        def output_fn(prediction, accept, context): context.set_response_status(201); return str(prediction + log)
        """
    )
    answer = ask(shared, name, b"", CSV, "x/y")
    assert (answer.status, answer.body.decode()) == (201, str(["x/y", True, name, name, name]))


def test_transform_fn_does_it_all(shared: Embedded, load: Load) -> None:
    name = load(
        """
        def model_fn(model_dir): return "model"
        def transform_fn(model, body, content_type, accept): return repr([model, body, content_type, accept]), "z/z"
        """
    )
    answer = ask(shared, name, b"\x01", "x/x", "y/y")
    assert answer.body.decode() == repr(["model", bytearray(b"\x01"), "x/x", "y/y"])
    assert answer.headers["Content-Type"] == "z/z"


@pytest.mark.parametrize("content_type", [JSON, CSV])
def test_json_and_csv_are_text_and_anything_else_is_bytes(shared: Embedded, load: Load, content_type: str) -> None:
    name = load(IDENTITY + "def input_fn(body, content_type): return type(body).__name__\n")
    assert ask(shared, name, b"1", content_type).json() == "str"
    assert ask(shared, name, b"1", content_type + "; charset=utf-8").json() == "bytearray"


@pytest.mark.parametrize("accept", [None, "*/*"])
def test_the_answer_is_json_unless_something_else_is_accepted(
    shared: Embedded, load: Load, tmp_path: Path, accept: str | None
) -> None:
    answer = ask(shared, load(IDENTITY), b"[1]", JSON, accept)
    assert (answer.body, answer.headers["Content-Type"]) == (b"[1]", JSON)
    with embedded(tmp_path, SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT=CSV) as server:
        server.loaded("m", inference=IDENTITY)
        answer = ask(server, "m", b"[1]", JSON, accept)
    assert (answer.body, answer.headers["Content-Type"]) == (b"1\n", CSV)


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
    shared: Embedded, load: Load, content_type: str, body: bytes, accept: str, answered: bytes
) -> None:
    answer = ask(shared, load(IDENTITY), body, content_type, accept)
    assert (answer.status, answer.body) == (200, answered)
    assert answer.headers["Content-Type"] == accept.split(", ")[-1]


@pytest.mark.parametrize(
    "content_type, accept, unsupported",
    [
        ("text/plain", JSON, "text/plain"),
        ("application/json; charset=utf-8", JSON, "application/json; charset=utf-8"),
        (JSON, "text/html", "text/html"),
    ],
)
def test_a_content_type_that_is_not_supported_is_500_as_in_the_toolkit(
    shared: Embedded, load: Load, content_type: str, accept: str, unsupported: str
) -> None:
    answer = ask(shared, load(IDENTITY), b"[1]", content_type, accept)
    assert answer.status == 500
    assert answer.body.decode().startswith(f"Content type {unsupported} is not supported by this framework.")


def test_an_array_of_pickled_objects_is_not_unpickled(shared: Embedded, load: Load) -> None:
    file = io.BytesIO()
    numpy.save(file, numpy.array([{}], dtype=object), allow_pickle=True)
    answer = ask(shared, load(IDENTITY), file.getvalue(), NPY)
    assert answer.status == 500
    assert b"allow_pickle" in answer.body


def test_without_numpy_json_and_csv_are_lists(tmp_path: Path) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "numpy.py").write_text("raise ImportError('not here')")
    with embedded(tmp_path / "server", PYTHONPATH=str(tmp_path / "without")) as server:
        server.loaded("m", inference=IDENTITY)
        assert ask(server, "m", b"[[1, 2.5]]", JSON).json() == [[1, 2.5]]
        assert ask(server, "m", b"1,2.5,x\n3,4,y\n", CSV).json() == [[1, 2.5, "x"], [3, 4, "y"]]
        assert ask(server, "m", b"1,2", CSV).json() == [1, 2]
        assert ask(server, "m", b"[[1, 2], [3, 4]]", JSON, CSV).body == b"1,2\n3,4\n"
        assert ask(server, "m", b"[1, 2]", JSON, CSV).body == b"1\n2\n"
        assert b"NPY needs numpy" in ask(server, "m", npy([1]), NPY).body


def test_without_predict_fn_the_model_predicts_or_is_called(shared: Embedded, load: Load) -> None:
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
    assert ask(shared, estimator, b"[1]", JSON).json() == [2]
    assert ask(shared, function, b"[1]", JSON).json() == [2]
    answer = ask(shared, neither, b"[1]", JSON)
    assert answer.status == 500
    assert answer.body.startswith(b"Please provide a predict_fn implementation")


def test_what_a_function_raises_is_answered_with_its_traceback(shared: Embedded, load: Load) -> None:
    name = load(IDENTITY + "def predict_fn(data, model): raise ValueError('too many digits')\n")
    answer = ask(shared, name, b"[1]", JSON)
    assert answer.status == 500
    assert answer.body.startswith(b"too many digits\nTraceback (most recent call last):\n")
    assert "\nValueError: too many digits\n" in shared.log()
    assert answer.headers["Content-Type"] is None


def test_an_error_of_the_toolkits_kind_carries_its_own_status(shared: Embedded, load: Load) -> None:
    name = load(
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
    answer = ask(shared, name, b"[1]", JSON)
    assert (answer.status, answer.body[:9]) == (413, b"too long\n")


@pytest.mark.parametrize("function", ["predict_fn(data, model)", "transform_fn(model, body, content_type, accept)"])
def test_running_out_of_memory_in_a_function_is_500(shared: Embedded, load: Load, function: str) -> None:
    """As in the toolkit, by which a service function alone makes the platform unload other models."""
    answer = ask(shared, load(IDENTITY + f"def {function}: raise MemoryError('no room')\n"), b"[1]", JSON)
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
def test_a_functions_iterator_is_streamed(shared: Embedded, load: Load, functions: str) -> None:
    answer = ask(shared, load(IDENTITY + functions), b"[1]", JSON, "text/event-stream")
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.body == b"ab"


def test_a_model_pickled_with_classes_of_its_handler_can_be_loaded(shared: Embedded) -> None:
    inference = """
        import os, pickle

        class Net:
            def __call__(self, data): return data * 3

        def model_fn(model_dir):
            with open(os.path.join(model_dir, "model.pkl"), "rb") as file:
                return pickle.load(file)
        """
    directory = shared.model("pickled", code__inference=inference)
    (directory / "model.pkl").write_bytes(b"cinference\nNet\n)\x81.")  # an instance of inference.Net
    assert shared.container.load("pickled", directory).status == 200
    assert ask(shared, "pickled", b"[1]", JSON).json() == [3]


def test_a_scikit_learn_model_is_served_by_model_fn_alone(shared: Embedded) -> None:
    sklearn = pytest.importorskip("sklearn.linear_model")
    joblib = pytest.importorskip("joblib")
    inference = """
        import os, joblib

        def model_fn(model_dir):
            return joblib.load(os.path.join(model_dir, "model.joblib"))
        """
    directory = shared.model("line", code__inference=inference)
    joblib.dump(sklearn.LinearRegression().fit([[0], [1]], [1, 3]), directory / "model.joblib")
    assert shared.container.load("line", directory).status == 200
    assert ask(shared, "line", b"[[2], [3]]", JSON).json() == pytest.approx([5, 7])
