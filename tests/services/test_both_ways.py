"""An invocation that needs no ASGI gets the response that it would get by ASGI, and leaves the same behind."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from emulator.aws.asgi import HeadersByName, Receive, Scope, Send
from emulator.clock import Clock
from emulator.containers import launch
from emulator.events import Event, InvocationEnded, Invoked, NotAnswered
from emulator.gateway.gateway import Gateway
from emulator.gateway.web_guard import WebGuard
from emulator.hosting.definition import (
    ContainerDefinition,
    EndpointDefinition,
    ModelDefinition,
    Resources,
    VariantDefinition,
)
from emulator.hosting.endpoint import Endpoint
from emulator.hosting.endpoints import Endpoints
from emulator.limits import Limits
from emulator.server import connection
from emulator.server.connection import Connection, configured
from emulator.server.worker import KEEPALIVE_SECONDS
from emulator.services.runtime.app import RuntimeApp
from emulator.services.runtime.throttle import Throttle
from emulator.timeouts import in_time
from tests.support.fake_containers import FakeContainers, workspace
from tests.support.files import archive
from tests.support.waiting import turns, until

BODY_BYTES = 2000
PAGE = "http://localhost:3000"
UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
SESSION = "X-Amzn-SageMaker-New-Session-Id: s1; Expires=2090-01-01T00:00:00Z"
CLOSED = "X-Amzn-SageMaker-Closed-Session-Id: s1"
# What a container answers, by the model: status line, headers, body. None: it hangs up.
ANSWERS: dict[str, tuple[str, tuple[str, ...], bytes] | None] = {
    "good": ("200 OK", ("Content-Type: text/csv", "X-Amzn-SageMaker-Custom-Attributes: cost=3", "X-Mine: 1"), b"1,2"),
    "empty": ("204 No Content", (), b""),
    "odd": ("200 OK", ("Content-Type: a\tb\x01c",), b"x"),
    "large": ("200 OK", ("Content-Type: text/plain",), b"x" * BODY_BYTES),
    "too-large": ("200 OK", (), b"x" * (BODY_BYTES + 1)),
    "opens": ("200 OK", (SESSION,), b"opened"),
    "closes": ("200 OK", (CLOSED,), b"closed"),
    "moved": ("302 Found", ("Location: /",), b""),
    "bad": ("400 Bad Request", (), b'{"wrong": "input"}'),
    "missing": ("404 Not Found", (), b"no such thing"),
    "full": ("507 Insufficient Storage", (), b""),
    "broken": ("500 Internal Server Error", (), b"trace \xff"),
    "silent": None,
    "slow": ("200 OK", (), b"at last"),
}


class Seen(NamedTuple):
    """A response, but for what is different each time."""

    status: bytes
    headers: list[bytes]
    body: bytes
    is_open: bool  # the connection, after it


class ByAsgi:
    """The gateway, which is not asked for plain invocations."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.refuse = gateway.refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._gateway(scope, receive, send)

    def plain_invocation(self, target: bytes, headers: HeadersByName, body: bytes, address: str) -> None:
        return None


