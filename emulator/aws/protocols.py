"""An error in the form that an AWS service's protocol gives it."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from xml.sax.saxutils import escape

CBOR = "rpc-v2-cbor"


@dataclass(frozen=True)
class Request:
    """What tells the protocol that a request speaks."""

    service: str  # signing name
    content_type: str
    smithy_protocol: str  # of RPC v2, which says it


@dataclass(frozen=True)
class Refusal:
    """An error, as any AWS service may answer with it."""

    status: int
    code: str
    message: str


Headers = list[tuple[str, str]]


def refuse(request: Request, refusal: Refusal) -> tuple[Headers, bytes]:
    """Headers and body that an SDK makes an exception of."""
    request_id = str(uuid.uuid4())
    headers = [("x-amzn-requestid", request_id), ("x-amzn-errortype", refusal.code)]
    code, message = refusal.code, refusal.message
    if request.smithy_protocol == CBOR:
        headers.append(("smithy-protocol", CBOR))
        return [*headers, ("content-type", "application/cbor")], _cbor({"__type": code, "message": message})
    if "json" in request.content_type:
        body = json.dumps({"__type": code, "message": message, "Message": message}).encode()
        return [*headers, ("content-type", request.content_type)], body
    error = f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
    if request.service.startswith("s3"):
        xml = f"<Error>{error}<RequestId>{request_id}</RequestId></Error>"
    elif request.service == "ec2":
        xml = f"<Response><Errors><Error>{error}</Error></Errors><RequestID>{request_id}</RequestID></Response>"
    else:
        xml = (
            f"<ErrorResponse><Error><Type>Sender</Type>{error}</Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
    return [*headers, ("content-type", "text/xml")], xml.encode()


def _cbor(texts: dict[str, str]) -> bytes:
    """A map of texts to texts. [RFC 8949]"""
    encoded = bytes([0xA0 | len(texts)])
    for text in (text for item in texts.items() for text in item):
        data = text.encode()
        encoded += (bytes([0x60 | len(data)]) if len(data) < 24 else b"\x79" + len(data).to_bytes(2, "big")) + data
    return encoded
