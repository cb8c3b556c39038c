"""Requests to an ASGI application in the test's own process, without a socket."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from emulator.aws.asgi import Scope
from emulator.aws.request import AwsRequest


@dataclass(frozen=True)
class Response:
    """What an application has sent."""

    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


def http_scope(
    method: str, target: str, headers: Mapping[str, str] | Iterable[tuple[str, str]] = (), **more: Any
) -> Scope:
    """The scope of a request for a target: a path, percent-encoded, and perhaps a query."""
    path, _, query = target.partition("?")
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    named = [(name.lower().encode(), value.encode()) for name, value in pairs]
    if not any(name == b"host" for name, _ in named):
        named.insert(0, (b"host", b"localhost"))
    return {
        "type": "http",
        "http_version": "1.1",
        "scheme": "http",
        "server": ("localhost", 80),
        "client": ("127.0.0.1", 1),
        "root_path": "",
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": named,
        **more,
    }


async def respond(
    application: Callable[..., Awaitable[None]], request: Scope | AwsRequest, body: bytes | Iterable[bytes] = b""
) -> Response:
    """Run the application for one request, whose body comes at once or in parts; after that the caller is gone."""
    parts = [body] if isinstance(body, bytes) else list(body) or [b""]
    coming = iter([{"type": "http.request", "body": part, "more_body": True} for part in parts])
    left = len(parts)
    sent: list[Any] = []

    async def receive() -> Any:
        nonlocal left
        left -= 1
        return {**next(coming), "more_body": left > 0} if left >= 0 else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await application(request, receive, send)
    assert sent[0]["type"] == "http.response.start", sent
    assert not sent[-1].get("more_body", False), "the response has ended"
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in sent[0].get("headers", ())}
    return Response(sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:]))


async def call_service(
    service: Callable[..., Awaitable[None]],
    name: str,
    method: str,
    target: str,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    body: bytes | Iterable[bytes] = b"",
) -> Response:
    """Make one request of an AWS service's application, which the gateway would have recognized as for that name."""
    request = AwsRequest(http_scope(method, target, headers))
    request.service = name
    return await respond(service, request, body)
