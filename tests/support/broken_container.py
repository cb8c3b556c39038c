"""The plain sample container, with one switch for each rule of SageMaker's contract for containers of many models.

``$BROKEN`` names the rules that it breaks, by the checks of ``localmme check``: ``BROKEN=load-duplicate,sigterm``.
Without it, it keeps all of them. Run as ``python tests/support/broken_container.py``; in an image, the sample's
``serve.py`` is beside it.

A switch breaks its rule and, where that can be, nothing else: who looks for one fault should find one. Labels and the
form of the entry point are faults of an image, not of what runs in it, so there are no switches for them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

sys.path.append(str(Path(__file__).parents[2] / "samples" / "containers" / "plain"))

import serve

BROKEN = frozenset(filter(None, os.environ.get("BROKEN", "").split(",")))
PAGE = 2  # models in one answer to GET /models
TOO_LONG = 2.5  # seconds, for the answer to a ping
OVERLAP = 0.05  # seconds that a call is made to take, so that others come meanwhile
LONGEST_HEADER, LARGEST_BODY = 1000, 1_000_000  # of those who set a limit of their own
LEAK = 256 * 1024  # bytes
MOST_GETS = 8  # more than any check makes

Answer = tuple[str, bytes]  # content type, body
Switch = Callable[["Face", str, dict[str, Any]], "Answer | None"]
KNOWN = {"starts", "bind-to-port", "connect", "sigterm"}  # checks that there is a switch for
SWITCHES: dict[str, list[Switch]] = {}  # what is switched on, by the call that it is wrong with


def breaks(check: str, *calls: str) -> Callable[[Switch], Switch]:
    """Make a function the switch of a check.

    It is given the model's name and, of a load, the request. It answers, or leaves that (None) to the next one.
    """
    KNOWN.add(check)

    def register(switch: Switch) -> Switch:
        if check in BROKEN:
            for call in calls:
                SWITCHES.setdefault(call, []).append(switch)
        return switch

    return register


class Memory:
    """What the switches remember."""

    def __init__(self) -> None:
        self.load_came = False
        self.pings = self.gets = 0
        self.asked_for: set[str] = set()
        self.unloaded: dict[str, serve.Model] = {}
        self.kept: deque[serve.Model] = deque(maxlen=4)
        self.leaked: list[bytes] = []
        self.refused: set[str] = set()


class UnderWay:
    """How many calls of a kind are under way."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    @contextmanager
    def one_more(self) -> Iterator[int]:
        """Be one of them, for long enough that others come; how many there are then."""
        with self._lock:
            self.count += 1
            count = self.count
        try:
            yield count
            time.sleep(OVERLAP)
        finally:
            with self._lock:
                self.count -= 1


memory = Memory()
loads, invocations = UnderWay(), UnderWay()


class Face(serve.RequestHandler):
    """The sample's HTTP with a list of pages, and with what is wrong."""

    def answer(self, body: bytes) -> Answer:
        """Answer wrongly, if a switch says so, or as the sample does."""
        self.body = body
        call, name, request = self.call()
        for switch in SWITCHES.get(call, ()):
            if answer := switch(self, name, request):
                return answer
        return self.properly()

    def properly(self) -> Answer:
        """Answer as is right."""
        url = urlsplit(self.path)
        if self.command != "GET" or url.path != "/models":
            return super().answer(self.body)
        [token] = parse_qs(url.query).get("next_page_token", ["0"])
        return page(list(serve.models.values()), int(token))

    def call(self) -> tuple[str, str, dict[str, Any]]:
        """The name of the call, that of its model, and what is to be loaded."""
        _, *path = urlsplit(self.path).path.split("/")
        match self.command, path:
            case "GET", ["ping"]:
                return "ping", "", {}
            case "GET", ["metrics"]:  # which the platform reads of those that say so
                return "metrics", "", {}
            case "GET", ["models"]:
                return "list", "", {}
            case "POST", ["models"]:
                try:
                    request = json.loads(self.body)
                    return "load", request["model_name"], {"url": request["url"]}
                except (ValueError, KeyError, TypeError):
                    return "broken load", "", {}
            case "GET", ["models", name]:
                return "get", name, {}
            case "DELETE", ["models", name]:
                return "unload", name, {}
            case "POST", ["models", name, "invoke"]:
                return "invoke", name, {}
        return "unknown", "", {}


