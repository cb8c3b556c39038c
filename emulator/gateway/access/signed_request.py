"""What access control looks at in a request, taken as the services themselves take it."""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence

from emulator.aws.asgi import Scope
from emulator.aws.request import header

QUERY_UNRESERVED = "-_.~"


class SignedRequest:
    """A request's line and headers. Of a header that is there twice, the last one counts, as in SageMaker Runtime."""

    def __init__(self, scope: Scope) -> None:
        self.method: str = scope["method"]
        self.raw_path: str = scope["raw_path"].partition(b"?")[0].decode("latin-1") or "/"
        self.path: str = scope["path"]
        self.raw_headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
        self.headers = {name.decode("latin-1"): decoded(value) for name, value in self.raw_headers}
        # Of this one the first counts, by which the services are told apart.
        self.target: str = header(scope, b"x-amz-target")
        self.client: str = (scope.get("client") or ("",))[0]
        self.is_secure = scope.get("scheme") == "https"
        query: bytes = scope["query_string"]
        self.pairs = urllib.parse.parse_qsl(query.decode("latin-1"), keep_blank_values=True) if query else []
        self.query = dict(self.pairs)


def decoded(value: bytes) -> str:
    """A header's value as text: UTF-8, else Latin-1, which is how HTTP libraries send what is not ASCII."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