class Containers(FakeContainers):
    """Containers that answer an invocation as its model says."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = 0  # invocations of the slow model that they have
        self.go_on = asyncio.Event()  # one of them is to be answered

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        yield
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1"):
                length = re.search(r"Content-Length: (\d+)", head)
                await reader.readexactly(int(length[1]) if length else 0)
                answer = "200 OK", ("Content-Type: application/json",), b'{"models": []}'
                model = re.search(r"Target-Model: (?:[a-z-]+/)?([a-z-]+)\.tar\.gz", head)
                if head.startswith("POST") and "/invoke " in head and model is not None:
                    if model[1] == "slow":
                        self.waiting += 1
                        gone, go_on = (asyncio.ensure_future(each) for each in (reader.read(1), self.go_on.wait()))
                        await asyncio.wait([gone, go_on], return_when=asyncio.FIRST_COMPLETED)
                        self.waiting -= 1
                        for each in (gone, go_on):
                            each.cancel()
                        if not self.go_on.is_set():
                            break
                        self.go_on.clear()
                    told = ANSWERS[model[1]]
                    if told is None:
                        break
                    answer = told
                status, headers, body = answer
                lines = (f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", "")
                writer.write("\r\n".join(lines).encode("latin-1") + body)
        writer.close()


class Both:
    """One emulated endpoint, and two ports of it: one that takes plain invocations by the short way, one by ASGI."""

    def __init__(self, containers: Containers, endpoint: Endpoint, gateway: Gateway) -> None:
        self.containers, self.endpoint, self.gateway = containers, endpoint, gateway
        self.ports: list[int] = []
        self.states: list[ServerState] = []
        self.events: list[tuple[Any, ...]] = []
        self.plain = 0  # invocations that went the short way

    def listen(self, event: Event, _: object) -> None:
        if isinstance(event, Invoked):
            self.events.append(("invoked", event.target_model, event.status, event.cache_hit))
        elif isinstance(event, NotAnswered):
            self.events.append(("not answered", event.target_model, event.reason))
        elif isinstance(event, InvocationEnded):
            self.events.append(("ended", event.error_status, event.model_error, event.cache_hit))

    async def ask(self, data: bytes, port: int) -> tuple[list[Seen], list[tuple[Any, ...]]]:
        """The responses to what is sent in one write, and the events behind it."""
        self.events.clear()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        writer.write_eof()
        received = await in_time(reader.read(), 20)
        writer.close()
        return list(responses(received)), list(self.events)

    async def same(self, data: bytes) -> list[Seen]:
        """The responses; both ways give the same."""
        await self.ask(data, self.ports[1])  # so that the model is in memory, if it can be
        short, long = [await self.ask(data, port) for port in self.ports]
        assert short == long
        return short[0]


def responses(received: bytes) -> Iterator[Seen]:
    received = UUID.sub(b"ID", received)
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        status, *headers = head.split(b"\r\n")
        lengths = [int(header.partition(b": ")[2]) for header in headers if header.startswith(b"content-length: ")]
        size = lengths[0] if lengths else len(rest)
        yield Seen(status, headers, rest[:size], b"connection: close" not in headers)
        received = rest[size:]


def request(
    *headers: str, body: bytes = b"{}", target: str = "/endpoints/local/invocations", how: str = "POST"
) -> bytes:
    """A request with a Host and a length, unless they are given."""
    lines = list(headers)
    if not any(line.lower().startswith("host:") for line in lines):
        lines.insert(0, "Host: localhost:8080")
    if not any(line.lower().startswith(("content-length:", "transfer-encoding:")) for line in lines):
        lines.append(f"Content-Length: {len(body)}")
    version = "" if " HTTP/" in target else " HTTP/1.1"
    return "\r\n".join((f"{how} {target}{version}", *lines, "", "")).encode("latin-1") + body


def model(name: str, *headers: str, **more: Any) -> bytes:
    return request(f"X-Amzn-SageMaker-Target-Model: {name}.tar.gz", "Content-Type: text/csv", *headers, **more)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = uvloop.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, loop: asyncio.AbstractEventLoop) -> Iterator[Both]:
    ends = contextlib.AsyncExitStack()
    with pytest.MonkeyPatch.context() as patch:
        yield loop.run_until_complete(_serve(tmp_path_factory.mktemp("both"), ends, patch))
        loop.run_until_complete(ends.aclose())


async def _serve(directory: Path, ends: contextlib.AsyncExitStack, patch: pytest.MonkeyPatch) -> Both:
    containers = Containers()
    patch.setattr(launch, "ProcessContainer", containers.new)
    await ends.enter_async_context(containers.serving())
    for name in ANSWERS:
        archive(directory / "s3" / f"{name}.tar.gz", {"model.json": "{}"})
    place = workspace(directory, body_bytes=BODY_BYTES)
    endpoints = Endpoints(place)
    container = ContainerDefinition(launch.Command(("true",), directory), directory / "s3")
    variant = VariantDefinition(ModelDefinition([container]), Resources(2**30, 2**30, 2))
    endpoint = endpoints.add(EndpointDefinition("local", [variant]))
    await endpoint.start()
    ends.push_async_callback(endpoint.stop)
    endpoints.add(EndpointDefinition("creating", [variant]))
    nobody: Any = None
    runtime = RuntimeApp(endpoints, Limits(body_bytes=BODY_BYTES), place.events, Clock())
    gateway = Gateway(runtime, nobody, None, nobody, _page, nobody, WebGuard([], [PAGE]))
    both = Both(containers, endpoint, gateway)
    for application in (gateway, ByAsgi(gateway)):
        state = ServerState()
        state.default_headers = [(b"server", b"localmme"), (b"date", b"Sat, 28 Nov 2026 06:00:00 GMT")]
        config = configured(application, KEEPALIVE_SECONDS)
        make = lambda config=config, state=state: Connection(config, state)  # noqa: E731
        server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
        ends.callback(server.close)
        both.ports.append(server.sockets[0].getsockname()[1])
        both.states.append(state)
    place.events.subscribe(both.listen)
    plain_invocation = gateway.plain_invocation

    def counted(*arguments: Any) -> Any:
        response = plain_invocation(*arguments)
        both.plain += response is not None
        return response

    patch.setattr(gateway, "plain_invocation", counted)
    return both


async def _page(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"page"})


PLAIN = {
    **{f"model {name}": model(name) for name in ANSWERS if name != "slow"},
    "no model": request(),
    "unknown model": model("unknown"),
    "unprintable model": request("X-Amzn-SageMaker-Target-Model:  a\tb"),
    "long model": model("x" * 1025),
    "unknown endpoint": model("good", target="/endpoints/other/invocations"),
    "endpoint that is being created": model("good", target="/endpoints/creating/invocations"),
    "variant": model("good", "X-Amzn-SageMaker-Target-Variant: AllTraffic"),
    "unknown variant": model("good", "X-Amzn-SageMaker-Target-Variant: Other"),
    "container": model("good", "X-Amzn-SageMaker-Target-Container-Hostname: one"),
    "inference component": model("good", "X-Amzn-SageMaker-Inference-Component: one"),
    "custom attributes": model("good", "X-Amzn-SageMaker-Custom-Attributes: a=1"),
    "long custom attributes": model("good", f"X-Amzn-SageMaker-Custom-Attributes: {'x' * 1025}"),
    "custom attributes beyond ASCII": model("good", "X-Amzn-SageMaker-Custom-Attributes: \xe9"),
    "explanations": model("good", "X-Amzn-SageMaker-Enable-Explanations: true"),
    "prefix": model("good", "X-Amzn-SageMaker-Prefix-Aware-Id: true"),
    "new session": model("opens", "X-Amzn-SageMaker-Session-Id: NEW_SESSION"),
    "unknown session": model("good", "X-Amzn-SageMaker-Session-Id: s2"),
    "invalid session": model("good", "X-Amzn-SageMaker-Session-Id: -"),
    "body at the limit": model("good", body=b"x" * BODY_BYTES),
    "no body": model("good", body=b""),
    "signed": model("good", "Authorization: AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/sagemaker/aws4_request"),
    "request to switch to another protocol": model("good", "Connection: Upgrade", "Upgrade: h2c"),
    "host of AWS": model("good", "Host: runtime.sagemaker.us-east-1.amazonaws.com"),
}
BY_ASGI = {
    "stream": model("good", target="/endpoints/local/invocations-response-stream"),
    "asynchronous": model("good", target="/endpoints/local/async-invocations"),
    "unknown operation": model("good", target="/endpoints/local/other"),
    "not a POST": model("good", how="GET"),
    "HEAD": request(how="HEAD", body=b""),
    "query": model("good", target="/endpoints/local/invocations?a=1"),
    "escaped endpoint": model("good", target="/endpoints/loc%61l/invocations"),
    "whole URL": model("good", target="http://localhost:8080/endpoints/local/invocations"),
    "unknown host": model("good", "Host: evil.example"),
    "page": model("good", "Origin: http://evil.example"),
    "allowed page": model("good", f"Origin: {PAGE}"),
    "site": model("good", "Sec-Fetch-Site: cross-site"),
    "header that may be repeated": model("good", "X-A: 1", "X-A: 2"),
    "header twice": model("good", "X-Amzn-SageMaker-Session-Id: a", "X-Amzn-SageMaker-Session-Id: b"),
    "credential twice": model("good", "Authorization: AWS4-HMAC-SHA256 Credential=a, Credential=b"),
    "target of another service": model("good", "X-Amz-Target: SageMaker.CreateModel"),
    "target": model("good", "X-Amz-Target: other"),
    "last request": model("good", "Connection: close"),
    "HTTP/1.0": model("good", target="/endpoints/local/invocations HTTP/1.0"),
    "chunks": model("good", "Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n"),
    "expects to be asked for": model("good", "Expect: 100-continue"),
    "body that breaks off": model("good", "Content-Length: 5"),
    "two at once": model("good") + model("bad"),
    "nonsense behind it": model("good") + b"nonsense\r\n\r\n",
}


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_plain_is_answered_as_by_asgi(both: Both, loop: asyncio.AbstractEventLoop, name: str) -> None:
    before = both.plain
    [response] = loop.run_until_complete(both.same(PLAIN[name]))
    assert both.plain == before + 1, "one of the three went the short way"
    assert response.status.startswith(b"HTTP/1.1 ")
    if name in ("model good", "no body", "variant", "signed", "host of AWS"):
        assert (response.status, response.body) == (b"HTTP/1.1 200 OK", b"1,2")


@pytest.mark.parametrize("name", BY_ASGI)
def test_all_else_goes_by_asgi(both: Both, loop: asyncio.AbstractEventLoop, name: str) -> None:
    before = both.plain
    assert loop.run_until_complete(both.same(BY_ASGI[name]))
    assert both.plain == before


SENT = f"""
X-Amzn-SageMaker-Target-Model: good.tar.gz
X-Amzn-SageMaker-Target-Model: bad.tar.gz
X-Amzn-SageMaker-Target-Model: unknown.tar.gz
X-Amzn-SageMaker-Target-Model: silent.tar.gz
X-Amzn-SageMaker-Target-Model: opens.tar.gz
Content-Type: text/csv
Content-Type: a/b
Accept: */*
X-Amzn-SageMaker-Accept: x/y
X-Amzn-SageMaker-Custom-Attributes: a
X-Amzn-SageMaker-Custom-Attributes: \xe9
X-Amzn-SageMaker-Target-Variant: AllTraffic
X-Amzn-SageMaker-Target-Variant: B
X-Amzn-SageMaker-Session-Id: NEW_SESSION
X-Amzn-SageMaker-Session-Id: s1
x-amzn-sagemaker-session-id: /
X-Amzn-SageMaker-Enable-Explanations: `false`
X-Amzn-SageMaker-Inference-Component: c
Host: localhost
host: 127.0.0.1:1
Host: [::1]
Host: other.example
Host:
Origin: null
Origin: {PAGE}
Referer: http://a/
Sec-Fetch-Site: none
Connection: keep-alive
Connection: close
Authorization: AWS4-HMAC-SHA256 Credential=a/b/c/d/e
Authorization: AWS4-HMAC-SHA256 Credential=a, Credential=b
Authorization: Basic x
X-Amz-Target: SageMaker.CreateModel
X-Amz-Date: 1
Date: 2
Content-Encoding: gzip
Expect: 100-continue
Content-Length: 2
Content-Length: 02
Transfer-Encoding: chunked
Upgrade: h2c
Cookie: a=b
X-Amzn-RequestId: mine
"""
HEADERS = st.sampled_from(SENT.strip().splitlines())
TARGETS = st.sampled_from(
    [
        *("/endpoints/local/invocations",) * 8,
        *("/endpoints/creating/invocations", "/endpoints/other/invocations", "/endpoints//invocations"),
        *("/endpoints/local/invocations/", "/endpoints/local/invocations?", "/endpoints/local/invocations#a"),
        *("//endpoints/local/invocations", "/endpoints/local/invocations;a", "/endpoints/a/b/invocations", "/"),
        *("http://localhost/endpoints/local/invocations", "/endpoints/%6cocal/invocations", "*"),
    ]
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(target=TARGETS, headers=st.lists(HEADERS, max_size=8), body=st.sampled_from([b"{}", b"", b"x" * 100]))
def test_whatever_is_sent_both_ways_answer_the_same(
    both: Both, loop: asyncio.AbstractEventLoop, target: str, headers: list[str], body: bytes
) -> None:
    loop.run_until_complete(both.same(model("good", *headers, target=target, body=body)))


def test_an_open_session_is_the_same_to_both(both: Both, loop: asyncio.AbstractEventLoop) -> None:
    async def use() -> None:
        opening = model("opens", "X-Amzn-SageMaker-Session-Id: NEW_SESSION")
        used = [model(name, "X-Amzn-SageMaker-Session-Id: s1") for name in ("good", "closes", "good")]
        seen = []
        for port in both.ports:
            answers = [await both.ask(data, port) for data in (opening, *used)]
            seen.append([responses for responses, _ in answers])
        assert seen[0] == seen[1]
        assert [response.status[9:12] for [response] in seen[0]] == [b"200", b"200", b"200", b"400"]

    loop.run_until_complete(use())


def test_what_comes_more_often_than_it_may_is_throttled(
    both: Both, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    throttle = Throttle(1.0, lambda: 0.0)
    assert throttle.admits()  # and no more, as its time stands still
    monkeypatch.setattr(both.gateway._runtime, "_throttle", throttle)
    [response] = loop.run_until_complete(both.same(model("good")))
    assert response.status == b"HTTP/1.1 400 Bad Request"
    assert b"x-amzn-errortype: ThrottlingException" in response.headers


def test_a_fault_of_the_emulators_own_is_the_same_answer(
    both: Both, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(both.gateway._runtime, "_endpoints", None)
    [response] = loop.run_until_complete(both.same(model("good")))
    assert response.status == b"HTTP/1.1 500 Internal Server Error"


def test_a_request_behind_a_plain_one_waits_for_its_turn(both: Both, loop: asyncio.AbstractEventLoop) -> None:
    async def send() -> None:
        for port in both.ports:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for name in ("good", "bad", "good"):  # each in a read of its own, while the one before is under way
                writer.write(model(name))
                await asyncio.sleep(0)
            writer.write_eof()
            received = await in_time(reader.read(), 20)
            writer.close()
            assert [response.status[9:12] for response in responses(received)] == [b"200", b"424", b"200"]

    loop.run_until_complete(send())


def test_a_caller_that_goes_ends_its_invocation(both: Both, loop: asyncio.AbstractEventLoop) -> None:
    async def go() -> None:
        for port in both.ports:
            caller = socket.create_connection(("127.0.0.1", port))
            # So that closing it is a reset: without, it is a half-close as far as anybody can tell.
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            caller.sendall(model("slow"))
            await until(lambda: both.containers.waiting)
            caller.close()
            await until(lambda: not both.containers.waiting)
            assert both.endpoint.variants[0].in_flight == 0

    loop.run_until_complete(go())


async def _under_way(both: Both, end: Callable[[ServerState], None]) -> Seen:
    """The response to an invocation that its container has when ``end`` is called; both ways give the same."""
    seen = []
    for port, state in zip(both.ports, both.states, strict=True):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(model("slow"))
        await until(lambda: both.containers.waiting)
        end(state)
        seen.append(list(responses(await in_time(reader.read(), 20))))
        writer.close()
    assert seen[0] == seen[1]
    return seen[0][0]


def test_what_is_under_way_at_the_end_of_the_emulator_is_refused(both: Both, loop: asyncio.AbstractEventLoop) -> None:
    def end(state: ServerState) -> None:
        for task in state.tasks:
            task.cancel()

    response = loop.run_until_complete(_under_way(both, end))
    assert response.status == b"HTTP/1.1 503 Service Unavailable"


def test_the_last_response_of_a_connection_that_is_to_end_says_so(both: Both, loop: asyncio.AbstractEventLoop) -> None:
    def end(state: ServerState) -> None:
        for served in list(state.connections):
            served.shutdown()
        both.containers.go_on.set()

    response = loop.run_until_complete(_under_way(both, end))
    assert (response.body, response.is_open) == (b"at last", False)


def test_a_connection_is_used_again_and_closed_when_it_is_not(both: Both, loop: asyncio.AbstractEventLoop) -> None:
    async def wait() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", both.ports[0])
        for _ in range(3):
            writer.write(model("good"))
            head = await in_time(reader.readuntil(b"\r\n\r\n"), 20)
            assert head.startswith(b"HTTP/1.1 200 ") and await reader.readexactly(3) == b"1,2"
        [connection] = both.states[0].connections
        connection.timeout_keep_alive = 0  # type: ignore[union-attr]
        writer.write(model("good"))
        assert (await in_time(reader.read(), 20)).endswith(b"1,2")
        writer.close()

    loop.run_until_complete(wait())


async def _ask_in_pieces(both: Both, data: bytes, sizes: list[int], port: int) -> list[Seen]:
    """The responses to what is sent in pieces, each of them after the one before has been read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for size in sizes:
        piece, data = data[:size], data[size:]
        writer.write(piece)
        await turns()
    writer.write(data)
    writer.write_eof()
    received = await in_time(reader.read(), 20)
    writer.close()
    return list(responses(received))


@pytest.mark.parametrize("back", [[2], [3, 1], [2 + 4 + 60]], ids=["head and body", "three", "in the head"])
def test_a_short_body_is_waited_for(both: Both, loop: asyncio.AbstractEventLoop, back: list[int]) -> None:
    """boto3, for one, sends head and body apart."""

    async def ask() -> None:
        data, before = model("good"), both.plain
        sizes = [len(data) - back[0], *(a - b for a, b in itertools.pairwise(back))]
        short, long = [await _ask_in_pieces(both, data, sizes, port) for port in both.ports]
        assert short == long
        assert short[0].body == b"1,2"
        assert both.plain == before + 1

    loop.run_until_complete(ask())


@pytest.mark.parametrize("how", ["ends", "goes"])
def test_nothing_is_left_of_a_body_that_was_waited_for(both: Both, loop: asyncio.AbstractEventLoop, how: str) -> None:
    async def ask() -> list[bytes]:
        before, answers = both.plain, []
        for port, state in zip(both.ports, both.states, strict=True):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(model("good")[:-1])
            await turns()
            if how == "ends":
                writer.write_eof()
            else:
                writer.close()
            answers.append(UUID.sub(b"ID", await in_time(reader.read(), 20)) if how == "ends" else b"")
            writer.close()
            await until(lambda state=state: not state.connections and not state.tasks)
        assert both.plain == before
        return answers

    short, long = loop.run_until_complete(ask())
    assert short == long
    assert how == "goes" or short.startswith(b"HTTP/1.1 400 ")


def test_a_body_that_is_waited_for_at_the_end_of_the_emulator_is_refused(
    both: Both, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(both.gateway, "_is_ending", True)

    async def ask() -> None:
        for port, state in zip(both.ports, both.states, strict=True):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(model("good")[:-1])
            await until(lambda state=state: state.connections)
            await turns()
            for served in list(state.connections):
                served.shutdown()
            assert (await in_time(reader.readline(), 20)).startswith(b"HTTP/1.1 503 ")
            writer.close()
            await until(lambda state=state: not state.connections and not state.tasks)

    loop.run_until_complete(ask())


def test_a_long_body_is_passed_on_as_it_comes(
    both: Both, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HELD_BYTES", 1)
    before = both.plain
    [response] = loop.run_until_complete(both.same(model("good")))
    assert response.body == b"1,2"
    assert both.plain == before
