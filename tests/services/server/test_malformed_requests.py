"""Bytes that are not HTTP, or hardly: each gets an answer, in the form of the service that they were for."""

from __future__ import annotations

import json
import random
import socket
import urllib.request
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest

from tests.support.control_plane import ControlPlane

SIGNED = (
    "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/us-east-1/{}/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=0123456789abcdef"
)
# What each service is known by, at the beginning of a request.
SERVICES = {
    "plain": ("/nothing", []),
    "s3": ("/bucket/key", [SIGNED.format("s3")]),
    "runtime": ("/endpoints/nope/invocations", [SIGNED.format("sagemaker"), "Content-Type: text/csv"]),
    "sagemaker": ("/", ["X-Amz-Target: SageMaker.ListModels", "Content-Type: application/x-amz-json-1.1"]),
    "sagemaker, without more": ("/", ["X-Amz-Target: SageMaker.ListModels", "Accept: */*"]),
    "logs": ("/", ["X-Amz-Target: Logs_20140328.DescribeLogGroups", SIGNED.format("logs")]),
    "sts": ("/", [SIGNED.format("sts"), "Content-Type: application/x-www-form-urlencoded"]),
}
# Lines that no head may have.
HEADERS: dict[str, str] = {
    "no colon": "X",
    "no name": ": x",
    "space before the colon": "X : x",
    "control character in a name": "X\x01: x",
    "quote in a name": 'X"y: x',
    "non-ASCII name": "Xä: x",
    "NUL in a value": "X: a\x00b",
    "escape in a value": "X: a\x1bb",
    "DEL in a value": "X: a\x7fb",
    "bare CR in a value": "X: a\rb",
    "length without digits": "Content-Length:",
    "length of letters": "Content-Length: five",
    "negative length": "Content-Length: -1",
    "length with a sign": "Content-Length: +5",
    "length in hexadecimal": "Content-Length: 0x5",
    "length of other digits": "Content-Length: ٣",
    "length with a fraction": "Content-Length: 5.0",
    "length over 64 bits": "Content-Length: 99999999999999999999",
    "length of 5,000 digits": "Content-Length: " + "9" * 5000,
    "two lengths in one": "Content-Length: 5, 6",
    "two lengths": "Content-Length: 5\r\nContent-Length: 6",
    "a length and chunks": "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "chunks and a length": "Transfer-Encoding: chunked\r\nContent-Length: 5",
    "an encoding that ends otherwise": "Transfer-Encoding: chunked, gzip",
    "another host": "Host: there",
    "too long": "X: " + "x" * 70_000,
    "too many": "\r\n".join(f"X-{number}: {'x' * 20}" for number in range(4000)),
}
# Bodies that do not come to their end, behind `Transfer-Encoding: chunked`.
BODIES: dict[str, bytes] = {
    "no size": b"\r\nx\r\n0\r\n\r\n",
    "size of letters": b"xyz\r\nabc\r\n0\r\n\r\n",
    "negative size": b"-1\r\nx\r\n0\r\n\r\n",
    "size with 0x": b"0x1\r\nx\r\n0\r\n\r\n",
    "size over 64 bits": b"fffffffffffffffff\r\nx\r\n0\r\n\r\n",
    "no end of the line behind a chunk": b"1\r\nxy\r\n0\r\n\r\n",
    "ends in a size": b"5",
    "ends in a chunk": b"5\r\nab",
    "ends behind a chunk": b"2\r\nab\r\n",
    "ends in a trailer": b"0\r\nX: y",
    "control character in a trailer": b"0\r\nX: \x00\r\n\r\n",
}
# What is for no service in particular.
OTHERS: dict[str, bytes] = {
    "TLS 1.3": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2,
    "TLS 1.0": b"\x16\x03\x00\x00\x30\x01\x00\x00\x2c\x03\x00" + bytes(40),
    "SSL 2": b"\x80\x2e\x01\x00\x02" + bytes(40),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: localhost\r\n\r\n",
    "HTTP/2.0 in a line": b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n",
    "HTTP/3.0 in a line": b"GET / HTTP/3.0\r\nHost: localhost\r\n\r\n",
    "HTTP/11": b"GET / HTTP/11\r\nHost: localhost\r\n\r\n",
    "HTTP/1.": b"GET / HTTP/1.\r\nHost: localhost\r\n\r\n",
    "version in small letters": b"GET / http/1.1\r\nHost: localhost\r\n\r\n",
    "another protocol": b"GET / FTP/1.1\r\nHost: localhost\r\n\r\n",
    "SIP": b"OPTIONS sip:you@here SIP/2.0\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "SMTP": b"EHLO here\r\n",
    "Redis": b"*1\r\n$4\r\nPING\r\n",
    "PROXY": b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "PROXY 2": b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12),
    "MQTT": b"\x10\x10\x00\x04MQTT\x04\x02\x00<\x00\x04test",
    "PostgreSQL": b"\x00\x00\x00\x08\x04\xd2\x16/",
    "MongoDB": b":\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xd4\x07\x00\x00" + bytes(42),
    "zeros": bytes(1000),
    "high bytes": b"\xff" * 1000,
    "text": b"Hello, is anybody there?\r\n\r\n",
    "JSON": b'{"instances": [1, 2]}\r\n',
    "a method in small letters": b"get / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no such method": b"FETCH / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no method": b" / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a method of 70,000 letters": b"G" * 70_000,
    "a method with a control character": b"GE\x01T / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no target": b"GET HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no slash": b"GET x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a URL of another host": b"GET http://there/nothing HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a URL with a user": b"GET http://localhost@there/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a URL of another port": b"GET http://localhost:1/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no path": b"GET http://localhost HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a target that is no URL": b"GET http://:x/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "CONNECT": b"CONNECT here:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a space in the path": b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a control character in the path": b"GET /a\x01b HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "NUL in the path": b"GET /a\x00b HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "UTF-8 in the path": b"GET /\xc3\xa4 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a path of 70,000 letters": b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "bare LF": b"GET / HTTP/1.1\nHost: localhost\n\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "a space before the first header": b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "ends in the method": b"GE",
    "ends in the path": b"GET /abc",
    "ends in the version": b"GET / HTTP/1",
    "ends in a header": b"GET / HTTP/1.1\r\nHost: he",
    "ends before the empty line": b"GET / HTTP/1.1\r\nHost: localhost\r\n",
}


