"""A multi-model container in nothing but Python's standard library.

It does all that SageMaker requires, in one file, to be read and to be translated into other languages. The README
beside its directory says how to build its image and run it.

    GET    /ping               200 when healthy
    POST   /models             load: {"model_name": N, "url": DIRECTORY}; 200, 409 loaded already, 507 no memory
    GET    /models             list: {"models": [{"modelName": N, "modelUrl": DIRECTORY}]}
    GET    /models/N           one of them; 404 not loaded
    DELETE /models/N           unload; 404 not loaded
    POST   /models/N/invoke    predict; 404 not loaded

It listens on port $SAGEMAKER_BIND_TO_PORT, or on 8080. N is a name that SageMaker made up, 32 hexadecimal digits; the
caller's TargetModel is in the header X-Amzn-SageMaker-Target-Model, and is useful only for logging.

A model is a directory with a model.json:

    {"weights": [2, 3], "bias": 1, "megabytes": 50}

Its prediction for a row of numbers is the sum of each number times its weight, plus the bias. "megabytes" is optional:
it makes the model take that much memory, so that you can see what happens when memory runs short. A load that would
exceed $MODEL_MEMORY_MEGABYTES, or else the container's own memory limit, is answered with 507.

Rows come as CSV, or as JSON, {"features": [[1, 2], [3, 4]]}. Predictions go out as JSON, {"predictions": [9, 19]}, or
as CSV for those who accept only that.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

OWN_MEGABYTES = 24  # for the server itself, and for a few requests
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container's memory


def memory() -> float:
    """The megabytes that models may take. Above its memory limit, the kernel would kill the container."""
    if "MODEL_MEMORY_MEGABYTES" in os.environ:
        return float(os.environ["MODEL_MEMORY_MEGABYTES"])
    limits = (path.read_text().strip() for path in map(Path, LIMITS) if path.is_file())
    return min((int(limit) / 2**20 - OWN_MEGABYTES for limit in limits if limit != "max"), default=float("inf"))


MEMORY = memory()


class Refused(Exception):
    """A call that is answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Model:
    """A model in memory."""

    def __init__(self, name: str, directory: str, settings: dict[str, Any]) -> None:
        self.name = name
        self.directory = directory
        self.weights = [float(weight) for weight in settings["weights"]]
        self.bias = float(settings.get("bias", 0))
        self.megabytes = settings.get("megabytes", 0)
        # Ones, as a page that was never written to takes no memory.
        self.ballast = b"\x01" * int(self.megabytes * 2**20)

    def predict(self, row: list[float]) -> float:
        """The prediction for one row of numbers."""
        if len(row) != len(self.weights):
            raise Refused(400, f"a row has {len(row)} numbers; this model takes {len(self.weights)}")
        return self.bias + sum(weight * number for weight, number in zip(self.weights, row))

    def description(self) -> dict[str, str]:
        """The model's entry in the list, and the answer to GET."""
        return {"modelName": self.name, "modelUrl": self.directory}


models: dict[str, Model] = {}
# One load or unload at a time, or two loads could both find that there is room. Pings, lists and invocations never wait
# for it: a container that does not answer its pings while it loads counts as unhealthy.
changing = threading.Lock()


def load(name: str, directory: str) -> None:
    """Take a model into memory."""
    with changing:
        if name in models:
            raise Refused(409, f"model {name} is already loaded")
        try:
            settings = json.loads(Path(directory, "model.json").read_text())
            used = sum(model.megabytes for model in models.values())
            if used + settings.get("megabytes", 0) > MEMORY:
                # SageMaker will unload a model that is not in use, and try again.
                raise Refused(507, f"{used} of {MEMORY:.0f} megabytes are in use")
            models[name] = Model(name, directory, settings)
        except MemoryError:
            raise Refused(507, "out of memory") from None
        except (OSError, ValueError, KeyError, TypeError) as failure:
            # Nothing of the model may stay: SageMaker will load it again under the same name.
            raise Refused(500, f"the model cannot be loaded: {failure!r}") from failure


