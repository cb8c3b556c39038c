"""The protocols of AWS's services, and how each of them writes an error. [api] Smithy's and S3's."""

from __future__ import annotations

import enum
import json

from emulator.aws.asgi import Headers, Send, send_answer
from emulator.aws.errors import AwsError
from emulator.aws.request import PAGES, AwsRequest
from emulator.aws.xml_document import Element, document

RPC_V2_CBOR = "rpc-v2-cbor"  # what a request of this protocol says in its header smithy-protocol
JSON_1_1 = "application/x-amz-json-1.1"
JSON_TYPES = ("application/x-amz-json-1.0", JSON_1_1, "application/json")
HOST_ID = "localmme"  # which of its hosts has answered, as S3 says it
MOST_CBOR_BYTES = 0xFFFF  # [ours] of a text


class Protocol(enum.Enum):
    """How a service's requests and answers are written. NONE is for requests that are for no service."""

    REST_JSON = enum.auto()  # SageMaker Runtime, and the emulator's own pages
    JSON = enum.auto()  # JSON 1.0 and 1.1: SageMaker, ECR, CloudWatch Logs; CloudWatch, of some SDKs
    QUERY = enum.auto()  # STS, IAM; CloudWatch, of other SDKs
    EC2 = enum.auto()
    REST_XML = enum.auto()  # S3
    CBOR = enum.auto()  # RPC v2 CBOR: CloudWatch, of newer SDKs
    NONE = enum.auto()


def protocol_of(request: AwsRequest) -> Protocol:
    """The protocol of a request's service; if it has several, or is unknown, the one that the request looks like."""
    service = request.service
    if service == "runtime" or request.path.startswith(PAGES):
        return Protocol.REST_JSON
    if service.startswith("s3"):
        return Protocol.REST_XML
    if not service:
        return Protocol.NONE
    if request.header(b"smithy-protocol") == RPC_V2_CBOR:
        return Protocol.CBOR
    if request.target or "json" in request.header(b"content-type"):
        return Protocol.JSON
    return Protocol.EC2 if service == "ec2" else Protocol.QUERY


def id_headers(request: AwsRequest) -> Headers:
    """The headers by which each answer of a service names the request."""
    if protocol_of(request) is Protocol.REST_XML:
        return [(b"x-amz-request-id", request.id.encode()), (b"x-amz-id-2", HOST_ID.encode())]
    return [(b"x-amzn-requestid", request.id.encode())]


async def send_error(request: AwsRequest, error: AwsError, send: Send, more: Headers | None = None) -> None:
    """Answer with an error; ``more`` are further headers."""
    headers, body = written(request, error)
    headers += more or []
    if request.method == "HEAD":  # as S3: it does not say either how long the body would be
        await send({"type": "http.response.start", "status": error.status, "headers": headers})
        await send({"type": "http.response.body"})
    else:
        await send_answer(send, error.status, headers, body)


def written(request: AwsRequest, error: AwsError) -> tuple[Headers, bytes]:
    """Headers and body that an SDK makes an exception of."""
    headers, body = _WRITERS[protocol_of(request)](request, error)
    return id_headers(request) + headers, body


def rest_json(error: AwsError) -> tuple[Headers, bytes]:
    """Headers and body, but for the request's id."""
    # What stands before the service has another form, and so has an error that says nothing. [reports]
    name = "Message" if error.code and error.message else "message"
    body = json.dumps({name: error.message or None, **error.fields}).encode()
    return [(b"content-type", b"application/json"), *_type_header(error)], body


def _json(request: AwsRequest, error: AwsError) -> tuple[Headers, bytes]:
    said = request.header(b"content-type").partition(";")[0].strip()
    content_type = said if said in JSON_TYPES else JSON_1_1
    body = json.dumps({"__type": error.code, "message": error.message, **error.fields}).encode()
    return [(b"content-type", content_type.encode()), *_type_header(error)], body


def _query(request: AwsRequest, error: AwsError) -> tuple[Headers, bytes]:
    of_error: list[Element] = [("Type", "Sender"), ("Code", error.code), ("Message", error.message)]
    return _XML, document("ErrorResponse", [("Error", of_error), ("RequestId", request.id)])


def _ec2(request: AwsRequest, error: AwsError) -> tuple[Headers, bytes]:
    of_error: list[Element] = [("Code", error.code), ("Message", error.message)]
    return _XML, document("Response", [("Errors", [("Error", of_error)]), ("RequestID", request.id)])


def _rest_xml(request: AwsRequest, error: AwsError) -> tuple[Headers, bytes]:
    children: list[Element] = [("Code", error.code), ("Message", error.message), *error.fields.items()]
    children += [("Resource", request.path), ("RequestId", request.id), ("HostId", HOST_ID)]
    return [(b"content-type", b"application/xml")], document("Error", children)


def _cbor(_: AwsRequest, error: AwsError) -> tuple[Headers, bytes]:
    """A map of texts. [RFC 8949]"""
    members = {"__type": error.code, "message": error.message}
    body = bytes([0xA0 | len(members)]) + b"".join(_cbor_text(text) for item in members.items() for text in item)
    return [(b"content-type", b"application/cbor"), (b"smithy-protocol", RPC_V2_CBOR.encode())], body


def _cbor_text(text: str) -> bytes:
    data = text.encode("utf-8", "replace")[:MOST_CBOR_BYTES].decode("utf-8", "ignore").encode()
    return (bytes([0x60 | len(data)]) if len(data) < 24 else b"\x79" + len(data).to_bytes(2, "big")) + data


def _plain(_: AwsRequest, error: AwsError) -> tuple[Headers, bytes]:
    return [(b"content-type", b"text/plain; charset=utf-8")], f"{error.message}\n".encode()


def _type_header(error: AwsError) -> Headers:
    return [(b"x-amzn-errortype", error.code.encode())] if error.code else []


_XML: Headers = [(b"content-type", b"text/xml")]
_WRITERS = {
    Protocol.REST_JSON: lambda _, error: rest_json(error),
    Protocol.JSON: _json,
    Protocol.QUERY: _query,
    Protocol.EC2: _ec2,
    Protocol.REST_XML: _rest_xml,
    Protocol.CBOR: _cbor,
    Protocol.NONE: _plain,
}
