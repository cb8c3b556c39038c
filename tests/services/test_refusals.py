"""What never reaches a service is refused in the same form as what the service itself refuses."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest
from botocore.parsers import create_parser

from emulator.aws.errors import AwsError
from emulator.aws.protocols import send_error
from emulator.aws.request import AwsRequest, Service
from emulator.gateway.access.access_control import AccessControl, User
from emulator.gateway.gateway import Gateway
from emulator.gateway.refusals import not_http
from emulator.gateway.response_headers import NO_PAGE
from emulator.gateway.web_guard import WebGuard
from tests.support.asgi_client import Response, http_scope, respond

FORM = (("content-type", "application/x-www-form-urlencoded; charset=utf-8"),)
JSON = ("content-type", "application/x-amz-json-1.1")
OWN = "SomethingOfItsOwn"


class Call(NamedTuple):
    """A request, and the codes with which it is refused: by its Host, as ambiguous, and by its signature."""

    protocol: str  # as botocore calls it
    signed_for: str
    codes: tuple[str, str, str]
    method: str = "POST"
    target: str = "/"
    headers: tuple[tuple[str, str], ...] = ()

    def scope(self, more: str = "", **headers: str) -> Any:
        credential = f"Credential=ME/20260101/us-east-1/{self.signed_for}/aws4_request"
        signature = f"AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=00"
        return http_scope(
            self.method, self.target + more, {"authorization": signature, **dict(self.headers), **headers}
        )


IN_JSON = ("AccessDeniedException", "SerializationException", "IncompleteSignatureException")
IN_QUERY = ("AccessDenied", "MalformedInput", "IncompleteSignature")
IN_S3 = ("AccessDenied", "InvalidArgument", "AuthorizationHeaderMalformed")
RPC = ("POST", "/service/GraniteServiceVersion20100801/operation/ListMetrics")
CBOR = (("smithy-protocol", "rpc-v2-cbor"), ("content-type", "application/cbor"))
CALLS = {
    "runtime": Call("rest-json", "sagemaker", IN_JSON, target="/endpoints/e/invocations"),
    "sagemaker": Call("json", "sagemaker", IN_JSON, headers=(("x-amz-target", "SageMaker.ListModels"), JSON)),
    "logs": Call("json", "logs", IN_JSON, headers=(("x-amz-target", "Logs_20140328.A"), JSON)),
    "monitoring": Call("smithy-rpc-v2-cbor", "monitoring", IN_JSON, *RPC, headers=CBOR),
    "iam": Call("query", "iam", IN_QUERY, headers=FORM),
    "ec2": Call("ec2", "ec2", IN_QUERY, headers=FORM),
    "s3": Call("rest-xml", "s3", IN_S3, method="GET", target="/bucket/key"),
}


async def of_its_own(request: AwsRequest, receive: Any, send: Any) -> None:
    await send_error(request, AwsError(OWN, 418, "Not here."), send)


def gateway(access: AccessControl | None = None, service: Service = of_its_own) -> Gateway:
    async def page(*_: Any) -> None:
        raise AssertionError("no request here is for a page")

    class S3:
        __call__ = staticmethod(service)

        def has_bucket(self, _: str) -> bool:
            return True

    return Gateway(service, service, S3(), service, page, service, WebGuard(), access)  # type: ignore[arg-type]


def answer(application: Callable[..., Awaitable[None]], scope: Any) -> Response:
    return asyncio.run(respond(application, scope, b"body"))


def form(response: Response) -> tuple[set[str], str, Any]:
    """All of an answer that is not about one request or one error."""
    names = set(response.headers) - {"connection"} - {name.decode() for name, _ in NO_PAGE}
    if response.headers["content-type"].startswith("application/") and response.body.startswith(b"{"):
        return names, response.headers["content-type"], list(json.loads(response.body))
    return names, response.headers["content-type"], re.findall(rb"</?\w+>", response.body) or response.body[:8]


def code(call: Call, response: Response) -> str:
    """As botocore reads it."""
    answered = {"status_code": response.status, "headers": response.headers, "body": response.body}
    found: str = create_parser(call.protocol).parse(answered, None)["Error"]["Code"]
    return found


@pytest.mark.parametrize("name", CALLS)
def test_all_refusals_of_a_service_have_one_form(name: str) -> None:
    call = CALLS[name]
    own = answer(gateway(), call.scope())
    assert (own.status, code(call, own)) == (418, OWN)
    access = AccessControl([User("me", "ME", "secret")], "us-east-1", 1000)
    refused = [
        answer(gateway(), call.scope(host="evil.example")),
        answer(gateway(), call.scope("?q=1&q=2")),
        answer(gateway(access), call.scope()),
    ]
    assert tuple(code(call, each) for each in refused) == call.codes
    assert tuple(each.status for each in refused) == (403, 400, 400)

    ended = gateway()
    asyncio.run(ended.end())
    ending = answer(ended, call.scope())
    assert (ending.status, code(call, ending)) == (503, "ServiceUnavailable")

    async def refuse(scope: Any, _: Any, send: Any) -> None:
        await gateway().refuse(scope, send, not_http("It is odd"))

    not_read = answer(refuse, call.scope())
    assert (not_read.status, code(call, not_read)) == (400, "BadRequest")
    assert [each.headers.get("connection") for each in (*refused, ending, not_read)] == [None] * 3 + ["close"] * 2
    for each in (*refused, ending, not_read):
        assert form(each) == form(own)


@pytest.mark.parametrize("name", CALLS)
def test_a_caller_that_waits_to_send_its_body_need_not(name: str) -> None:
    """Its connection ends: what it sends after all would be taken for its next request."""
    response = answer(gateway(), CALLS[name].scope(host="evil.example", expect="100-continue"))
    assert (response.status, response.headers["connection"]) == (403, "close")
