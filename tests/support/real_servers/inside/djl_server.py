"""A multi-model container that runs handlers for DJL Serving's Python engine: what a notebook needs of DJL's contract.

It stands for DJL Serving, which is a Java program in AWS's images only. ``serving.properties`` names the handler, and
has its options; the handler imports ``djl_python``, of which Input and Output are here.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import types
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Input:
    """What a handler is called with: nothing but properties when its model is loaded."""

    def __init__(self, properties: dict[str, str], content: bytes | None = None) -> None:
        self._properties, self._content = properties, content

    def is_empty(self) -> bool:
        return self._content is None

    def get_properties(self) -> dict[str, str]:
        return self._properties

    def get_as_json(self) -> Any:
        return json.loads(self._content or b"null")


class Output:
    """What a handler returns."""

    def __init__(self) -> None:
        self.content = b""

    def add_as_json(self, value: Any) -> Output:
        self.content = json.dumps(value).encode()
        return self


djl_python: Any = types.ModuleType("djl_python")
djl_python.Input, djl_python.Output = Input, Output
sys.modules["djl_python"] = djl_python

Handle = Callable[[Input], "Output | None"]
models: dict[str, tuple[str, Handle, dict[str, str]]] = {}  # by name: directory, handler, properties


def load(name: str, directory: str) -> None:
    """Import a model's handler, and let it initialize itself."""
    lines = Path(directory, "serving.properties").read_text("utf-8").splitlines()
    pairs = dict(line.split("=", 1) for line in lines if "=" in line)
    properties = {key.removeprefix("option."): value for key, value in pairs.items()} | {"model_dir": directory}
    spec = importlib.util.spec_from_file_location(f"model_{name}", Path(directory, properties["entryPoint"]))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.handle(Input(properties))
    models[name] = directory, module.handle, properties


class Calls(BaseHTTPRequestHandler):
    """SageMaker's calls of a multi-model container."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        _, *rest = self.path.strip("/").split("/")
        if self.path == "/ping":
            self._answer(200)
        elif not rest:
            listed = [{"modelName": name, "modelUrl": directory} for name, (directory, *_) in models.items()]
            self._answer(200, {"models": listed})
        else:
            self._answer(200 if rest[0] in models else 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        _, *rest = self.path.strip("/").split("/")
        try:
            if not rest:
                asked = json.loads(body)
                load(asked["model_name"], asked["url"])
                self._answer(200)
            elif rest[0] not in models:
                self._answer(404)
            else:
                _, handle, properties = models[rest[0]]
                output = handle(Input(properties, body))
                self._answer(200, content=b"" if output is None else output.content)
        except Exception as error:
            self._answer(500, {"error": repr(error)})

    def do_DELETE(self) -> None:
        self._answer(200 if models.pop(self.path.rpartition("/")[2], None) else 404)

    def _answer(self, status: int, value: Any = None, content: bytes | None = None) -> None:
        content = json.dumps(value).encode() if content is None else content
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None: ...


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Calls).serve_forever()
