"""``--toolkit tensorflow``, by the published behaviour of SageMaker's TensorFlow Serving container.

That container's code is on no package index, and TensorFlow Serving is too large for a test: here, it answers with what
it was sent. What is expected is what the code in the container's repository on GitHub does.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from emulator.model_server.handlers.toolkits import VARIABLE
from tests.support.handlers import JSON, Answer, Models

BOTH = "def input_handler(data, context): {}\ndef output_handler(response, context): {}\n"
READS, ANSWERS = "return data.read()", "return response.content, context.accept_header"
SENDS = BOTH.format(READS, ANSWERS)
FAILS = "raise ValueError('no good')"


@pytest.fixture(autouse=True)
def _serving(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow Serving: its answer has the address and the body of the call."""

    def post(url: str, data: Any) -> requests.Response:
        response = requests.Response()
        response.status_code = 200
        sent = data.decode() if isinstance(data, bytes) else data
        response._content = json.dumps([url.removeprefix("http://serving:1/v1/models/"), sent]).encode()
        return response

    monkeypatch.setattr(requests, "post", post)
    monkeypatch.setenv(VARIABLE, "tensorflow")
    monkeypatch.setenv("LOCALMME_TENSORFLOW_SERVING", "http://serving:1/")
    monkeypatch.setenv("TFS_DEFAULT_MODEL_NAME", "half")


def outcome(answer: Answer) -> tuple[int, str | None, str]:
    return answer.status, answer.headers.get("content-type"), answer.body.decode()


BODIES = (b'{"instances": [1]}', b"1,2", b"", b"text", b"[1,")
TYPES = ((JSON, None, JSON), ("text/csv", "text/x", "text/x"), ("", "*/*", "*/*"), ("a/b", "", JSON))


@pytest.mark.parametrize("code__inference", [SENDS, None], ids=["handlers", "no handler"])
@pytest.mark.parametrize(("content_type", "accept", "answered"), TYPES)
@pytest.mark.parametrize("body", BODIES)
def test_a_body_goes_through_tensorflow_serving(
    load: Models, body: bytes, content_type: str, accept: str | None, answered: str, code__inference: str | None
) -> None:
    model = load.loaded(load.write(**({"code__inference": code__inference} if code__inference else {})))
    answer = model.ask(body, content_type, accept)
    assert outcome(answer) == (200, answered, json.dumps(["half:predict", body.decode()]))


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (BOTH.format(FAILS, ANSWERS), (500, JSON, '{"error": "no good"}')),
        (BOTH.format(READS, FAILS), (500, JSON, '{"error": "no good"}')),
        (BOTH.format("raise KeyError('x')", ANSWERS), (500, JSON, '{"error": "\'x\'"}')),
        (BOTH.format("raise MemoryError('no room')", ANSWERS), (500, JSON, '{"error": "no room"}')),
        (BOTH.format("return None", ANSWERS), (200, JSON, '["half:predict", null]')),
        (BOTH.format("return 'text'", ANSWERS), (200, JSON, '["half:predict", "text"]')),
        (BOTH.format(READS, "return 'text', 'text/x'"), (200, "text/x", "text")),
        (BOTH.format(READS, "return b'bytes', 'text/x'"), (200, "text/x", "bytes")),
        (BOTH.format(READS, "return 'text', None"), (200, JSON, "text")),
        (BOTH.format(READS, "return response.json()[0], 'text/x'"), (200, "text/x", "half:predict")),
        (BOTH.format(READS, "return ()"),
         (500, JSON, '{"error": "not enough values to unpack (expected 2, got 0)"}')),
        (BOTH.format(READS, "return None"),
         (500, JSON, '{"error": "cannot unpack non-iterable NoneType object"}')),
        ("def handler(data, context): return data.read(), context.request_content_type", (200, "a/b", "sent")),
        (f"def handler(data, context): {FAILS}", (500, JSON, '{"error": "no good"}')),
        (f"{BOTH.format(FAILS, FAILS)}def handler(data, context): return 'one', 'text/x'", (200, "text/x", "one")),
        ("def handler(data): pass",
         (500, JSON, '{"error": "handler() takes 1 positional argument but 2 were given"}')),
    ],
)  # fmt: skip
def test_what_handlers_return_and_raise(load: Models, handler: str, expected: tuple[int, str, str]) -> None:
    model = load.loaded(load.write(code__inference=handler))
    assert outcome(model.ask(b"sent", "a/b")) == expected


def test_custom_attributes_choose_model_version_and_method(load: Models) -> None:
    handler = "def handler(data, context): return str(list(context)), 'text/x'"
    model = load.loaded(load.write(code__inference=handler))
    attributes = "tfs-model-name=third,x=y,tfs-model-version=2,tfs-method=classify"
    answer = model.ask(b"sent", "a/b", attributes=attributes)
    uri = "http://serving:1/v1/models/third/versions/2:classify"
    assert answer.body.decode() == str(["third", "2", "classify", uri, None, None, attributes, "a/b", JSON, 4])


@pytest.mark.parametrize("handler", ["x = 1", "def input_handler(data, context): pass"])
def test_a_handler_without_these_functions_is_not_loaded(load: Models, handler: str) -> None:
    assert "Handlers are not implemented correctly in user script." in load.refusal(code__inference=handler)


def test_many_models_have_the_handler_of_all_models_only(load: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGEMAKER_MULTI_MODEL", "true")
    shared = load.write(handler="def handler(data, context): return 'shared', 'text/x'") / "handler.py"
    own = load.write(code__inference="def handler(data, context): return 'own', 'text/x'")
    assert load.loaded(own, str(shared)).ask(b"1").body == b"shared"
    assert load.loaded(own).ask(b"1").json() == ["half:predict", "1"]
