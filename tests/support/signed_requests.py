"""Requests that botocore has signed."""

from __future__ import annotations

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from emulator.aws.asgi import Scope
from tests.support.asgi_client import http_scope


def signed_scope(
    keys: tuple[str, str] | tuple[str, str, str | None],
    service: str,
    region: str,
    method: str = "POST",
    path: str = "/",
    headers: dict[str, str] | None = None,
    body: bytes = b"",
) -> Scope:
    """The head of a request, signed with an access key, its secret, and perhaps a session token."""
    request = AWSRequest(method, f"http://localhost{path}", headers or {}, body)
    auth = S3SigV4Auth if service == "s3" else SigV4Auth
    auth(Credentials(*keys), service, region).add_auth(request)
    return http_scope(method, path, [(name, str(value)) for name, value in request.headers.items()])
