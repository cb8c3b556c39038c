"""Containers that ask of the platform what AWS's for TensorFlow Serving and XGBoost ask, as those cannot be had here.

``python tests/support/framework_containers.py tensorflow`` is a front end for a server process for each model, as AWS's
is for TensorFlow Serving: it dies at once without SAGEMAKER_SAFE_PORT_RANGE, takes two ports of it for each process and
gives them back, lists models as an object with their versions by name, and fails to describe a loaded one: so its
python_service.py reads. ``... xgboost`` takes itself for a worker of gunicorn
where SERVER_SOFTWARE says so, and ends, as there is no master. Models and calls are those of the plain sample
container.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "samples" / "containers" / "plain"))

import serve

PORTS_EACH = 2  # gRPC and REST


class Binary:
    """The server process of one model, which stands for ``tensorflow_model_server``: the plain container."""

    def __init__(self, name: str, directory: str, ports: list[int]) -> None:
        self.name, self.directory, self.ports = name, directory, ports
        environment = {**os.environ, "SAGEMAKER_BIND_TO_PORT": str(ports[0])}
        self._process = subprocess.Popen([sys.executable, serve.__file__], env=environment)
        try:
            self._load()
        except BaseException:
            self.end()
            raise

    def call(self, method: str, path: str, body: bytes | None = None, content_type: str = "") -> tuple[int, bytes]:
        """One call to it: status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[0], timeout=60)
        try:
            connection.request(method, path, body, {"Content-Type": content_type})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def end(self) -> None:
        """End it, and with it the use of its ports."""
        self._process.terminate()
        self._process.wait()

    def _load(self) -> None:
        while self._process.poll() is None:
            try:
                request = json.dumps({"model_name": "model", "url": self.directory}).encode()
                status, said = self.call("POST", "/models", request)
            except OSError:
                time.sleep(0.02)
                continue
            if status != 200:
                raise serve.Refused(status, said.decode())
            return
        raise serve.Refused(500, "the model's server has ended")


binaries: dict[str, Binary] = {}
free_ports: list[int] = []


class TensorFlowServing(serve.RequestHandler):
    """The front end. Loads and unloads come one at a time, invocations meanwhile."""

    def answer(self, body: bytes) -> tuple[str, bytes]:
        """The content type and the body of the answer to a call."""
        _, top, *below = self.path.split("/")
        if (self.command, self.path) == ("GET", "/models"):
            state = {"model_version_status": [{"version": "1", "state": "AVAILABLE"}]}
            return "application/json", json.dumps(dict.fromkeys(binaries, state)).encode()
        if top == "ping":
            return "application/json", b""
        with serve.changing:
            if (self.command, self.path) == ("POST", "/models"):
                request = json.loads(body)
                return self._load(request["model_name"], request["url"])
            name = below[0]
            if name not in binaries:
                raise serve.Refused(404, f"model {name} is not loaded")
            if self.command == "GET":
                raise serve.Refused(500, "Object of type Response is not JSON serializable")
            if self.command == "DELETE":
                binary = binaries.pop(name)
                binary.end()
                free_ports.extend(binary.ports)
                return "application/json", b"unloaded"
        binary = binaries[name]
        status, said = binary.call("POST", "/models/model/invoke", body, self.headers["Content-Type"])
        if status != 200:
            raise serve.Refused(status, said.decode())
        return "application/json", said

    def _load(self, name: str, directory: str) -> tuple[str, bytes]:
        if name in binaries:
            raise serve.Refused(409, f"model {name} is already loaded")
        if len(free_ports) < PORTS_EACH:
            raise serve.Refused(507, "no port is left")
        ports = [free_ports.pop(0) for _ in range(PORTS_EACH)]
        try:
            binaries[name] = Binary(name, directory, ports)
        except BaseException:
            free_ports.extend(ports)
            raise
        return "application/json", b"loaded"


def main(which: str) -> None:
    """Serve until SIGTERM."""
    if which == "tensorflow":
        first, last = map(int, os.environ["SAGEMAKER_SAFE_PORT_RANGE"].split("-"))
        free_ports.extend(range(first, last + 1))
        serve.RequestHandler = TensorFlowServing  # type: ignore[misc]
    elif "gunicorn" in os.environ.get("SERVER_SOFTWARE", ""):
        sys.exit("there is no master of gunicorn's")
    try:
        serve.main()
    finally:
        for binary in binaries.values():
            binary.end()


if __name__ == "__main__":
    main(sys.argv[1])