# What can be read as HTTP all the same, and is no error of its form.
SERVED: dict[str, bytes] = {
    "RTSP": b"DESCRIBE rtsp://here/ RTSP/1.0\r\nCSeq: 1\r\n\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
    "empty lines before it": b"\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a URL": b"GET http://localhost/nothing HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "two slashes": b"GET //nothing//at//all HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a path out of the root": b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "half an escape": b"GET /%zz%e HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "escaped NUL": b"GET /a%00b?c%00=%00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "escapes that are not UTF-8": b"GET /%ff%fe?%ff=%fe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a value that is not ASCII": b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: \xff\r\n\r\n",
    "a WebSocket": b"GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n\x81\x05hello",
    "HTTP/2, if you please": b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    "an expectation of no kind": b"POST / HTTP/1.1\r\nHost: localhost\r\nExpect: miracles\r\nContent-Length: 0\r\n\r\n",
}


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Nothing that is sent to it brings more than an answer: it serves on, and has nothing to say of failures."""
    control_plane = ControlPlane(tmp_path_factory.mktemp("malformed"))
    yield control_plane
    with urllib.request.urlopen(f"{control_plane.emulator.url}/_localmme/health", timeout=60) as health:
        assert health.status == 200
    control_plane.emulator.stop()
    # Said of a Host that is not the emulator's, once for each.
    assert [line for line in control_plane.emulator.errors if not line.startswith("Refused a request: ")] == []


def talk(control_plane: ControlPlane, data: bytes) -> tuple[int, dict[str, str], bytes]:
    """The status, headers and body of the first answer."""
    host, port = control_plane.emulator.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as caller:
        caller.sendall(data)
        caller.shutdown(socket.SHUT_WR)
        answer = b""
        while got := caller.recv(65536):
            answer += got
    head, end, body = answer.partition(b"\r\n\r\n")
    assert end, answer
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(status.split()[1]), headers, body[: int(headers["content-length"])]


def head_of(service: str, *lines: str, method: str = "POST") -> bytes:
    path, known_by = SERVICES[service]
    head = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *known_by, *lines, "", ""])
    return head.encode()


def check_form(service: str, headers: dict[str, str], body: bytes) -> str:
    """The code of the error, after a look at whether the service's SDK would find it."""
    if service == "plain":
        assert headers["content-type"].startswith("text/plain")
        return ""
    if service == "s3":
        error = ElementTree.fromstring(body)
        assert (error.tag, headers["content-type"]) == ("Error", "application/xml")
        return error.findtext("Code") or ""
    if service == "sts":
        return ElementTree.fromstring(body).findtext("Error/Code") or ""
    told = json.loads(body)
    assert told.get("message") or told["Message"]
    if service == "runtime":
        return headers["x-amzn-errortype"]
    assert headers["x-amzn-errortype"] == told["__type"]
    return str(told["__type"])


