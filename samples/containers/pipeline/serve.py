"""A step of an inference pipeline, before or after the model's container, in Python's standard library.

The README in the directory above says how to build its image, and how to run the pipeline of endpoint.yaml.

    GET  /ping           200 when healthy
    POST /invocations    the answer of the step before, or the caller's request; the answer goes to the next step

Its model is the file step.json in /opt/ml/model, which says what the step does. A container without a model has the
same JSON in $STEP, such as {"role": "before"}.

    {"role": "before", "means": [2, 70], "scales": [1, 10]}

scales lines of CSV, or JSON like {"instances": [[3, 80], ...]}, and answers {"features": [[1, 1], ...]}. Without means
and scales the numbers stay as they are.

    {"role": "after", "labels": ["cheap", "dear"], "limits": [100]}

turns {"predictions": [120, ...]} into {"results": [{"value": 120, "label": "dear"}, ...]}: the first label is for
values below the first limit, and so on. A caller that accepts text/csv gets a line for each value: 120,dear.
"""

from __future__ import annotations

import bisect
import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MODEL = Path("/opt/ml/model/step.json")


def settings() -> dict[str, Any]:
    """What this step does."""
    return json.loads(MODEL.read_text() if MODEL.exists() else os.environ["STEP"])


def before(step: dict[str, Any], body: bytes, content_type: str, accept: str) -> tuple[str, str]:
    """From the caller's rows to the model's features."""
    if content_type.startswith("text/"):
        rows = [[float(cell) for cell in line.split(",")] for line in body.decode().splitlines() if line.strip()]
    else:
        rows = json.loads(body)["instances"]
    means, scales = step.get("means"), step.get("scales")
    if means and scales:
        rows = [[(number - mean) / scale for number, mean, scale in zip(row, means, scales)] for row in rows]
    return "application/json", json.dumps({"features": rows})


def after(step: dict[str, Any], body: bytes, content_type: str, accept: str) -> tuple[str, str]:
    """From the model's predictions to what they mean."""
    labels, limits = step["labels"], step["limits"]
    results = [(value, labels[bisect.bisect_right(limits, value)]) for value in json.loads(body)["predictions"]]
    if accept == "text/csv":
        return accept, "".join(f"{value},{label}\n" for value, label in results)
    return "application/json", json.dumps({"results": [{"value": value, "label": label} for value, label in results]})


ROLES = {"before": before, "after": after}


class RequestHandler(BaseHTTPRequestHandler):
    """HTTP. The plain container's serve.py explains these settings."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    step: dict[str, Any]

    def do_GET(self) -> None:
        """Answer any request."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        call = f"{self.command} {self.path}"
        if call == "GET /ping":
            self.send(200, "application/json", '{"status": "healthy"}')
        elif call == "POST /invocations":
            self.invoke(body)
        else:
            self.refuse(404, f"there is no {call}")

    do_POST = do_GET

    def invoke(self, body: bytes) -> None:
        """Answer an invocation by this step's role."""
        content_type, accept = self.headers.get("Content-Type", ""), self.headers.get("Accept", "")
        try:
            content_type, answer = ROLES[self.step["role"]](self.step, body, content_type, accept)
        except (ValueError, KeyError, TypeError) as failure:
            self.refuse(400, f"the request cannot be read: {failure!r}")
        else:
            self.send(200, content_type, answer)

    def refuse(self, status: int, message: str) -> None:
        """Answer with an error, which ends the pipeline."""
        self.send(status, "application/json", json.dumps({"error": message}))

    def send(self, status: int, content_type: str, text: str) -> None:
        """Write an answer."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log every invocation, but no pings."""
        if self.command != "GET":
            print(self.command, self.path, int(code), flush=True)


class Server(ThreadingHTTPServer):
    """A thread for each connection."""

    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    """Serve until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    RequestHandler.step = settings()
    with Server(("0.0.0.0", int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))), RequestHandler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
