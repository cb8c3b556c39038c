"""What a request to one of moto's services is read as, once, and the request that moto gets instead of it."""

from __future__ import annotations

import gzip
import json
import urllib.parse
from typing import Any

import pytest

from emulator.aws.errors import AwsError
from emulator.aws.request import AwsRequest
from emulator.services.moto_services import service_call
from emulator.services.moto_services.service_call import ServiceCall, call_of

SIGNED = "AWS4-HMAC-SHA256 Credential=key/20260101/eu-west-1/{}/aws4_request, SignedHeaders=host, Signature=x"
FORM = "application/x-www-form-urlencoded; charset=utf-8"
LOGS = "Logs_20140328"


def request(service: str, method: str = "POST", query: str = "", path: str = "/", **headers: str) -> AwsRequest:
    """A request that is signed for this service; in the names of ``headers``, hyphens are underscores."""
    fields = {"authorization": SIGNED.format(service), "host": f"{service}.eu-west-1.amazonaws.com", **headers}
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    made = AwsRequest({"method": method, "path": path, "query_string": query.encode(), "headers": pairs})
    made.service = service  # as the gateway has recognized it
    return made


def refusal(request: AwsRequest, body: bytes = b"") -> tuple[str, str]:
    with pytest.raises(AwsError) as raised:
        call_of(request, body)
    return raised.value.code, str(raised.value)


# What it is read as


@pytest.mark.parametrize(
    "made, body, call",
    [
        (request("logs", x_amz_target=f"{LOGS}.DescribeLogGroups"), b'{"limit": 5}',
         ServiceCall("logs", "DescribeLogGroups", {"limit": 5})),
        (request("logs", x_amz_target=f"{LOGS}.DescribeLogGroups"), b"{}",
         ServiceCall("logs", "DescribeLogGroups", {})),
        (request("sts", content_type=FORM), b"Action=AssumeRole&Version=2011-06-15&RoleArn=a%20b&Tags=",
         ServiceCall("sts", "AssumeRole", None, {"Version": "2011-06-15", "RoleArn": "a b", "Tags": ""})),
        (request("sts", "GET", "Action=GetCallerIdentity&Version=2011-06-15"), b"",
         ServiceCall("sts", "GetCallerIdentity", None, {"Version": "2011-06-15"})),
        # Some of it in the URL, the rest in the body
        (request("sts", "POST", "Action=GetCallerIdentity", content_type=FORM), b"Version=2011-06-15",
         ServiceCall("sts", "GetCallerIdentity", None, {"Version": "2011-06-15"})),
        # What a presigned URL is signed with
        (request("sts", "GET", "Action=GetCallerIdentity&X-Amz-Signature=x&X-Amz-Expires=60"), b"",
         ServiceCall("sts", "GetCallerIdentity", None, {})),
        # What is refused by its name, whoever asks for it
        (request("dynamodb", x_amz_target="DynamoDB_20120810.ListTables"), b"{}",
         ServiceCall("dynamodb", "ListTables")),
        (request("sqs", content_type=FORM), b"Action=ListQueues", ServiceCall("sqs", "*")),
        (request("monitoring", path="/service/GraniteServiceVersion20100801/operation/ListMetrics",
                 smithy_protocol="rpc-v2-cbor"), b"\xa0", ServiceCall("monitoring", "ListMetrics")),
    ],
)  # fmt: skip
def test_an_operation_with_its_parameters(made: AwsRequest, body: bytes, call: ServiceCall) -> None:
    assert call_of(made, body) == call


@pytest.mark.parametrize(
    "made, body, code, words",
    [
        (request("sts", "PUT", "Action=GetCallerIdentity"), b"", "InvalidAction", "be called with PUT. Use"),
        (request("logs", "GET", x_amz_target=f"{LOGS}.DescribeLogGroups"), b"", "InvalidAction", "with GET. Use"),
        (request("logs", "POST", "Action=CreateLogGroup", x_amz_target=f"{LOGS}.DescribeLogGroups"), b"{}",
         "SerializationException", "names an operation in X-Amz-Target and as Action"),
        (request("logs", x_amz_target=f"{LOGS}.Unheard"), b"{}", "UnknownOperationException", "an operation"),
        (request("logs", x_amz_target="Other.DescribeLogGroups"), b"{}", "UnknownOperationException", "an operation"),
        (request("logs", x_amz_target=f"{LOGS}.DescribeLogGroups"), b"[]", "SerializationException", "a JSON object"),
        (request("sts", content_type=FORM), b"Version=2011-06-15", "MissingAction", "it has no Action."),
        (request("sts", content_type=FORM), b"Action=Unheard", "InvalidAction", "Unheard is not valid"),
        (request("sts", content_type=FORM), b"Action=assumerole", "InvalidAction", "assumerole is not valid"),
        # Of two, moto would take one, and who may call was asked of the other.
        (request("sts", "POST", "Action=GetCallerIdentity", content_type=FORM), b"Action=AssumeRole",
         "MalformedInput", "Action is in the query of the URL and in the body"),
        (request("sts", content_type=FORM), b"Action=AssumeRole&Action=GetCallerIdentity",
         "MalformedInput", "the parameter Action more than once"),
        (request("sts", content_type=FORM), b"Action=AssumeRole&RoleArn=%FF", "MalformedInput", "are not UTF-8"),
        (request("sts", content_type=FORM), b"\xff", "MalformedInput", "are not UTF-8"),
    ],
)  # fmt: skip
def test_what_could_be_taken_for_something_else_is_refused(
    made: AwsRequest, body: bytes, code: str, words: str
) -> None:
    found, told = refusal(made, body)
    assert found == code and words in told


