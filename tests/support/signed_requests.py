"""Requests that botocore has signed, sent to an ASGI application in the test's own process."""

from __future__ import annotations

import urllib.parse
from typing import Any

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from emulator.aws.asgi import Application, Scope


def signed_scope(
    keys: tuple[str, str],
    service: str,
    region: str,
    method: str = "POST",
    path: str = "/",
    headers: dict[str, str] | None = None,
    body: bytes = b"",
) -> Scope:
    """The head of a request, signed with an access key and its secret."""
    request = AWSRequest(method, f"http://localhost{path}", headers or {}, body)
    auth = S3SigV4Auth if service == "s3" else SigV4Auth
    auth(Credentials(*keys), service, region).add_auth(request)
    raw_path, _, query = path.partition("?")
    return {
        "type": "http",
        "http_version": "1.1",
        "root_path": "",
        "scheme": "http",
        "server": ("localhost", 80),
        "client": ("127.0.0.1", 1),
        "method": method,
        "path": urllib.parse.unquote(raw_path),
        "raw_path": raw_path.encode(),
        "query_string": query.encode(),
        "headers": [
            (b"host", b"localhost"),
            *((name.lower().encode(), str(value).encode()) for name, value in request.headers.items()),
        ],
    }


async def answer_of(application: Application, scope: Scope, body: bytes = b"") -> tuple[int, bytes]:
    """Status and body of what an application answers."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await application(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)
