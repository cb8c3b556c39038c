"""A multi-model container that keeps SageMaker's contract, and breaks it on cue.

Run as ``python tests/support/scripted_container.py``; it needs nothing but Python. It listens on
``$SAGEMAKER_BIND_TO_PORT`` (8080), appends one JSON line per call to the file ``$SCRIPT_JOURNAL`` before it answers,
and takes its cues from the JSON in ``$SCRIPT`` (for the whole container) and from ``script.json`` in a model's
directory (for that model; it wins).

Without a cue, an invocation is answered with JSON: ``model_name``, ``target_model`` (the header), ``answer`` (the text
of ``answer.txt`` in the model's directory), ``headers``, ``body_length`` and ``body`` (Latin-1, its first 1000 bytes).

``POST /invocations`` is answered too, as by a container that has one model, in ``$SM_MODEL_DIR`` (/opt/ml/model).
Unless ``$SAGEMAKER_MULTI_MODEL`` is ``true``, that model is all there is: ``/models`` and all below it are not found.

In an image, ``SCRIPT_JOURNAL=/dev/stdout`` makes the journal a part of the container's log; cues with ``times`` then
count from each start.

Cues are grouped by call, ``{"load": {...}, "invoke": {...}}``: ping, load, list, get, unload, invoke, and ``every`` for
all of them. Any call takes:

    times: K            the cue holds for the first K calls only; the journal remembers over a restart
    after: S            the cue holds only once the container has run for S seconds
    lines: N            print N lines of log
    delay: S            wait before answering
    until: FILE         wait until there is this file
    hang: true          never answer
    die: CODE           end the process at once with this exit code; "kill" is kill -9
    garbage: true       answer with something that is not HTTP
    close: true         close the connection without an answer
    status: N           answer with this status, and do nothing else
    body: TEXT          the body of the answer
    content_type: TYPE  its content type
    headers: {...}      further headers
    size: N             a body of N bytes
    behind: TEXT        send this too, behind the answer
    truncate: true      promise more body than is sent, then close
    chunks: [TEXT]      a chunked body
    chunk_delay: S      wait before each chunk after the first
    chunk_until: FILE   wait, before each chunk after the first, until there is this file
    break_after: K      break off after K chunks

and some calls take more:

    load   keep: true      after a failed load the model stays registered, as in Multi Model Server
           megabytes: N    memory that the model takes until it is unloaded
    list   page_size: N    answer in pages
    invoke megabytes: N    memory that the model takes, before it waits for anything, until it is unloaded
           echo: true      answer with the request's body and content type
           forget: true    drop the model, and answer 404
           environment: true   tell the container's environment too, and its host name

For the whole container there are also:

    max_models: N       507 while this many models are loaded
    start: exit: CODE   end at once
           lines: [T]   print these lines to stderr first
           listen: S    listen only after S seconds; false is never
           until: FILE  listen only once there is this file
           ignore_sigterm: true
           children: true   leave behind processes that ignore SIGTERM: one in the process group, one in a session of
                            its own, one that has no parent any more; the journal has their process ids
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import threading
import time
from collections import Counter
from urllib.parse import parse_qs, urlsplit

# The tests start hundreds of these, so what takes long to import is left out: dataclasses, pathlib, typing, and ssl,
# which http.client can do without. A test that imports this module needs ssl for other things.
if __name__ == "__main__":
    sys.modules["ssl"] = None  # type: ignore[assignment]

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message
    from typing import Any

    Cue = dict[str, Any]

ROUTES = (
    ("GET", r"/ping", "ping"),
    ("GET", r"/models", "list"),
    ("POST", r"/models", "load"),
    ("GET", r"/models/([^/]+)", "get"),
    ("DELETE", r"/models/([^/]+)", "unload"),
    ("POST", r"/models/([^/]+)/invoke", "invoke"),
    ("POST", r"/invocations", "invoke"),
)
SINGLE_MODEL_ROUTES = tuple(route for route in ROUTES if route[1] in ("/ping", "/invocations"))
BLOCK = 65536


class Journal:
    """The file of everything that happened, one JSON line each; several containers may share it."""

    def __init__(self, path: str | None) -> None:
        self.path = path or ""
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) if path else None

    def write(self, **entry: Any) -> None:
        """Append a line; it is in the file when this returns."""
        if self.file is not None:
            # One system call, so that lines never mix and a signal handler may write too.
            os.write(self.file, (json.dumps({"time": time.time(), "pid": os.getpid(), **entry}) + "\n").encode())

    def calls(self) -> Iterator[tuple[str, str | None]]:
        """The call and the model of each call so far, of earlier runs too."""
        for line in (text_of(self.path) or "").splitlines():
            entry = json.loads(line)
            if "call" in entry:
                yield entry["call"], entry["model"]


class Model:
    """A model that the container knows of."""

    def __init__(self, name: str, url: str, script: dict[str, Cue] | None = None) -> None:
        self.name, self.url = name, url
        self.script = script or {}
        self.ready = False
        self.in_flight = 0
        self.ballast = b""

    @classmethod
    def at(cls, name: str, url: str) -> Model:
        """The model with the script of its directory."""
        return cls(name, url, json.loads(text_of(os.path.join(url, "script.json")) or "{}"))


class Call:
    """One call of the contract, as it came in."""

    def __init__(
        self, name: str, model_name: str | None, query: dict[str, list[str]], headers: Message, body: bytes
    ) -> None:
        self.name, self.model_name, self.query, self.headers, self.body = name, model_name, query, headers, body
        self.began = time.time()


class Answer:
    """What a call is answered with."""

    def __init__(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        self.status, self.body, self.content_type = status, body, content_type

    @classmethod
    def of(cls, status: int, /, **content: Any) -> Answer:
        """A JSON answer."""
        return cls(status, json.dumps(content).encode())


class Container:
    """The models and the cues: what is true of the container, however it is spoken to."""

    def __init__(self, script: dict[str, Any], journal: Journal) -> None:
        self.script = script
        self.journal = journal
        self.models: dict[str, Model] = {}
        self.single_model = Model.at("", os.environ.get("SM_MODEL_DIR") or "/opt/ml/model")
        self.routes = ROUTES if os.environ.get("SAGEMAKER_MULTI_MODEL") == "true" else SINGLE_MODEL_ROUTES
        self.lock = threading.Lock()
        self.began = time.monotonic()
        self.counts: Counter[tuple[str, str | None]] = Counter()
        for call, model in journal.calls():
            self._count(call, model)

    def model_of(self, call: Call) -> Model:
        """The model that a call is about; one that is not known yet is made, not registered."""
        if call.name == "load":
            request = json.loads(call.body)
            call.model_name = request["model_name"]
            return self.models.get(request["model_name"]) or Model.at(request["model_name"], request["url"])
        if call.model_name is None:
            return self.single_model
        return self.models.get(call.model_name) or Model(call.model_name, "")

    def cue(self, call: Call, model: Model) -> Cue:
        """What this call is to do: the cues that hold, the model's own over the container's."""
        with self.lock:
            of_all, of_model = self._count(call.name, call.model_name)
        levels = (
            (self.script.get("every", {}), of_all),
            (self.script.get(call.name, {}), of_all),
            (model.script.get("every", {}), of_model),
            (model.script.get(call.name, {}), of_model),
        )
        merged: Cue = {}
        for cue, count in levels:
            if count <= cue.get("times", count) and time.monotonic() - self.began >= cue.get("after", 0):
                merged.update(cue)
        return merged

    def perform(self, call: Call, model: Model, cue: Cue) -> Answer:
        """Do what the call asks for, or fail as the cue says."""
        if call.name == "load":
            return self._load(model, cue)
        if "status" in cue:
            return Answer.of(cue["status"], error=f"scripted {cue['status']}")
        if call.name == "ping":
            return Answer.of(200, status="Healthy")
        if call.name == "list":
            return self._list(call, cue)
        if call.model_name is not None and call.model_name not in self.models:
            return Answer.of(404, error=f"model {call.model_name} is not loaded")
        if call.name == "get":
            return Answer.of(200, modelName=model.name, modelUrl=model.url)
        if call.name == "unload":
            self.models.pop(model.name, None)
            model.ballast = b""
            return Answer.of(200, status="unloaded")
        return self._invoke(call, model, cue)

    def _count(self, call: str, model: str | None) -> tuple[int, int]:
        self.counts[call, None] += 1
        if model is not None:
            self.counts[call, model] += 1
        return self.counts[call, None], self.counts[call, model]

    def _load(self, model: Model, cue: Cue) -> Answer:
        with self.lock:
            if model.name in self.models:
                return Answer.of(409, error=f"model {model.name} is already loaded")
            if not os.path.isdir(model.url):
                return Answer.of(404, error=f"there is no directory {model.url}")
            full = sum(known.ready for known in self.models.values()) >= self.script.get("max_models", sys.maxsize)
            status = cue.get("status", 507 if full else 200)
            if status < 400 or cue.get("keep"):
                self.models[model.name] = model
            model.ready = status < 400
        if not model.ready:
            return Answer.of(status, error=f"scripted {status}")
        model.ballast = ballast(cue)
        return Answer.of(status, status="loaded")

    def _list(self, call: Call, cue: Cue) -> Answer:
        known = list(self.models.values())
        start = int(call.query.get("next_page_token", ["0"])[0])
        end = start + cue.get("page_size", len(known))
        page: dict[str, Any] = {"models": [{"modelName": m.name, "modelUrl": m.url} for m in known[start:end]]}
        if end < len(known):
            page["nextPageToken"] = str(end)
        return Answer.of(200, **page)

    def _invoke(self, call: Call, model: Model, cue: Cue) -> Answer:
        if cue.get("forget"):
            self.models.pop(model.name, None)
            return Answer.of(404, error=f"model {model.name} is forgotten")
        if call.model_name is not None and not model.ready:
            return Answer.of(503, error=f"model {model.name} failed to load")
        if cue.get("echo"):
            return Answer(200, call.body, call.headers.get("Content-Type", "application/octet-stream"))
        told = {"environment": dict(os.environ), "host_name": socket.gethostname()} if cue.get("environment") else {}
        return Answer.of(
            200,
            model_name=call.model_name,
            target_model=call.headers.get("X-Amzn-SageMaker-Target-Model"),
            answer=text_of(os.path.join(model.url, "answer.txt")),
            headers=dict(call.headers.items()),
            body_length=len(call.body),
            body=call.body[:1000].decode("latin-1"),
            **told,
        )


def ballast(cue: Cue) -> bytes:
    """Memory that is really taken: every page is written to."""
    return b"\x01" * (cue.get("megabytes", 0) * 2**20)


class Face(BaseHTTPRequestHandler):
    """HTTP, kept or broken on cue."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Server

    def do_GET(self) -> None:
        """Answer any call; the routes tell them apart."""
        url = urlsplit(self.path)
        for method, pattern, name in self.server.container.routes:
            if method == self.command and (match := re.fullmatch(pattern, url.path)):
                model_name = match[1] if match.groups() else None
                self._answer(Call(name, model_name, parse_qs(url.query), self.headers, self._body()))
                return
        self._send(Answer.of(404, error=f"no such call: {self.command} {self.path}"), {})

    do_POST = do_DELETE = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the journal has it."""

    def _answer(self, call: Call) -> None:
        container = self.server.container
        model = container.model_of(call)
        cue = container.cue(call, model)
        with container.lock:
            model.in_flight += call.name == "invoke"
        try:
            if call.name == "invoke" and "megabytes" in cue:
                model.ballast = ballast(cue)
            for line in range(cue.get("lines", 0)):
                print(f"{call.name} {call.model_name or ''} line {line + 1}", flush=True)
            time.sleep(cue.get("delay", 0))
            wait_for(cue.get("until"))
            for deed in DEEDS:
                if cue.get(deed):
                    self._journal(call, model, deed)
                    DEEDS[deed](self, cue[deed])
                    return
            answer = container.perform(call, model, cue)
            answer.body = b"x" * cue["size"] if "size" in cue else cue.get("body", "").encode() or answer.body
            answer.content_type = cue.get("content_type", answer.content_type)
            self._journal(call, model, answer.status)
            self._send(answer, cue)
        finally:
            with container.lock:
                model.in_flight -= call.name == "invoke"

    def _journal(self, call: Call, model: Model, status: int | str) -> None:
        self.server.container.journal.write(
            call=call.name,
            model=call.model_name,
            method=self.command,
            path=self.path,
            status=status,
            url=model.url,
            headers=dict(call.headers.items()),
            body_length=len(call.body),
            in_flight=model.in_flight,
            port=self.server.server_port,
            seconds=time.time() - call.began,
        )

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send(self, answer: Answer, cue: Cue) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        for name, value in cue.get("headers", {}).items():
            self.send_header(name, value)
        if "chunks" in cue and answer.status < 400:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self._send_chunks(cue)
        else:
            self.send_header("Content-Length", str(len(answer.body) + (BLOCK if cue.get("truncate") else 0)))
            self.end_headers()
            self.wfile.write(answer.body + cue.get("behind", "").encode())
            self.close_connection = self.close_connection or bool(cue.get("truncate"))

    def _send_chunks(self, cue: Cue) -> None:
        for count, chunk in enumerate(cue["chunks"]):
            if count == cue.get("break_after"):
                self.close_connection = True
                return
            if count:
                time.sleep(cue.get("chunk_delay", 0))
                wait_for(cue.get("chunk_until"))
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk.encode()), chunk.encode()))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _hang(self, _: Any) -> None:
        threading.Event().wait()

    def _die(self, code: int | str) -> None:
        if code == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(int(code))

    def _garbage(self, _: Any) -> None:
        self.wfile.write(b"\x00\xffthis is not HTTP\r\n\r\n")
        self.close_connection = True

    def _close(self, _: Any) -> None:
        self.close_connection = True


DEEDS = {"hang": Face._hang, "die": Face._die, "garbage": Face._garbage, "close": Face._close}


def wait_for(path: str | None) -> None:
    """Wait until there is this file; for none, not at all."""
    while path is not None and not os.path.exists(path):
        time.sleep(0.01)


class Server(ThreadingHTTPServer):
    """The listening socket, with the container behind it."""

    request_queue_size = 128

    def __init__(self, port: int, container: Container) -> None:
        self.container = container
        super().__init__(("0.0.0.0", port), Face)

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        """Say nothing of a caller that went away."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def text_of(path: str) -> str | None:
    """The text of a file, if there is one."""
    if not os.path.isfile(path):
        return None
    with open(path) as file:
        return file.read()