def said(**content: Any) -> Answer:
    """A JSON answer."""
    return "application/json", json.dumps(content).encode()


def page(models: list[serve.Model], start: int) -> Answer:
    """Some of the models, and where the next ones begin."""
    rest = {"nextPageToken": str(start + PAGE)} if start + PAGE < len(models) else {}
    return said(models=[model.description() for model in models[start : start + PAGE]], **rest)


@breaks("ping", "ping", "load")
def some_pings_are_late_until_a_model_comes(face: Face, name: str, request: dict[str, Any]) -> None:
    memory.load_came = memory.load_came or bool(name)
    # Of those whose callers go away at once, nobody knows when they come.
    memory.pings += not name and face.headers["Connection"] != "close"
    if not memory.load_came and memory.pings % 4 == 0:
        time.sleep(TOO_LONG)


@breaks("ping-while-busy", "ping", "invoke")
def pings_wait_for_invocations(face: Face, name: str, request: dict[str, Any]) -> Answer | None:
    if name:
        with invocations.one_more():
            return face.properly()
    if invocations.count:
        time.sleep(TOO_LONG)
    return None


@breaks("list-empty", "list")
def no_models_are_not_found(face: Face, name: str, request: dict[str, Any]) -> None:
    if not serve.models:
        raise serve.Refused(404, "no")


@breaks("load", "load")
def no_model_is_loaded(face: Face, name: str, request: dict[str, Any]) -> None:
    raise serve.Refused(500, "no")


@breaks("load-duplicate", "load")
def a_duplicate_is_an_error(face: Face, name: str, request: dict[str, Any]) -> None:
    if name in serve.models:
        raise serve.Refused(500, "it is loaded already")


@breaks("load-missing", "load")
def a_missing_directory_is_loaded(face: Face, name: str, request: dict[str, Any]) -> Answer | None:
    return None if Path(request["url"]).exists() else said(status="loaded")


@breaks("load-broken", "load")
def what_cannot_be_loaded_stays_in_the_list(face: Face, name: str, request: dict[str, Any]) -> Answer | None:
    try:
        return face.properly()
    except serve.Refused as refusal:
        if refusal.status == 500 and Path(request["url"]).exists():
            serve.models[name] = serve.Model(name, request["url"], {"weights": []})
        raise


@breaks("get", "get")
def a_model_has_another_name(face: Face, name: str, request: dict[str, Any]) -> Answer | None:
    return said(modelName="model", modelUrl=serve.models[name].directory) if name in serve.models else None


@breaks("list", "list", "get")
def a_single_model_is_not_listed_until_it_was_asked_for(
    face: Face, name: str, request: dict[str, Any]
) -> Answer | None:
    if name:
        memory.asked_for.add(name)
        return None
    return said(models=[]) if len(serve.models) == 1 and not memory.asked_for & serve.models.keys() else None


@breaks("list-pages", "list")
def each_page_is_the_first(face: Face, name: str, request: dict[str, Any]) -> Answer:
    return page(list(serve.models.values()), 0)


@breaks("opaque-names", "load")
def a_name_is_not_a_number(face: Face, name: str, request: dict[str, Any]) -> None:
    if name.isdecimal():
        raise serve.Refused(400, "a name begins with a letter")


@breaks("invoke", "invoke")
def invocations_fail(face: Face, name: str, request: dict[str, Any]) -> None:
    if name in serve.models:
        raise serve.Refused(500, "no")


@breaks("invoke-headers", "invoke")
def long_headers_are_refused(face: Face, name: str, request: dict[str, Any]) -> None:
    if any(len(value) > LONGEST_HEADER for value in face.headers.values()):
        raise serve.Refused(431, "a header is too long")


@breaks("invoke-content-type", "invoke")
def content_types_come_back_in_lower_case(face: Face, name: str, request: dict[str, Any]) -> Answer:
    _, answer = face.properly()
    return face.headers.get("Content-Type", "").lower(), answer


@breaks("invoke-binary", "invoke")
def only_text_finds_its_model(face: Face, name: str, request: dict[str, Any]) -> None:
    try:
        face.body.decode()
    except UnicodeDecodeError:
        raise serve.Refused(404, "there is no such model") from None


