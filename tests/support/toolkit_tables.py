"""Handlers, and requests to each, that AWS's containers and localmme's own server answer alike; a table a container."""

from __future__ import annotations

import base64
import io
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy

JSON, CSV, NPY, NPZ = "application/json", "text/csv", "application/x-npy", "application/x-npz"


@dataclass(frozen=True)
class Request:
    """A request's body, and its headers; without a content type or an accepted one it has no such header."""

    body: bytes = b"[[1, 2], [3, 4]]"
    content_type: str | None = JSON
    accept: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        both = {"Content-Type": self.content_type, "Accept": self.accept}
        return {name: value for name, value in both.items() if value is not None}


PLAIN = (Request(),)


@dataclass(frozen=True)
class Model:
    """A model: its handler, or the files of the archive by name, and the requests to it."""

    title: str
    handler: str | None = None
    requests: tuple[Request, ...] = PLAIN
    files: dict[str, bytes] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    differs: bool = False
    """Whether the answer is another one here, as docs/handlers.md says."""

    def as_json(self, toolkit: str) -> dict[str, Any]:
        """For ``inside/toolkit_outcomes.py``."""
        files = {**self.files, **({"inference.py": self.handler.encode()} if self.handler is not None else {})}
        return {
            "toolkit": toolkit,
            "files": {name: base64.b64encode(content).decode() for name, content in files.items()},
            "environment": self.environment,
            "requests": [
                {"body": base64.b64encode(request.body).decode(), "headers": request.headers}
                for request in self.requests
            ],
        }


def npy(array: Any) -> bytes:
    """An array in NumPy's format."""
    file = io.BytesIO()
    numpy.save(file, numpy.array(array))
    return file.getvalue()


BODIES = tuple(
    Request(body, content_type, None)
    for content_type, bodies in {
        JSON: (b"[[1, 2], [3, 4]]", b"[1, 2.5]", b"7", b'"text"', b"null", b'{"a": [1]}', b"[[1], [2, 3]]", b"",
               b"[1,", b"\xff", b"[]", b"[true]", b'[["a", "b"]]'),
        CSV: (b"1,2\n3,4", b"1,2\n3,4\n", b"1,2.5", b"5", b"", b"a,b\n1,2", b"1,\n,2", b'"1","2"', b"\xff"),
        NPY: (npy([[1.5, 2]]), npy([1, 2]), b""),
        NPZ: (b"", b"text"),
        "text/plain": (b"1,2",),
        "application/json; charset=utf-8": (b"[1]",),
        "text/libsvm": (b"1 1:2",),
        "application/octet-stream": (b"\x00",),
        "*/*": (b"[1]",),
        "": (b"[1]",),
    }.items()
    for body in bodies
) + (Request(b"[1]", None),)  # fmt: skip
ACCEPTS = tuple(
    Request(accept=accept)
    for accept in (JSON, CSV, NPY, "*/*", "", "text/html", f"text/html, {CSV}", f"{CSV},{JSON}", f"{JSON};q=0.5, */*",
                   "application/*", "image/png")
)  # fmt: skip

LOADED = "def model_fn(model_dir): return 'model'\n"
MODEL = """
class Model:
    def predict(self, data, **options): return data
    def __call__(self, data, **options): return data
    def to(self, device): return self
    def eval(self): pass

def model_fn(model_dir): return Model()
"""
PREDICTS = LOADED + "def predict_fn(data, model): return data\n"
READS = LOADED + "def input_fn(body, content_type): return body\n"
PASSES = READS + "def predict_fn(data, model): return data\n"
# What each function of a handler may return and raise, in words of Python.
PREDICTIONS = ("1.5", "'text'", "b'bytes'", "None", "{'a': 1}", "[{'a': 1}]", "[1, [2]]", "(1, 2)", "{1}", "object()",
               "float('nan')", "[[1, 2], [3, 4]]", "__import__('numpy').array([[1.5, 2]])",
               "__import__('numpy').int64(3)", "iter([1])", "[]")  # fmt: skip
OUTPUTS = ("'text'", "b'bytes'", "bytearray(b'b')", "{'a': 1}", "7", "None", "[1, 2]", "('text', 'text/x')",
           "(b'b', 'text/x')", "('one', 'two', 'three')", "object()", "iter(['a'])")  # fmt: skip
RAISED = ("ValueError('no good')", "ValueError()", "KeyError('key')", "MemoryError('no room')", "OSError(2, 'gone')",
          "Exception('two\\nlines')", "NotImplementedError()")  # fmt: skip