def unload(name: str) -> None:
    """Give a model's memory back before the call is answered, as SageMaker relies on that."""
    with changing:
        if models.pop(name, None) is None:
            raise Refused(404, f"model {name} is not loaded")


def find(name: str) -> Model:
    """A loaded model. An invocation keeps it alive, even if it is unloaded meanwhile."""
    if name not in models:
        raise Refused(404, f"model {name} is not loaded")
    return models[name]


def invoke(name: str, body: bytes, content_type: str, accept: str) -> tuple[str, bytes]:
    """The content type and the body of the answer to an invocation."""
    model = find(name)
    try:
        predictions = [model.predict(row) for row in rows_in(body, content_type)]
    except (ValueError, KeyError, TypeError) as failure:
        raise Refused(400, f"the request cannot be read: {failure!r}") from failure
    if accept == "text/csv":
        return accept, "".join(f"{prediction}\n" for prediction in predictions).encode()
    return "application/json", json.dumps({"predictions": predictions}).encode()


def rows_in(body: bytes, content_type: str) -> list[list[float]]:
    """The rows of numbers in a request."""
    if content_type.startswith("text/csv"):
        return [[float(cell) for cell in line.split(",")] for line in body.decode().splitlines() if line.strip()]
    return [[float(number) for number in row] for row in json.loads(body)["features"]]


class RequestHandler(BaseHTTPRequestHandler):
    """HTTP: reads a request, and writes the answer."""

    # Connections are kept: SageMaker makes many calls on each.
    protocol_version = "HTTP/1.1"
    # Without these two, a small answer would go out in two packets, and the second could wait 40 ms.
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        """Answer any request."""
        # The body is always read: what is left of it would be taken for the next request.
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            content_type, answer = self.answer(body)
            status = 200
        except Refused as refusal:
            content_type, answer = "application/json", json.dumps({"error": str(refusal)}).encode()
            status = refusal.status
        except Exception as failure:
            # Otherwise the caller would be left without an answer.
            traceback.print_exc()
            content_type, answer = "application/json", json.dumps({"error": repr(failure)}).encode()
            status = 500
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_DELETE = do_GET

    def answer(self, body: bytes) -> tuple[str, bytes]:
        """The content type and the body of the answer to a call."""
        path = self.path.partition("?")[0]
        _, top, *below = path.split("/")
        name = below[0] if below else ""
        if below:
            below[0] = "N"
        call = f"{self.command} /{'/'.join([top, *below])}"
        if call == "GET /ping":
            document: dict[str, Any] = {"status": "healthy"}
        elif call == "GET /models":
            document = {"models": [model.description() for model in list(models.values())]}
        elif call == "POST /models":
            request = json.loads(body)
            load(request["model_name"], request["url"])
            document = {"status": "loaded"}
        elif call == "GET /models/N":
            document = find(name).description()
        elif call == "DELETE /models/N":
            unload(name)
            document = {"status": "unloaded"}
        elif call == "POST /models/N/invoke":
            return invoke(name, body, self.headers.get("Content-Type", ""), self.headers.get("Accept", ""))
        else:
            raise Refused(404, f"there is no {self.command} {path}")
        return "application/json", json.dumps(document).encode()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log loads, unloads and errors. A line for each invocation would slow them down, and cost money.

        What is printed goes to the endpoint's log.
        """
        is_routine = self.command == "GET" or self.path.endswith("/invoke")
        if int(code) >= 400 or not is_routine:
            target = self.headers.get("X-Amzn-SageMaker-Target-Model", "")
            print(self.command, self.path, int(code), target, flush=True)


class Server(ThreadingHTTPServer):
    """A thread for each connection; none of them keeps the process from ending."""

    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    """Serve until SIGTERM."""
    # Process 1 of a container ignores signals that it does not handle, and would be killed 30 seconds later.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))
    with Server(("0.0.0.0", port), RequestHandler) as server:
        print(f"serving on port {port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