@breaks("invoke-large", "invoke")
def large_bodies_are_refused(face: Face, name: str, request: dict[str, Any]) -> None:
    if len(face.body) > LARGEST_BODY:
        raise serve.Refused(413, "the body is too large")


@breaks("unknown-model-invoke", "invoke")
@breaks("unknown-model-get", "get")
@breaks("unknown-model-unload", "unload")
def an_unknown_model_is_a_failure(face: Face, name: str, request: dict[str, Any]) -> None:
    if name not in serve.models:
        raise serve.Refused(500, f"KeyError: {name}")


@breaks("unload", "unload", "list", "load")
def an_unloaded_model_is_listed_until_the_next_load(face: Face, name: str, request: dict[str, Any]) -> Answer | None:
    if request:
        memory.unloaded.clear()
    elif name in serve.models:
        memory.unloaded[name] = serve.Model(name, serve.models[name].directory, {"weights": []})
    elif not name and memory.unloaded:
        return said(models=[model.description() for model in [*serve.models.values(), *memory.unloaded.values()]])
    return None


@breaks("concurrent-loads", "load")
def one_load_at_a_time(face: Face, name: str, request: dict[str, Any]) -> Answer:
    with loads.one_more() as count:
        if count > 1:
            raise serve.Refused(503, "another model is being loaded")
        return face.properly()


@breaks("load-while-invoking", "load", "invoke")
def invocations_fail_during_loads(face: Face, name: str, request: dict[str, Any]) -> Answer | None:
    if request:
        with loads.one_more():
            return face.properly()
    if loads.count:
        raise serve.Refused(503, "a model is being loaded")
    return None


@breaks("unload-frees-memory", "unload")
def the_last_models_are_kept(face: Face, name: str, request: dict[str, Any]) -> None:
    if name in serve.models:
        memory.kept.append(serve.models[name])


@breaks("load-unload-growth", "unload")
def each_unload_leaves_something(face: Face, name: str, request: dict[str, Any]) -> None:
    memory.leaked.append(b"\x01" * LEAK)


@breaks("memory-full", "load")
def no_memory_is_an_error_like_any_other(face: Face, name: str, request: dict[str, Any]) -> Answer:
    try:
        return face.properly()
    except serve.Refused as refusal:
        raise serve.Refused(500 if refusal.status == 507 else refusal.status, str(refusal)) from None


@breaks("reload-after-507", "load")
def what_was_refused_once_is_never_loaded(face: Face, name: str, request: dict[str, Any]) -> Answer:
    if name in memory.refused:
        raise serve.Refused(500, "that was tried before")
    try:
        return face.properly()
    except serve.Refused as refusal:
        if refusal.status == 507:
            memory.refused.add(name)
        raise


@breaks("long-use", "get")
def it_dies_after_some_calls(face: Face, name: str, request: dict[str, Any]) -> None:
    memory.gets += 1
    if memory.gets > MOST_GETS:
        os._exit(1)


@breaks("unknown-path", "unknown")
@breaks("broken-json", "broken load")
def it_dies(face: Face, name: str, request: dict[str, Any]) -> None:
    os._exit(1)


class SlowToAccept(serve.Server):
    """Has room for few connections at once, and takes its time."""

    request_queue_size = 3

    def get_request(self) -> Any:
        """Accept a connection."""
        time.sleep(OVERLAP)
        return super().get_request()


def main() -> None:
    """Serve until SIGTERM, or do not even that."""
    if unknown := BROKEN - KNOWN:
        sys.exit(f"there are no switches {', '.join(sorted(unknown))}")
    if "starts" in BROKEN:
        sys.exit("this one does not start")
    signal.signal(signal.SIGTERM, signal.SIG_IGN if "sigterm" in BROKEN else lambda *_: sys.exit(0))
    port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))
    if "bind-to-port" in BROKEN and "SAGEMAKER_BIND_TO_PORT" in os.environ:
        port = 0  # any other
    server = SlowToAccept if "connect" in BROKEN else serve.Server
    with server(("0.0.0.0", port), Face) as listening:
        listening.serve_forever()


if __name__ == "__main__":
    main()