RETURNS = (
    *(
        Model(f"predict_fn returns {value}", f"{READS}def predict_fn(data, model): return {value}\n",
              tuple(Request(accept=accept) for accept in (JSON, CSV)))
        for value in PREDICTIONS
    ),
    *(Model(f"output_fn returns {value}", f"{PASSES}def output_fn(prediction, accept): return {value}\n")
      for value in OUTPUTS),
    *(Model(f"transform_fn returns {value}",
            f"{LOADED}def transform_fn(model, body, content_type, accept): return {value}\n")
      for value in OUTPUTS),
)  # fmt: skip
RAISES = (
    *(Model(f"predict_fn raises {error}", f"{READS}def predict_fn(data, model): raise {error}\n") for error in RAISED),
    *(
        Model(f"{function} raises", f"{given}def {function}: raise ValueError('no good')\n")
        for function, given in (
            ("model_fn(model_dir)", ""),
            ("input_fn(body, content_type)", LOADED),
            ("output_fn(prediction, accept)", PASSES),
            ("transform_fn(model, body, content_type, accept)", LOADED),
        )
    ),
    Model("the handler raises", "raise ValueError('no good')"),
    Model("the handler is not Python", "def"),
    Model("a module is missing", "import there_is_no_such_module"),
)
SIGNATURES = (
    Model("every function takes the context", """
def model_fn(model_dir, context): return context.system_properties["batch_size"]
def input_fn(body, content_type, context): return [body, content_type]
def predict_fn(data, model, context): return [data, model, context.get_request_id(0) is not None]
def output_fn(prediction, accept, context):
    context.set_response_header(0, "x", "y")
    return str([prediction, accept])
"""),
    Model("transform_fn takes the context",
          f"{LOADED}def transform_fn(model, body, content_type, accept, context): return str([model, body, accept])\n"),
    Model("the context is optional",
          f"{READS}def predict_fn(data, model, context=None): return type(context).__name__\n"),
    Model("output_fn sets the status", f"""{PASSES}
def output_fn(prediction, accept, context):
    context.set_response_status(201, "Made")
    return "made"
"""),
    Model("predict_fn takes too few", f"{READS}def predict_fn(data): return data\n"),
    Model("predict_fn takes too many", f"{READS}def predict_fn(data, model, context, more): return data\n"),
    Model("model_fn takes none", "def model_fn(): return 1\n"),
    Model("transform_fn and predict_fn", PREDICTS + "def transform_fn(model, body, content_type, accept): return 1\n"),
    Model("model_fn alone", LOADED),
    Model("no function", "x = 1"),
    Model("no handler"),
)  # fmt: skip
OF_THE_TOOLKIT = (
    Model("its functions before and after the load", """
def pre_model_fn(model_dir): global steps; steps = ["before"]
def model_fn(model_dir): steps.append("load"); return steps
def model_warmup_fn(model_dir, model): model.append("after")
def input_fn(body, content_type): return body
def predict_fn(data, model): return model
"""),
    *(
        Model(f"its own error {error}", f"""{READS}
from sagemaker_inference.errors import BaseInferenceToolkitError, GenericInferenceToolkitError
def predict_fn(data, model): raise {error}
""")
        for error in ("BaseInferenceToolkitError(413, 'too long', 'Too Long')", "GenericInferenceToolkitError(404)",
                      "GenericInferenceToolkitError(503, 'later')", "BaseInferenceToolkitError(400, 'two', 'li\\nnes')")
    ),
    Model("the default of what is accepted", PREDICTS, tuple(Request(accept=accept) for accept in (None, "*/*", JSON)),
          environment={"SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": CSV}),
)  # fmt: skip
PLACES = (
    Model("in code/", files={"code/inference.py": PREDICTS.encode()}),
    Model("in both", files={"code/inference.py": PREDICTS.encode(), "inference.py": MODEL.encode()}),
    Model("by the name of a module", files={"serve.py": PREDICTS.encode()}, environment={"SAGEMAKER_PROGRAM": "serve"}),
    Model(
        "by the name of a file", files={"serve.py": PREDICTS.encode()}, environment={"SAGEMAKER_PROGRAM": "serve.py"}
    ),
    Model("a package", files={"inference/__init__.py": PREDICTS.encode()}),
    Model("with a module of its own", "import helper\n" + PREDICTS, files={"helper.py": b"x = 1"}),
    Model("another name is missing", PREDICTS, environment={"SAGEMAKER_PROGRAM": "serve.py"}),
)

PICKLE = Model("a pickle", PREDICTS, (Request(b"text", NPY),), differs=True)


def of_the_toolkit(bodies: tuple[Request, ...]) -> tuple[Model, ...]:
    """The table of a container that is built on the inference toolkit."""
    answers = "def output_fn(prediction, accept): return str([prediction, accept])\n"
    return (
        Model("bodies", PREDICTS, bodies),
        Model("what is accepted", PREDICTS, ACCEPTS),
        Model("the model predicts", MODEL, bodies),
        Model("the model predicts what is accepted", MODEL, ACCEPTS),
        Model("as it is sent", PASSES + answers, BODIES),
        PICKLE,
        *RETURNS,
        *RAISES,
        *SIGNATURES,
        *OF_THE_TOOLKIT,
        *PLACES,
    )


