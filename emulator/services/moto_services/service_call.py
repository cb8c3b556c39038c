"""Reads a request to one of moto's services once, and makes the request that moto gets instead.

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
from emulator.aws.errors import AwsError
from emulator.aws.json_document import parsed
from emulator.aws.protocols import RPC_V2_CBOR, Protocol, protocol_of
from emulator.aws.request import FORM, RPC_PREFIX, AwsRequest
from emulator.aws.services import MOTO_SERVICES, SIGNING_NAMES, api_model
from emulator.aws.wsgi import MOST_BODY_BYTES


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


def is_json(request: AwsRequest) -> bool:
    """Whether the codes of its errors are those of JSON; else they are those of the query protocol."""
    return protocol_of(request) is Protocol.JSON


async def read(request: AwsRequest, body: bytes) -> ServiceCall:
    """Raises AwsError. Large bodies, and the first call to a service, take their time, so in a thread."""
    return await asyncio.to_thread(call_of, request, body)


def call_of(request: AwsRequest, body: bytes) -> ServiceCall:
    """Raises AwsError."""
    service, target = request.named_service, request.target
    if service not in MOTO_SERVICES or request.header(b"smithy-protocol") == RPC_V2_CBOR:
        # It is refused anyway, for every caller.
        operation = target.rpartition(".")[2] or request.path.partition(RPC_PREFIX)[2].rpartition("/")[2]
        return ServiceCall(service, operation or "*")
    if request.method != "POST" and (target or request.method != "GET"):
        raise AwsError("InvalidAction", 400, f"{service} cannot be called with {request.method}. Use POST.")
    query = _pairs(request, request.scope["query_string"])
    if target:
        prefix, _, operation = target.partition(".")
        if "Action" in query:
            raise _malformed(request, "The request names an operation in X-Amz-Target and as Action")
        if SIGNING_NAMES.get(prefix) != service or operation not in _operations(service):
            raise AwsError("UnknownOperationException", 400, f"{target} is not an operation of {service}.")
        document = parsed(_decompressed(request, body))
        if not isinstance(document, dict):
            raise _malformed(request, "The request is not a JSON object")
        return ServiceCall(service, operation, document)
    form = _pairs(request, _decompressed(request, body))
    twice = sorted(query.keys() & form.keys())
    if twice:
        raise _malformed(request, f"The parameter {twice[0][:100]} is in the query of the URL and in the body")
    # The parameters of a presigned URL's signature do not belong to the operation.
    parameters = {name: value for name, value in {**query, **form}.items() if not name.startswith("X-Amz-")}
    action = parameters.pop("Action", "")
    if not action:
        raise AwsError("MissingAction", 400, "The request names no operation: it has no Action.")
    if action not in _operations(service):
        words = f"The action {action[:100]} is not valid for this web service: {service} has none of that name."
        raise AwsError("InvalidAction", 400, words)
    return ServiceCall(service, action, None, parameters)


def _pairs(request: AwsRequest, query: bytes) -> dict[str, str]:
    """Raises AwsError when a name is there twice."""
    try:
        pairs = urllib.parse.parse_qsl(query.decode(), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise _malformed(request, "The request's parameters are not UTF-8") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise _malformed(request, f"The request has the parameter {name[:100]} more than once")
        found[name] = value
    return found


def _malformed(request: AwsRequest, message: str) -> AwsError:
    return AwsError("SerializationException" if is_json(request) else "MalformedInput", 400, message)


def _decompressed(request: AwsRequest, body: bytes) -> bytes:
    """A body as it was before an SDK compressed it, which they do with metrics. Raises AwsError."""
    encoding = request.header(b"content-encoding")
    if encoding in ("", "identity", "aws-chunked"):
        return body
    try:
        data = gzip.GzipFile(fileobj=io.BytesIO(body)).read(MOST_BODY_BYTES + 1) if encoding == "gzip" else None
    except (OSError, EOFError, zlib.error):
        data = None
    if data is None or len(data) > MOST_BODY_BYTES:
        words = f"The body cannot be read: its Content-Encoding has to be gzip, of up to {MOST_BODY_BYTES} bytes"
        raise _malformed(request, words)
    return data


@functools.cache
def _operations(service: str) -> Collection[str]:
    """All operations of a service, as its API spells them. [api]"""
    return frozenset(api_model(MOTO_SERVICES[service].api_name)["operations"])
