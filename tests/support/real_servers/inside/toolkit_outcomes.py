"""Runs models and requests through the real code of AWS's containers, and through localmme's own server.

Both run in this process, whose Python has the containers' packages, one model after the other. A JSON file says what to
run, and what came of it is written to another one:

python toolkit_outcomes.py MODELS OUTCOMES
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import shutil
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ["SAGEMAKER_MULTI_MODEL"] = "true"  # the toolkits read it when they are imported

from mms.model_loader import MmsModelLoader

from emulator.model_server.handlers import styles

# The module that Multi Model Server loads in each container.
SERVICES = {
    "inference": "sagemaker_inference.default_handler_service",
    "pytorch": "sagemaker_pytorch_serving_container.handler_service",
    "huggingface": "sagemaker_huggingface_inference_toolkit.handler_service",
    "sklearn": "sklearn_container",
    "xgboost": "xgboost_container",
    "mms": "inference.py",
}
Outcome = dict[str, Any]


def main(models: str, outcomes: str) -> None:
    """Write what came of the models in a file to another file."""
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        for number, model in enumerate(json.loads(Path(models).read_text())):
            # At the same path for both: what transformers takes a model for depends on the letters of its path.
            directory = Path(scratch, f"model-{number}")
            results.append({"theirs": outcome(theirs, model, directory), "ours": outcome(ours, model, directory)})
    Path(outcomes).write_text(json.dumps(results))


def outcome(load: Callable[..., Any], model: dict[str, Any], directory: Path) -> list[Outcome]:
    """What callers of one model get: one of each request, or of the load when that fails."""
    with prepared(model, directory):
        try:
            invoke = load(model["toolkit"], directory)
        except Exception as error:
            return [{"load": f"{type(error).__name__}: {error}"}]
        return [invoke(base64.b64decode(request["body"]), request["headers"]) for request in model["requests"]]


@contextmanager
def prepared(model: dict[str, Any], directory: Path) -> Iterator[None]:
    """The model's directory is there, as the working directory; afterwards the process and the disk are as before."""
    path, modules, environment, here = list(sys.path), set(sys.modules), dict(os.environ), os.getcwd()
    directory.mkdir()
    for name, text in model["files"].items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(text))
    os.environ.update(model["environment"])
    os.chdir(directory)
    sys.path.insert(0, str(directory))
    importlib.invalidate_caches()  # another model was at this path a moment ago
    try:
        yield
    finally:
        sys.path[:] = path
        os.chdir(here)
        os.environ.clear()
        os.environ.update(environment)
        for name in set(sys.modules) - modules:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(directory)):
                del sys.modules[name]
        shutil.rmtree(directory)


def theirs(toolkit: str, directory: Path) -> Callable[[bytes, dict[str, str]], Outcome]:
    """A model that is loaded as Multi Model Server loads it in a container."""
    manifest = directory / "MAR-INF" / "MANIFEST.json"
    handler = json.loads(manifest.read_text())["model"]["handler"] if manifest.exists() else SERVICES[toolkit]
    service = MmsModelLoader().load(directory.name, str(directory), handler, None, 1)

    def invoke(body: bytes, headers: dict[str, str]) -> Outcome:
        fields = [{"name": name.encode(), "value": value.encode()} for name, value in headers.items()]
        media_type = headers.get("Content-Type", "").partition(";")[0]  # as the part of the server in Java does
        parameters = [{"name": "body", "contentType": media_type, "value": bytearray(body)}]
        request = {"requestId": b"request", "headers": fields, "parameters": parameters}
        return answered(service.predict([request]))

    return invoke


def answered(message: bytes) -> Outcome:
    """What Multi Model Server answers when a worker sends it this message for one request."""
    at = 0

    def number() -> int:
        nonlocal at
        at += 4
        return int(struct.unpack_from("!i", message, at - 4)[0])

    def text() -> bytes:
        nonlocal at
        length = number()
        at += length
        return bytes(message[at - length : at])

    code, reason = number(), text()
    if code != 200:
        body = {"code": code, "type": "InternalServerException", "message": reason.decode()}
        return seen(code, "application/json", json.dumps(body, indent=2).encode() + b"\n")
    text()  # the request's identifier
    content_type, status, _ = text(), number(), text()
    for _ in range(number()):
        text()
        text()
    return seen(status, content_type.decode() or None, text())


def ours(toolkit: str, directory: Path) -> Callable[[bytes, dict[str, str]], Outcome]:
    """The model, loaded as localmme's own server does with ``--toolkit``."""
    os.environ["LOCALMME_TOOLKIT"] = toolkit
    service = styles.load(directory.name, str(directory), None, None)

    def invoke(body: bytes, headers: dict[str, str]) -> Outcome:
        response = service.invoke(bytearray(body), "request", "", list(headers.items()))
        types = [value for name, value in response.headers if name.lower() == "content-type"]
        assert isinstance(response.body, bytes)
        return seen(response.status, types[0] if types else None, response.body)

    return invoke


def seen(status: int, content_type: str | None, body: bytes) -> Outcome:
    """What a caller sees of an answer."""
    return {"status": status, "content_type": content_type, "body": base64.b64encode(body).decode()}


if __name__ == "__main__":
    main(*sys.argv[1:])
