"""What a request to one of moto's services asks for, read once, and the request that moto gets instead of it.

moto looks for an operation in a form, then in the URL's query, then in the body, whatever its type, then in a header,
and takes a parameter from the first place that has it. So it never sees what the caller wrote, only what was made of
it: an operation that the service has, and parameters that are there once.
"""

from __future__ import annotations

import asyncio
import functools
import gzip
import io
import json
import urllib.parse
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from emulator.aws.asgi import Scope
from emulator.aws.json_document import NotADocument, parsed
from emulator.aws.protocols import CBOR
from emulator.aws.request import FORM, RPC_PREFIX, AwsRequest
from emulator.aws.services import MOTO_SERVICES, SIGNING_NAMES, api_model
from emulator.errors import EmulatorError

MOST_BODY_BYTES = 32 << 20  # [ours] of a body that comes compressed


class NotACall(EmulatorError):
    """A request that names no operation of its service, or can be read in more than one way."""

    def __init__(self, json_code: str, query_code: str, message: str) -> None:
        """The code in protocols of JSON, and in the query protocol."""
        super().__init__(message)
        self.json_code = json_code
        self.query_code = query_code


@dataclass(frozen=True)
class ServiceCall:
    """One operation of a service, with its parameters: a JSON document, or the pairs of a query."""

    service: str  # signing name
    operation: str
    document: Any = None
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """X-Amz-Target; empty in the query protocol."""
        return f"{MOTO_SERVICES[self.service].target_prefix}.{self.operation}" if self.document is not None else ""

    def for_moto(self, request: AwsRequest) -> tuple[Scope, bytes]:
        """The request as moto is to have it, and its body."""
        headers = [(name, value) for name, value in request.raw_headers if name == b"accept"]
        headers.append((b"host", b"localhost"))  # of an AWS host, moto would take the region, whatever is signed
        if request.credential:  # moto takes the region and the caller from here, and a presigned URL has no such header
            authorization = f"AWS4-HMAC-SHA256 Credential={request.credential}, SignedHeaders=host, Signature=verified"
            headers.append((b"authorization", authorization.encode("latin-1", "replace")))
        if self.document is not None:
            # The query keeps moto from looking for parameters of a query in the document.
            query, body = f"Action={self.operation}", json.dumps(self.document)
            headers += [(b"x-amz-target", self.target.encode()), (b"content-type", b"application/x-amz-json-1.1")]
        else:
            query, body = "", urllib.parse.urlencode({**self.parameters, "Action": self.operation})
            headers.append((b"content-type", FORM.encode() + b"; charset=utf-8"))
        data = body.encode()
        headers.append((b"content-length", b"%d" % len(data)))
        line = {"method": "POST", "path": "/", "raw_path": b"/", "query_string": query.encode(), "headers": headers}
        return {**request.scope, **line}, data


async def read(request: AwsRequest, body: bytes) -> ServiceCall:
    """Raises NotACall. Large bodies, and the first call to a service, take their time, so in a thread."""
    return await asyncio.to_thread(call_of, request, body)


def call_of(request: AwsRequest, body: bytes) -> ServiceCall:
    """Raises NotACall."""
    service, target = request.named_service, request.target
    if service not in MOTO_SERVICES or request.header(b"smithy-protocol") == CBOR:
        # It is refused as that, whoever asks for it.
        operation = target.rpartition(".")[2] or request.path.partition(RPC_PREFIX)[2].rpartition("/")[2]
        return ServiceCall(service, operation or "*")
    if request.method != "POST" and (target or request.method != "GET"):
        raise NotACall("InvalidAction", "InvalidAction", f"{request.method} is no way to call {service}.")
    query = _pairs(request.scope["query_string"])
    if target:
        prefix, _, operation = target.partition(".")
        if "Action" in query:
            raise _ambiguous("The request names an operation in X-Amz-Target and as Action")
        if SIGNING_NAMES.get(prefix) != service or operation not in _operations(service):
            raise NotACall("UnknownOperationException", "InvalidAction", f"{target} is no operation of {service}.")
        try:
            document = parsed(_decompressed(request, body))
        except NotADocument as error:
            raise NotACall("SerializationException", "MalformedInput", str(error)) from None
        if not isinstance(document, dict):
            raise NotACall("SerializationException", "MalformedInput", "The request is no JSON object")
        return ServiceCall(service, operation, document)
    form = _pairs(_decompressed(request, body))
    twice = sorted(query.keys() & form.keys())
    if twice:
        raise _ambiguous(f"The parameter {twice[0][:100]} is in the query of the URL and in the body")
    # What presigned URLs are signed with is none of the operation's.
    parameters = {name: value for name, value in {**query, **form}.items() if not name.startswith("X-Amz-")}
    action = parameters.pop("Action", "")
    if not action:
        raise NotACall("MissingAction", "MissingAction", "The request names no operation: it has no Action.")
    if action not in _operations(service):
        words = f"The action {action[:100]} is not valid for this web service: {service} has none of that name."
        raise NotACall("InvalidAction", "InvalidAction", words)
    return ServiceCall(service, action, None, parameters)


def _pairs(query: bytes) -> dict[str, str]:
    """Raises NotACall when a name is there twice."""
    try:
        pairs = urllib.parse.parse_qsl(query.decode(), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise NotACall("SerializationException", "MalformedInput", "The request's parameters are not UTF-8") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise _ambiguous(f"The request has the parameter {name[:100]} more than once")
        found[name] = value
    return found


def _ambiguous(message: str) -> NotACall:
    return NotACall("SerializationException", "MalformedInput", message)


def _decompressed(request: AwsRequest, body: bytes) -> bytes:
    """A body as it was before an SDK compressed it, which they do with metrics. Raises NotACall."""
    encoding = request.header(b"content-encoding")
    if encoding in ("", "identity", "aws-chunked"):
        return body
    try:
        data = gzip.GzipFile(fileobj=io.BytesIO(body)).read(MOST_BODY_BYTES + 1) if encoding == "gzip" else None
    except (OSError, EOFError, zlib.error):
        data = None
    if data is None or len(data) > MOST_BODY_BYTES:
        words = f"The body cannot be read: its Content-Encoding has to be gzip, of up to {MOST_BODY_BYTES} bytes"
        raise NotACall("SerializationException", "MalformedInput", words)
    return data


@functools.cache
def _operations(service: str) -> Collection[str]:
    """All operations of a service, as its API spells them. [api]"""
    return frozenset(api_model(MOTO_SERVICES[service].api_name)["operations"])