# Of a number, FloatTensor makes as many as that, of whatever is in memory.
TENSORS = tuple(request for request in BODIES if request.body not in (b"7", b"5"))
PYTORCH = (
    Model(
        "a tensor",
        READS + "def predict_fn(data, model):\n    import torch\n    return torch.tensor([[1.5, 2]])\n",
        ACCEPTS,
    ),
    Model(
        "a tensor of its own kind",
        READS
        + """
def predict_fn(data, model):
    import torch
    return torch.nn.Parameter(torch.tensor([1.5]))
""",
    ),
    Model("no model", files={"weights.bin": b"1"}),
    Model("two models", files={"one.pt": b"1", "two.pth": b"2"}),
    Model("no TorchScript", files={"one.pt": b"1"}),
    Model("as tensors", LOADED + "def predict_fn(data, model): return str(data)\n", TENSORS),
)
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
HF_BODIES = (
    *BODIES,
    *(Request(body, JSON) for body in (b'{"inputs": "x"}', b'{"inputs": [1], "parameters": {"top_k": 2}}', b'{"x": 1}',
                                       b'{"parameters": {}}', b'{"inputs": null}')),
    *(Request(body, CSV) for body in (b"inputs\na\nb\n", b"question,context\nq,c\n", b"Inputs\na", b"inputs", b"x\n1")),
    *(Request(body, kind) for body in (PICTURE, b"", b"no picture")
      for kind in ("image/png", "image/jpeg", "image/x-image", "image/svg+xml")),
    *(Request(b"RIFF", kind) for kind in ("audio/wave", "audio/x-audio", "audio/ogg", "audio/wav")),
)  # fmt: skip
HF_MODEL = """
def model_fn(model_dir):
    return lambda inputs, **parameters: [{"inputs": repr(inputs)[:60], **parameters}]
"""
PICTURES = ("image/png", "image/jpeg", "image/bmp", "image/gif", "image/x-image", "image/svg+xml", JSON, NPY)
HUGGINGFACE = (
    Model("bodies", HF_MODEL, tuple(r for r in HF_BODIES if r.body != PICTURE)),
    Model("what is accepted", HF_MODEL, tuple(Request(b'{"inputs": "x"}', JSON, r.accept) for r in ACCEPTS)),
    Model("as it is sent", PASSES + "def output_fn(prediction, accept): return str([prediction, accept])\n", HF_BODIES),
    Model("pictures", """
def model_fn(model_dir): return lambda picture: picture.rotate(90)
""", tuple(Request(PICTURE, "image/png", accept) for accept in PICTURES)),
    Model("what JSON has no word for", READS + """
def predict_fn(data, model):
    import datetime, numpy
    return [numpy.int64(1), numpy.float32(1.5), numpy.array([1]), datetime.datetime(2020, 1, 2), "\u00e4", 1e20, True]
"""),
    Model("with Multi Model Server's exception", READS + """
from mms.service import PredictionException
def predict_fn(data, model): raise PredictionException("too long", 413)
"""),
    Model("no such architecture", files={"config.json": b'{"architectures": ["SomethingElse"]}'}),
    Model("no architecture", files={"config.json": b"{}"}),
    Model("zero-shot-classification", HF_MODEL, (Request(b"inputs\na", CSV), Request(b'{"inputs": "x"}')),
          environment={"HF_TASK": "zero-shot-classification"}),
    Model("no such task", requests=PLAIN, environment={"HF_TASK": "baking"}),
    PICKLE, *RETURNS, *RAISES, *SIGNATURES, *PLACES,
)  # fmt: skip
HANDLES = """
def handle(data, context):
    if data is None: return
    """
MMS_RESULTS = ("['text']", "[b'bytes']", "[{'a': 1}]", "[[1, 2]]", "[1]", "[None]", "'text'", "{}", "None", "[]",
               "[1, 2]", "('a',)", "[object()]", "[iter(['a'])]", "iter(['a'])", "[bytearray(b'b')]")  # fmt: skip
