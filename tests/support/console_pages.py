"""The emulator's own pages in the test's own process, of one endpoint at virtual time, and readers of its stream."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from emulator.aws.request import AwsRequest
from emulator.console.actions import Actions
from emulator.console.app import ConsoleApp
from emulator.console.emulator_state import emulator_state
from emulator.console.live_updates import LiveUpdates
from emulator.console.logins import Logins
from emulator.console.operator_actions import OperatorActions
from emulator.console.what_if import what_if
from emulator.events import CallEnded, EndpointCreated
from emulator.gateway.access.access_control import AccessControl, User
from emulator.gateway.gateway import Gateway
from emulator.gateway.web_guard import WebGuard
from emulator.hosting.endpoint import Endpoint
from emulator.invocation import Invocation
from emulator.observers.model_calls import ModelCalls
from emulator.observers.model_counts import CountsByEndpoint
from emulator.state import EmulatorState
from tests.support.asgi_client import Response, http_scope, respond
from tests.support.virtual_endpoint import LIMITS, VirtualEndpoint

TOKEN = "the-token"
ALLOWED_PAGE = "http://page.example"  # of another origin, which may call the emulator
URL = "http://localhost"


class Pages:
    """The pages behind their gateway. ``endpoints`` are what they show: the virtual one, once it lives."""

    def __init__(self, virtual: VirtualEndpoint, *users: User) -> None:
        """With ``users``, who may see them depends on their policies."""
        self.virtual, self.endpoints = virtual, list[Endpoint]()
        counts = CountsByEndpoint(virtual.clock.now)
        counts.listen_to(virtual.events)

        async def state() -> EmulatorState:
            return await emulator_state(URL, self.endpoints, counts)

        self.state = state
        about = {"url": URL, "region": "us-east-1", "version": "1.0"}
        updates = LiveUpdates(about, self.endpoints, counts, virtual.entries, state, virtual.clock)
        self.actions = Actions(virtual.events)
        OperatorActions(self.endpoints).add_to(self.actions)
        calls = ModelCalls()
        calls.listen_to(virtual.events)
        line = functools.partial(what_if, self.endpoints, calls, LIMITS)
        logins = Logins(80, virtual.clock.elapsed)
        console = ConsoleApp(TOKEN, virtual.entries, updates, self.actions, line, lambda: _others, logins)
        access = AccessControl(users, "us-east-1", 1_000, logins=logins) if users else None
        guard = WebGuard(origins=[ALLOWED_PAGE])
        self.gateway = Gateway(_no_service, _no_service, None, _no_service, console, _no_service, guard, access)  # type: ignore[arg-type]

    def live(self, story: Callable[[], Awaitable[Any]]) -> Any:
        """The virtual endpoint's life, in which the story happens."""

        async def with_pages() -> Any:
            endpoint = self.virtual.endpoint
            endpoint.events.publish(EndpointCreated(endpoint.events))
            self.endpoints.append(endpoint)
            return await story()

        return self.virtual.live(with_pages)

    async def get(self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Response:
        """The answer to a request for a page, by its path below ``/_localmme/``."""
        return await respond(self.gateway, http_scope(method, f"/_localmme/{path}", headers or {}))

    async def act(self, name: str, members: Any = None, headers: Mapping[str, str] | None = None) -> Response:
        """The answer to a request for an action, with the token if ``headers`` are left out."""
        headers = {"X-Localmme-Token": TOKEN} if headers is None else headers
        body = members if isinstance(members, bytes) else json.dumps(members or {}).encode()
        return await respond(self.gateway, http_scope("POST", f"/_localmme/actions/{name}", headers), body)

    def call(self, target_model: str, times: int = 1, status: int = 200) -> None:
        """Calls that have been answered."""
        for _ in range(times):
            call = Invocation("e", b"", self.virtual.clock.elapsed(), target_model=target_model)
            self.virtual.events.publish(CallEnded(call, self.virtual.clock.elapsed(), status, 0, 0))

    @contextmanager
    def reader(self, path: str = "events", **headers: str) -> Iterator[Reader]:
        """One who reads the stream, and goes away at the end of the block."""
        reader = Reader(self.gateway, path, {name.replace("_", "-"): value for name, value in headers.items()})
        try:
            yield reader
        finally:
            reader.leave()


class Message(NamedTuple):
    """A server-sent event."""

    kind: str
    id: str
    data: Any


class Reader:
    """One who reads a stream of server-sent events, as fast as it likes."""

    def __init__(self, application: Callable[..., Awaitable[None]], path: str, headers: Mapping[str, str]) -> None:
        self.start: Any = None  # the message with the status and the headers
        self.sizes: list[int] = []  # of what has been sent, in bytes
        self.has_ended = False
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._left, self._reads = asyncio.Event(), asyncio.Event()
        self._reads.set()
        self._asked = False
        scope = http_scope("GET", f"/_localmme/{path}", headers)
        self.served = asyncio.ensure_future(application(scope, self._receive, self._send))

    def leave(self) -> None:
        self._left.set()

    def stop_reading(self) -> None:
        self._reads.clear()

    def read_on(self) -> None:
        self._reads.set()

    async def next(self, kind: str) -> Message:
        """The next message of this kind; those before it are left out."""
        while True:
            message = await self._messages.get()
            if message.kind == kind:
                return message

    def unread(self) -> list[Message]:
        """All that have come."""
        return [self._messages.get_nowait() for _ in range(self._messages.qsize())]

    async def _receive(self) -> Any:
        if self._asked:
            await self._left.wait()
            return {"type": "http.disconnect"}
        self._asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: Any) -> None:
        await self._reads.wait()
        if message["type"] == "http.response.start":
            self.start = message
            return
        self.sizes.append(len(message["body"]))
        for text in filter(None, message["body"].decode().split("\n\n")):
            fields = dict(line.split(": ", 1) for line in text.splitlines() if not line.startswith(":"))
            if fields:
                self._messages.put_nowait(Message(fields["event"], fields["id"], json.loads(fields["data"])))
        self.has_ended = not message.get("more_body")


async def _no_service(*_: Any) -> None:
    raise AssertionError("it is for no service")


async def _others(scope: Any, receive: Any, send: Any) -> None:
    """The pages that are not tested here."""
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": AwsRequest(scope).path.encode()})
