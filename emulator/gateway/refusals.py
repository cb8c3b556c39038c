"""Answers that no service gives: to what is not HTTP, and to whom the emulator's end cuts off."""

from __future__ import annotations

import json
import random
import uuid
from dataclasses import replace

from emulator.aws.asgi import Send, send_answer
from emulator.aws.protocols import Refusal, Request, refuse
from emulator.aws.request import AwsRequest
from emulator.services.s3 import xml_documents
from emulator.services.s3.errors import S3Error

# [api] S3's codes; the words of the first are from public reports. Other services' are not public: they get the same.
NOT_HTTP = Refusal(400, "BadRequest", "An error occurred when parsing the HTTP request.")
TOO_LONG = Refusal(
    400, "RequestHeaderSectionTooLarge", "Your request header and metadata exceed the maximum allowed size."
)
ENDING = Refusal(503, "ServiceUnavailable", "The emulator is ending.")  # [api] the code, of all services


def not_http(reason: str) -> Refusal:
    """``reason`` is what is wrong, as a sentence without its full stop."""
    return replace(NOT_HTTP, message=f"{NOT_HTTP.message} {reason}.")


async def send_refusal(request: AwsRequest, refusal: Refusal, send: Send) -> None:
    """Answer in the form of the protocol of the request's service; in plain text where it has none."""
    service = request.service
    request_id = str(uuid.UUID(int=random.getrandbits(128), version=4))
    headers = [("connection", "close"), ("x-amzn-requestid", request_id)]
    if service == "runtime":
        headers += [("x-amzn-errortype", refusal.code), ("content-type", "application/json")]
        body = json.dumps({"Message": refusal.message}).encode()
    elif service == "s3":
        error = S3Error(refusal.status, refusal.code, refusal.message)
        headers = [("connection", "close"), ("x-amz-request-id", request_id), ("content-type", "application/xml")]
        body = xml_documents.error(error, request.path, request_id, "localmme")
    elif service:
        content_type = request.header(b"content-type")
        if request.header(b"x-amz-target") and "json" not in content_type:  # the head may have ended before it
            content_type = "application/x-amz-json-1.1"
        told, body = refuse(Request(service, content_type, request.header(b"smithy-protocol")), refusal)
        headers = [("connection", "close"), *told]
    else:
        headers.append(("content-type", "text/plain; charset=utf-8"))
        body = f"{refusal.message}\n".encode()
    wired = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers]
    await send_answer(send, refusal.status, wired, body)