def leave_children(journal: Journal) -> None:
    """Start processes that outlive whoever ends only what it can see."""
    for kind in ("group", "session", "orphan"):
        if os.fork():
            continue
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if kind != "group":
            os.setsid()
        if kind == "orphan" and os.fork():
            os._exit(0)
        journal.write(event="child", kind=kind)
        while True:
            time.sleep(3600)


def main() -> None:
    """Start as the script says, then serve."""
    script = json.loads(os.environ.get("SCRIPT") or "{}")
    start = script.get("start", {})
    journal = Journal(os.environ.get("SCRIPT_JOURNAL"))
    container = Container(script, journal)

    def end(*_: Any) -> None:
        journal.write(event="sigterm")
        if not start.get("ignore_sigterm"):
            os._exit(0)

    signal.signal(signal.SIGTERM, end)
    for line in start.get("lines", []):
        print(line, file=sys.stderr, flush=True)
    if "exit" in start:
        sys.exit(start["exit"])
    if start.get("children"):
        leave_children(journal)
    listen = start.get("listen", 0)
    while listen is False:
        time.sleep(3600)
    time.sleep(listen)
    wait_for(start.get("until"))
    server = Server(int(os.environ.get("SAGEMAKER_BIND_TO_PORT") or 8080), container)
    journal.write(event="start", port=server.server_port)
    server.serve_forever()


if __name__ == "__main__":
    main()