MMS = (
    *(Model(f"handle returns {value}", f"{HANDLES}return {value}\n") for value in MMS_RESULTS),
    *(Model(f"handle raises {error}", f"{HANDLES}raise {error}\n") for error in RAISED),
    Model("what is sent",
          HANDLES + "return [str([bytes(data[0]['body']), context.get_all_request_header(0)])]\n", BODIES),
    Model("with its own exception",
          f"from mms.service import PredictionException\n{HANDLES}raise PredictionException('no', 418)\n"),
    Model("it sets what is answered", HANDLES + """
    context.set_response_content_type(0, "text/x")
    context.set_response_status(201, "Made", 0)
    context.set_response_header(0, "x", "y")
    return ["made"]
"""),
    Model("a class", """
class Service:
    def initialize(self, context): self.name = context.system_properties["batch_size"]
    def handle(self, data, context): return [self.name]
"""),
    Model("a class that cannot be initialized", """
class Service:
    def initialize(self, context): raise ValueError("no weights")
    def handle(self, data, context): return [self.name]
"""),
    Model("by its manifest", files={"MAR-INF/MANIFEST.json": b'{"model": {"handler": "serve:run"}}',
                                    "serve.py": HANDLES.replace("handle", "run").encode() + b"return ['x']"}),
    Model("by its manifest, a file", files={"MAR-INF/MANIFEST.json": b'{"model": {"handler": "code/serve.py"}}',
                                            "serve.py": HANDLES.encode() + b"return ['x']"}),
)  # fmt: skip
LIBSVM, RECORDIO = "text/libsvm", "application/x-recordio-protobuf"


def records(*features: bytes) -> bytes:
    """RecordIO-Protobuf of rows, each with one tensor: the number of its field, then the tensor's fields."""
    framed = b""
    for tensor in features:
        value = b"\x0a\x06values\x12" + bytes([len(tensor)]) + tensor
        record = b"\x0a" + bytes([len(value)]) + value
        framed += struct.pack("<II", 0xCED7230A, len(record)) + record + b"\0" * (-len(record) % 4)
    return framed


def tensor(number: int, values: bytes, keys: bytes = b"", shape: bytes = b"") -> bytes:
    """A tensor of one of the message's kinds: 2 is of 32-bit floats, 3 of 64-bit floats, 7 of integers."""
    parts = b"".join(bytes([8 * n + 2, len(part)]) + part for n, part in ((1, values), (2, keys), (3, shape)) if part)
    return bytes([8 * number + 2, len(parts)]) + parts


XGBOOST_BODIES = (
    *(Request(body, CSV) for body in (b"1,2\n3,4", b"1,2\n3,4\n", b"1,\n,2", b"1;2\n3;4", b"1\t2", b"1 2", b"5",
                                      b"", b"a,b", b"1,2\n3", b"\xff")),
    *(Request(body, kind) for body in (b"1 0:1.5 2:3\n0 1:2\n", b"1 0:1", b"0:1 1:2")
      for kind in (LIBSVM, "text/x-libsvm")),
    Request(b"1 0:1", "text/libsvm; charset=utf-8"),
    Request(b"1,2", "text/csv; charset=utf-8"),
    Request(records(*(tensor(2, struct.pack("<3f", 1.5, 2, row)) for row in (1, 2))), RECORDIO),
    Request(records(tensor(3, struct.pack("<2d", 0.1, -2))), RECORDIO),
    Request(records(tensor(7, b"\x01\x96\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")), RECORDIO),
    Request(records(tensor(2, struct.pack("<2f", 1.5, 2), b"\0\x03", b"\x05"),
                    tensor(2, struct.pack("<f", 4), b"\x02", b"\x05")), RECORDIO),
    *(Request(b"[[1, 2]]", kind) for kind in (JSON, NPY, "text/plain", "")),
)  # fmt: skip
SEES = """
class Model:
    def predict(self, data, validate_features):
        return [data.num_row(), data.num_col(), data.get_data().toarray().tolist(), validate_features]

def model_fn(model_dir): return Model()
"""
LEARNS = """
def model_fn(model_dir):
    import numpy, xgboost
    data = xgboost.DMatrix(numpy.arange(8.0).reshape(4, 2), label=[0, 1, 2, 3])
    return xgboost.train({"nthread": 1, "max_depth": 2, "min_child_weight": 0}, data, 3)
"""
XGBOOST = (
    Model("as the model sees it", SEES, XGBOOST_BODIES),
    Model("a booster", LEARNS, (Request(b"1,2\n3,4", CSV), Request(b"0 0:1 1:2", LIBSVM))),
    Model("what a booster is to answer", LEARNS,
          tuple(Request(b"1,2\n5,6", CSV, request.accept) for request in ACCEPTS)),
    Model("as it is sent", PASSES + "def output_fn(prediction, accept): return str([prediction, accept])\n", BODIES),
    *RETURNS, *RAISES, *SIGNATURES, *OF_THE_TOOLKIT, *PLACES,
)  # fmt: skip
TABLES = {
    "inference": of_the_toolkit(BODIES),
    "sklearn": of_the_toolkit(BODIES),
    "xgboost": XGBOOST,
    "mms": MMS,
    "pytorch": (*PYTORCH, *of_the_toolkit(TENSORS)),
    "huggingface": HUGGINGFACE,
}