@pytest.mark.parametrize("encoding", ["gzip", "identity", ""])
def test_a_compressed_body_is_read(encoding: str) -> None:
    body = b"Action=PutMetricData&Namespace=n"
    made = request("monitoring", content_type=FORM, content_encoding=encoding)
    call = call_of(made, gzip.compress(body) if encoding == "gzip" else body)
    assert (call.operation, call.parameters) == ("PutMetricData", {"Namespace": "n"})


@pytest.mark.parametrize(
    "encoding, body",
    [
        ("gzip", b"no gzip"),
        ("gzip", gzip.compress(b"Action=PutMetricData")[:-5]),
        ("gzip", gzip.compress(b"Action=PutMetricData&" + b"x" * 2000)),  # more than may come out of it
        ("br", b"Action=PutMetricData"),
    ],
    ids=["no gzip", "cut off", "too long", "another encoding"],
)
def test_a_body_that_cannot_be_decompressed_is_refused(
    monkeypatch: pytest.MonkeyPatch, encoding: str, body: bytes
) -> None:
    monkeypatch.setattr(service_call, "MOST_BODY_BYTES", 1000)
    made = request("monitoring", content_type=FORM, content_encoding=encoding)
    code, words = refusal(made, body)
    assert code == "MalformedInput" and "its Content-Encoding has to be gzip, of up to 1000 bytes" in words


# What moto gets


def for_moto(call: ServiceCall, made: AwsRequest) -> tuple[dict[str, Any], dict[str, str], bytes]:
    scope, body = call.for_moto(made)
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    assert len(headers) == len(scope["headers"])
    assert headers["content-length"] == str(len(body))
    assert (scope["method"], scope["path"], scope["raw_path"]) == ("POST", "/", b"/")
    return dict(scope), headers, body


def test_moto_sees_the_operation_and_its_document_and_nothing_that_the_caller_wrote_beside_them() -> None:
    made = request("logs", path="/other", query="Version=1", x_amz_target="Other.Target", x_other="x", accept="a/b")
    call = ServiceCall("logs", "DescribeLogGroups", {"limit": 5})
    scope, headers, body = for_moto(call, made)
    assert json.loads(body) == {"limit": 5}
    assert scope["query_string"] == b"Action=DescribeLogGroups"
    assert headers["x-amz-target"] == call.target == "Logs_20140328.DescribeLogGroups"
    assert set(headers) == {"accept", "host", "authorization", "x-amz-target", "content-type", "content-length"}
    assert headers["host"] == "localhost"  # not the region of the host
    assert "Credential=key/20260101/eu-west-1/logs/aws4_request," in headers["authorization"]


def test_moto_sees_the_pairs_of_a_query_in_the_body() -> None:
    made = request("sts", "GET", "Action=Other&RoleArn=other")
    call = ServiceCall("sts", "AssumeRole", None, {"RoleArn": "a b&c", "Action": "smuggled"})
    scope, headers, body = for_moto(call, made)
    assert urllib.parse.parse_qs(body.decode()) == {"RoleArn": ["a b&c"], "Action": ["AssumeRole"]}
    assert scope["query_string"] == b"" and call.target == ""
    assert headers["content-type"] == FORM


def test_a_presigned_url_s_caller_is_told_by_a_header() -> None:
    credential = "key%2F20260101%2Fus-east-1%2Fsts%2Faws4_request"
    scope = {"method": "GET", "path": "/", "query_string": b"X-Amz-Credential=" + credential.encode(), "headers": []}
    _, headers, _ = for_moto(ServiceCall("sts", "GetCallerIdentity"), AwsRequest(scope))
    assert "Credential=key/20260101/us-east-1/sts/aws4_request," in headers["authorization"]


def test_a_request_that_is_not_signed_stays_so() -> None:
    made = AwsRequest({"method": "POST", "path": "/", "query_string": b"", "headers": []})
    _, headers, _ = for_moto(ServiceCall("sts", "GetCallerIdentity"), made)
    assert "authorization" not in headers