@pytest.mark.parametrize("what", HEADERS)
@pytest.mark.parametrize("service", SERVICES)
def test_a_head_that_is_not_http_is_refused_by_its_service(
    control_plane: ControlPlane, service: str, what: str
) -> None:
    status, headers, body = talk(control_plane, head_of(service, HEADERS[what]) + b"hello")
    assert (status, headers["connection"]) == (400, "close")
    code = check_form(service.partition(",")[0], headers, body)
    assert code in ("", "RequestHeaderSectionTooLarge" if what.startswith("too ") else "BadRequest")


@pytest.mark.parametrize("what", BODIES)
@pytest.mark.parametrize("service", SERVICES)
def test_a_body_that_breaks_off_is_refused_by_its_service(control_plane: ControlPlane, service: str, what: str) -> None:
    method = "PUT" if service == "s3" else "POST"
    status, headers, body = talk(
        control_plane, head_of(service, "Transfer-Encoding: chunked", method=method) + BODIES[what]
    )
    assert status == 400
    code = check_form(service.partition(",")[0], headers, body)
    codes = {
        "s3": "IncompleteBody",
        "runtime": "ValidationError",
        "plain": "",
        "logs": "BadRequest",
        "sts": "BadRequest",
    }
    assert code == codes.get(service, "SerializationException")


@pytest.mark.parametrize("what", OTHERS)
def test_what_is_for_no_service_is_refused_in_plain_text(control_plane: ControlPlane, what: str) -> None:
    status, headers, body = talk(control_plane, OTHERS[what])
    assert (status, headers["connection"]) == (400, "close")
    check_form("plain", headers, body)
    assert body.endswith(b".\n")


@pytest.mark.parametrize("what", SERVED)
def test_what_is_hardly_http_is_served(control_plane: ControlPlane, what: str) -> None:
    assert talk(control_plane, SERVED[what])[0] in (400, 403, 404, 405, 501)


def test_requests_with_bytes_changed_are_answered(control_plane: ControlPlane) -> None:
    """What they become is anything from the same request to nonsense: but never a failure of the emulator."""
    random_ = random.Random(0)
    for _ in range(150):
        service = random_.choice(["plain", "s3", "runtime", "sagemaker"])
        data = bytearray(head_of(service, "Content-Length: 2") + b"{}")
        for _ in range(random_.randint(1, 4)):
            data[random_.randrange(len(data))] = random_.choice(b"\x00\t\r\n :;,/%?&=\x7f\xff0AZaz")
        assert talk(control_plane, bytes(data))[0] in (200, 400, 403, 404, 405, 501), data
