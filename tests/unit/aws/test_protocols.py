"""Errors in the form of each protocol: byte for byte, and as botocore reads them."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from botocore.parsers import create_parser

from emulator.aws.errors import AwsError
from emulator.aws.protocols import Protocol, protocol_of, send_error, written
from emulator.aws.request import AwsRequest
from tests.support.asgi_client import Response, http_scope

XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
TARGET = {"x-amz-target": "SageMaker.DescribeModel"}
JSON_1_0, JSON_1_1 = "application/x-amz-json-1.0", "application/x-amz-json-1.1"
FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
CBOR = {"smithy-protocol": "rpc-v2-cbor", "content-type": "application/cbor"}


def request(service: str, headers: dict[str, str] | None = None, target: str = "/", method: str = "POST") -> AwsRequest:
    made = AwsRequest(http_scope(method, target, headers or {}))
    made.service = service
    return made


def sent(made: AwsRequest, error: AwsError) -> Response:
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    asyncio.run(send_error(made, error, send))
    start, *parts = messages
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return Response(start["status"], headers, b"".join(part.get("body", b"") for part in parts))


@pytest.mark.parametrize(
    ("service", "headers", "target", "protocol"),
    [
        ("runtime", {}, "/endpoints/e/invocations", Protocol.REST_JSON),
        ("runtime", CBOR, "/endpoints/e/invocations", Protocol.REST_JSON),  # the body is the model's
        ("localmme", {}, "/_localmme/state", Protocol.REST_JSON),
        ("", {}, "/_localmme/health", Protocol.REST_JSON),  # the page that anybody may see
        ("sagemaker", TARGET, "/", Protocol.JSON),
        ("logs", {"content-type": JSON_1_1}, "/", Protocol.JSON),
        ("bedrock", {"content-type": "application/json"}, "/model/m/invoke", Protocol.JSON),  # not emulated
        ("sts", FORM, "/", Protocol.QUERY),
        ("sts", {}, "/?Action=GetCallerIdentity", Protocol.QUERY),
        ("ec2", FORM, "/", Protocol.EC2),
        ("s3", TARGET, "/bucket/key", Protocol.REST_XML),
        ("s3-outposts", {}, "/", Protocol.REST_XML),
        ("monitoring", FORM, "/", Protocol.QUERY),
        ("monitoring", {"x-amz-target": "GraniteServiceVersion20100801.ListMetrics"}, "/", Protocol.JSON),
        ("monitoring", CBOR, "/service/GraniteServiceVersion20100801/operation/ListMetrics", Protocol.CBOR),
        ("", {}, "/nothing", Protocol.NONE),
    ],
)
def test_a_request_is_answered_in_its_services_protocol(
    service: str, headers: dict[str, str], target: str, protocol: Protocol
) -> None:
    assert protocol_of(request(service, headers, target)) is protocol


ID = "x-amzn-requestid"
TYPE = {"x-amzn-errortype": "Code"}
S3_IDS = {"x-amz-request-id": "ID", "x-amz-id-2": "localmme"}
# A request's service, what it says of itself; the headers of the answer, and its body.
FORMS: dict[str, tuple[AwsRequest, dict[str, str], str]] = {
    "rest-json": (
        request("runtime", target="/endpoints/e/invocations"),
        {ID: "ID", "content-type": "application/json", **TYPE},
        '{"Message": "<é> & \\"x\\"", "OriginalStatusCode": 500}',
    ),
    "json 1.1": (
        request("sagemaker", TARGET),  # the head of one that is refused may end before its Content-Type
        {ID: "ID", "content-type": JSON_1_1, **TYPE},
        '{"__type": "Code", "message": "<é> & \\"x\\"", "OriginalStatusCode": 500}',
    ),
    "json 1.0": (
        request("monitoring", {"x-amz-target": "GraniteServiceVersion20100801.A", "content-type": JSON_1_0}),
        {ID: "ID", "content-type": JSON_1_0, **TYPE},
        '{"__type": "Code", "message": "<é> & \\"x\\"", "OriginalStatusCode": 500}',
    ),
    "query": (
        request("iam", FORM),
        {ID: "ID", "content-type": "text/xml"},
        f"{XML}<ErrorResponse><Error><Type>Sender</Type><Code>Code</Code><Message>&lt;é&gt; &amp; &quot;x&quot;"
        "</Message></Error><RequestId>ID</RequestId></ErrorResponse>",
    ),
    "ec2": (
        request("ec2", FORM),
        {ID: "ID", "content-type": "text/xml"},
        f"{XML}<Response><Errors><Error><Code>Code</Code><Message>&lt;é&gt; &amp; &quot;x&quot;</Message></Error>"
        "</Errors><RequestID>ID</RequestID></Response>",
    ),
    "rest-xml": (
        request("s3", target="/bucket/a%20%3Ckey%3E", method="GET"),
        {**S3_IDS, "content-type": "application/xml"},
        f"{XML}<Error><Code>Code</Code><Message>&lt;é&gt; &amp; &quot;x&quot;</Message><OriginalStatusCode>500"
        "</OriginalStatusCode><Resource>/bucket/a &lt;key&gt;</Resource><RequestId>ID</RequestId>"
        "<HostId>localmme</HostId></Error>",
    ),
    "smithy-rpc-v2-cbor": (
        request("monitoring", CBOR),
        {ID: "ID", "content-type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"},
        '\\a2\\66__type\\64Code\\67message\\6a<é> & "x"',
    ),
    "plain text": (
        request("", target="/nothing"),
        {ID: "ID", "content-type": "text/plain; charset=utf-8"},
        '<é> & "x"\n',
    ),
}


def as_bytes(text: str) -> bytes:
    r"""A body of the table; in that of CBOR, ``\a2`` is a byte."""
    return re.sub(rb"\\([0-9a-f]{2})", lambda match: bytes.fromhex(match[1].decode()), text.encode())


@pytest.mark.parametrize("name", FORMS)
def test_an_error_has_the_form_of_its_protocol(name: str) -> None:
    made, headers, body = FORMS[name]
    expected = as_bytes(body) if "cbor" in name else body.replace("é", "\\u00e9" if "json" in name else "é").encode()
    answer = sent(made, AwsError("Code", 418, '<é> & "x"', OriginalStatusCode=500))
    length = answer.headers.pop("content-length")
    assert (answer.status, int(length)) == (418, len(answer.body))
    assert answer.headers == {key: made.id if value == "ID" else value for key, value in headers.items()}
    assert answer.body.replace(made.id.encode(), b"ID") == expected


@pytest.mark.parametrize("length", [0, 22, 23, 24, 255, 256, 70_000])
@pytest.mark.parametrize("name", [name for name in FORMS if name != "plain text"])
def test_botocore_reads_an_error_in_each_protocol(name: str, length: int) -> None:
    made, *_ = FORMS[name]
    message = "é" + "x" * length
    headers, body = written(made, AwsError("SomethingFailed", 400, message))
    parser = create_parser("json" if name.startswith("json") else name)
    response = {
        "status_code": 400,
        "headers": {key.decode(): value.decode() for key, value in headers},
        "body": body,
    }
    parsed = parser.parse(response, None)
    at_most = 65_534 if "cbor" in name else 1_000_000
    assert (parsed["Error"]["Code"], parsed["Error"]["Message"]) == ("SomethingFailed", message[:at_most])
    assert parsed["ResponseMetadata"]["RequestId"] == made.id


def test_what_stands_before_sagemaker_runtime_has_no_code_and_throttling_no_message() -> None:
    made = request("runtime")
    too_long = sent(made, AwsError("", 413, "HTTP content length exceeded 5 bytes."))
    assert "x-amzn-errortype" not in too_long.headers
    assert too_long.body == b'{"message": "HTTP content length exceeded 5 bytes."}'
    throttled = sent(made, AwsError("ThrottlingException", 400, ""))
    assert throttled.headers["x-amzn-errortype"] == "ThrottlingException"
    assert throttled.body == b'{"message": null}'


@pytest.mark.parametrize("said", ["text/html", "text/html; json", "application/x-amz-json-1.1; charset=x", ""])
def test_only_the_types_of_the_protocol_are_repeated(said: str) -> None:
    headers, _ = written(
        request("logs", {"x-amz-target": "Logs_20140328.A", "content-type": said}), AwsError("C", 400, "")
    )
    assert dict(headers)[b"content-type"] == JSON_1_1.encode()


@pytest.mark.parametrize(("service", "target"), [("s3", "/bucket/key"), ("runtime", "/endpoints/e/invocations")])
def test_head_gets_no_body(service: str, target: str) -> None:
    answer = sent(request(service, target=target, method="HEAD"), AwsError("NoSuchKey", 404, "It does not exist."))
    assert (answer.status, answer.body) == (404, b"")
    assert "content-length" not in answer.headers


def test_a_request_keeps_its_id() -> None:
    one, other = request("runtime"), request("runtime")
    assert one.id == one.id != other.id
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", one.id)
    assert re.fullmatch("[0-9A-F]{16}", request("s3").id)
