"""Requests of web pages and for other hosts go no further, whatever the service; those of AWS's clients pass."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest

from emulator.aws.errors import AwsError
from emulator.aws.protocols import Protocol
from emulator.errors import SetupError
from emulator.gateway.access.denials import Denial
from emulator.gateway.gateway import Gateway
from emulator.gateway.response_headers import NO_PAGE, protected
from emulator.gateway.web_guard import MOST_WARNINGS, WebGuard, host_name, is_loopback, origin, preflight

PAGE = "http://localhost:3000"
Headers = Iterable[tuple[str, str]]


def scope(*headers: tuple[str, str], method: str = "GET", target: str = "/", address: str = "127.0.0.1") -> Any:
    """A request as gunicorn hands it on, with a Host unless one is given."""
    path, _, query = target.partition("?")
    given = headers if any(name == "host" for name, _ in headers) else (("host", "127.0.0.1:8080"), *headers)
    return {
        "type": "http",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in given],
        "server": (address, 8080),
        "client": ("127.0.0.1", 50000),
    }


def admitted(guard: WebGuard, request: Any) -> bytes:
    return guard.admit(request["headers"], request["server"][0])


def refused(guard: WebGuard, request: Any) -> AwsError:
    with pytest.raises(Denial) as caught:
        admitted(guard, request)
    return caught.value.error(Protocol.REST_JSON)


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST:8080", "localhost.:8080", "127.0.0.1", "127.9.8.7:1", "[::1]:8080", "[::1]"),
        *("[::ffff:127.0.0.1]:8080", "bucket.localhost:8080", "my.bucket.localhost", "host.docker.internal:8080"),
        *("runtime.sagemaker.us-east-1.amazonaws.com", "runtime.sagemaker.cn-north-1.amazonaws.com.cn:80"),
        *("sagemaker-runtime-fips.us-east-1.amazonaws.com", "bucket.s3.us-east-1.amazonaws.com", "sts.amazonaws.com"),
        *("s3.us-east-1.api.aws", "123456789012.dkr.ecr.eu-west-1.amazonaws.com", "host.containers.internal"),
    ],
)
def test_names_of_this_machine_and_of_aws_are_served(host: str) -> None:
    assert admitted(WebGuard(), scope(("host", host))) == b""


@pytest.mark.parametrize(
    "host, status",
    [
        *((host, 403) for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "mylocalhost")),
        *((host, 403) for host in ("evil-amazonaws.com", "amazonaws.com.evil.org", "amazonaws.com", "0.0.0.0:8080")),
        *((host, 403) for host in ("192.168.1.5", "[2001:db8::1]:8080", "[::]", "2130706433", "127.1", "x")),
        *((host, 400) for host in ("", "localhost:8080@evil.example", "evil.example@localhost", "localhost:80:80")),
        *((host, 400) for host in ("localhost evil", "localhost/evil", "::1", "[::1", "localhost:x", "l\xf6calhost")),
    ],
)
def test_other_hosts_are_not_served(host: str, status: int) -> None:
    assert refused(WebGuard(), scope(("host", host))).status == status


def test_a_request_has_one_host() -> None:
    missing = scope()
    missing["headers"] = [(b"user-agent", b"any")]
    assert refused(WebGuard(), missing).status == 400
    twice = scope(("host", "localhost"), ("host", "localhost"))
    assert refused(WebGuard(), twice).status == 400


def test_the_address_of_the_connection_is_this_machines_own() -> None:
    own = scope(("host", "192.168.1.5:8080"), address="192.168.1.5")
    assert admitted(WebGuard(), own) == b""
    mapped = scope(("host", "192.168.1.5:8080"), address="::ffff:192.168.1.5")
    assert admitted(WebGuard(), mapped) == b""
    # Where it listens at all addresses, each is its own only for those that came by it.
    assert refused(WebGuard(), scope(("host", "192.168.1.5:8080"), address="10.0.0.7")).status == 403


def test_hosts_can_be_allowed() -> None:
    guard = WebGuard([host_name(text) for text in ("LocalMME", "*.example.test", "192.168.1.9", "[2001:db8::1]")])
    for host in ("localmme:8080", "a.b.example.test", "192.168.1.9", "[2001:DB8::1]:8080"):
        assert admitted(guard, scope(("host", host))) == b"", host
    for host in ("example.test", "notexample.test", "localmme.evil.example"):
        message = refused(guard, scope(("host", host))).message
        assert f"--allow-host {host}." in message


@pytest.mark.parametrize("text", ["", "http://a", "a:80", "a/b", "*", "a.*", "*.", "a b", "a@b"])
def test_what_is_no_host_is_told_at_the_start(text: str) -> None:
    with pytest.raises(SetupError, match="--allow-host takes"):
        host_name(text)


@pytest.mark.parametrize(
    "headers",
    [
        [("origin", "http://127.0.0.1:8080"), ("sec-fetch-site", "same-origin")],
        [("origin", "HTTP://127.0.0.1:8080")],
        [("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")],
        [("referer", "http://127.0.0.1:8080/_localmme/state"), ("sec-fetch-site", "same-origin")],
    ],
)
def test_the_emulators_own_pages_and_typed_addresses_are_served(headers: Headers) -> None:
    assert admitted(WebGuard(), scope(*headers)) == b""


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize(
    "headers",
    [
        [("sec-fetch-site", "cross-site")],
        [("sec-fetch-site", "same-site")],
        [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")],
        [("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
        [("sec-fetch-site", "anything new")],
        [("origin", "null")],
        [("origin", "http://evil.example")],
        [("origin", "http://127.0.0.1:8081")],
        [("origin", "https://127.0.0.1:8080")],
        [("origin", "http://localhost:8080")],
        [("origin", "http://127.0.0.1:8080"), ("origin", "null")],
        [("origin", "")],
        [("origin", "null"), ("sec-fetch-site", "same-origin")],
        [("referer", "http://evil.example/page")],
        [("referer", "no address")],
        [("referer", "http://[")],
        [("referer", "http://127.0.0.1:8080@evil.example/")],
    ],
)
def test_pages_of_others_are_refused(method: str, headers: Headers) -> None:
    refusal = refused(WebGuard(), scope(*headers, method=method))
    assert refusal.status == 403
    assert "--allow-origin" in refusal.message


def test_pages_can_be_allowed() -> None:
    guard = WebGuard(origins=[origin("HTTP://LocalHost:3000/"), origin("https://app.example:443")])
    assert admitted(guard, scope(("origin", PAGE), ("sec-fetch-site", "same-site"))) == PAGE.encode()
    assert admitted(guard, scope(("origin", "https://app.example"))) == b"https://app.example"
    # An image of such a page comes without an Origin.
    assert admitted(guard, scope(("referer", PAGE + "/"), ("sec-fetch-site", "same-site"))) == PAGE.encode()
    assert refused(guard, scope(("origin", "http://localhost:3001"))).status == 403
    assert refused(guard, scope(("origin", PAGE), ("origin", "null"))).status == 403
    assert refused(guard, scope(("origin", "null"), ("referer", PAGE))).status == 403


@pytest.mark.parametrize(
    "text", ["", "*", "null", "localhost:3000", "http://", "http://a/b", "http://a@b", "http://*.a"]
)
def test_what_is_no_origin_is_told_at_the_start(text: str) -> None:
    with pytest.raises(SetupError, match="--allow-origin takes"):
        origin(text)


def test_what_is_refused_is_told_in_the_log_once_and_not_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    guard = WebGuard()
    for _ in range(3):
        refused(guard, scope(("origin", "http://evil.example")))
    assert len(caplog.records) == 1
    assert "--allow-origin http://evil.example." in caplog.text
    for number in range(100):
        refused(guard, scope(("host", f"{number}.evil.example")))
    assert len(caplog.records) == MOST_WARNINGS


def test_nothing_that_a_caller_sends_reaches_a_terminal_as_it_is() -> None:
    for request in (scope(("origin", "\x1b[2J\x9b")), scope(("host", "\x1b[2J\n"))):
        assert refused(WebGuard(), request).message.isprintable()
    assert len(refused(WebGuard(), scope(("origin", "x" * 9000))).message) < 700


def test_loopback_is_what_only_this_machine_reaches() -> None:
    assert [is_loopback(text) for text in ("127.0.0.1", "::1", "0.0.0.0", "::", "10.0.0.1")] == [True, True] + [
        False
    ] * 3


# What dispatch does with it


class Application:
    """Answers everything with the headers that it is given, and counts."""

    def __init__(self, headers: list[tuple[bytes, bytes]]) -> None:
        self.headers, self.calls = headers, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.calls += 1
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        await send({"type": "http.response.body", "body": b"answer"})

    async def has_bucket(self, name: str) -> bool:
        return name == "bucket"


def answered(request: Any, guard: WebGuard, application: Application) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body of what every service's application would answer."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    dispatch = Gateway(application, application, application, application, application, application, guard)  # type: ignore[arg-type]
    asyncio.run(dispatch(request, receive, send))
    start, *parts = sent
    return start["status"], dict(start["headers"]), b"".join(part.get("body", b"") for part in parts)


SIGNED = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/{}/aws4_request"
TARGETS = {"sagemaker": "SageMaker.CreateModel", "ecr": "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"}


@pytest.mark.parametrize(
    "request_, code, kind",
    [
        (scope(method="POST", target="/endpoints/local/invocations"), b'"Message"', b"application/json"),
        (scope(("x-amz-target", TARGETS["sagemaker"]), method="POST"), b"AccessDeniedException", b"json"),
        (scope(("x-amz-target", TARGETS["ecr"]), method="POST"), b"AccessDeniedException", b"json"),
        (scope(("authorization", SIGNED.format("iam")), method="POST"), b"<Code>AccessDenied</Code>", b"text/xml"),
        (scope(target="/bucket/key"), b"<Code>AccessDenied</Code>", b"application/xml"),
        (scope(target="/_localmme/state"), b'"Message"', b"application/json"),
        (scope(("smithy-protocol", "rpc-v2-cbor"), method="POST", target="/service/Logs_20140328/operation/X"),
         b"AccessDeniedException", b"application/cbor"),
    ],
)  # fmt: skip
def test_each_service_refuses_in_its_own_form(request_: Any, code: bytes, kind: bytes) -> None:
    application = Application([])
    request_["headers"].append((b"origin", b"http://evil.example"))
    status, headers, body = answered(request_, WebGuard(), application)
    assert (status, application.calls) == (403, 0)
    assert code in body
    assert kind in headers[b"content-type"]
    assert b"--allow-origin http://evil.example" in body
    assert not [name for name in headers if name.startswith(b"access-control-")]


CORS = [(b"Access-Control-Allow-Origin", b"*"), (b"access-control-allow-headers", b"x-amz-target"), (b"X-Any", b"1")]


def test_what_an_application_says_about_other_pages_does_not_count() -> None:
    preflighted = scope(
        ("origin", "http://evil.example"),
        ("access-control-request-method", "POST"),
        method="OPTIONS",
        target="/?Action=X",
    )
    application = Application(CORS)
    status, headers, _ = answered(preflighted, WebGuard(), application)
    assert (status, application.calls) == (403, 0)
    _, headers, _ = answered(scope(), WebGuard(), application)
    assert [name for name in headers if b"ccess-" in name] == []
    assert headers[b"X-Any"] == b"1"


def test_an_allowed_page_is_answered_its_preflight_and_may_read_all_headers() -> None:
    guard, application = WebGuard(origins=[PAGE]), Application([*CORS, (b"x-amzn-RequestId", b"1")])
    asked = (
        ("origin", PAGE),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "authorization,x-amz-date"),
        ("access-control-request-private-network", "true"),
    )
    status, headers, _ = answered(scope(*asked, method="OPTIONS", target="/bucket/key"), guard, application)
    assert (status, application.calls) == (204, 0)
    assert headers[b"access-control-allow-origin"] == PAGE.encode()
    assert headers[b"access-control-allow-headers"] == b"authorization,x-amz-date"
    assert b"PUT" in headers[b"access-control-allow-methods"]
    assert headers[b"access-control-allow-private-network"] == b"true"
    assert headers[b"vary"] == b"Origin"
    status, headers, body = answered(scope(("origin", PAGE), target="/bucket/key"), guard, application)
    assert (status, body, application.calls) == (200, b"answer", 1)
    assert headers[b"access-control-allow-origin"] == PAGE.encode()
    assert b"x-amzn-requestid" in headers[b"access-control-expose-headers"].split(b", ")
    assert headers[b"cross-origin-resource-policy"] == b"cross-origin"
    assert preflight(scope(method="OPTIONS")) is None


def test_an_answer_is_no_page_of_the_emulators() -> None:
    for target in ("/bucket/key", "/_localmme/state", "/?Action=X"):
        _, headers, _ = answered(scope(target=target), WebGuard(), Application([]))
        assert headers.items() >= dict(NO_PAGE).items(), target
    own = Application([(b"Content-Security-Policy", b"default-src 'none'")])
    _, headers, _ = answered(scope(), WebGuard(), own)
    assert b"content-security-policy" not in headers


@pytest.mark.parametrize("control", [chr(code) for code in (*range(9), *range(10, 32), 127)])
def test_no_header_gets_out_of_its_line(control: str) -> None:
    evil = f"a{control}Set-Cookie: x{control}{control}<script>".encode()
    _, headers, _ = answered(scope(target="/bucket/key"), WebGuard(), Application([(b"x-any", evil), (evil, b"value")]))
    assert headers[b"x-any"] == b"a Set-Cookie: x  <script>"
    assert all(control.encode() not in part for header in headers.items() for part in header)
    assert not any(b"script" in name for name in headers)


def test_answers_of_invocations_are_safe_as_well() -> None:
    request = scope(method="POST", target="/endpoints/local/invocations")
    _, headers, _ = answered(request, WebGuard(), Application([(b"x-amzn-sagemaker-custom-attributes", b"a\r\nb: c")]))
    assert headers == {b"x-amzn-sagemaker-custom-attributes": b"a  b: c"}


def test_what_is_sent_beside_an_answer_passes() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    informational = {"type": "http.response.informational", "status": 100, "headers": []}
    asyncio.run(protected(send, NO_PAGE)(informational))  # type: ignore[arg-type]
    assert sent == [informational]


def test_the_refusals_words_are_json_on_the_emulators_own_pages() -> None:
    _, _, body = answered(scope(("host", "evil.example"), target="/_localmme/state"), WebGuard(), Application([]))
    assert "--allow-host evil.example" in json.loads(body)["Message"]
