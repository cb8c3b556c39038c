"""A caller who comes when too many connections are open learns why, in the form of the service that it calls."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from emulator.server import full
from tests.support.emulator_in_process import InProcessEmulator

JSON = {"X-Amz-Target": "SageMaker.ListModels", "Content-Type": "application/x-amz-json-1.1"}

S3 = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
}


def answered(url: str, method: str, path: str, headers: dict[str, str]) -> tuple[int, bytes, str | None]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    connection.request(method, path, b"{}", headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body, response.getheader("connection")


def test_a_caller_who_comes_when_too_many_are_there_is_told(
    start: Callable[..., InProcessEmulator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator = start("--no-endpoint", "--s3", str(tmp_path)).wait_ready()
    served = http.client.HTTPConnection(emulator.url.removeprefix("http://"), timeout=60)
    served.request("POST", "/", b"{}", JSON)
    assert served.getresponse().read() == b'{"Models": []}'
    monkeypatch.setattr(full, "is_nearly_exhausted", lambda: True)
    for path, headers in (("/", JSON), ("/endpoints/e/invocations", {})):
        status, body, then = answered(emulator.url, "POST", path, headers)
        assert (status, then) == (503, "close")
        message = json.loads(body)
        assert "ulimit -n is" in message.get("message", message.get("Message")), body
    status, body, _ = answered(emulator.url, "GET", "/bucket/key", S3)
    assert status == 503 and body.startswith(b"<?xml") and b"<Code>ServiceUnavailable</Code>" in body, body
    served.request("POST", "/", b"{}", JSON)  # who was there before
    assert served.getresponse().read() == b'{"Models": []}'
    served.close()
    monkeypatch.setattr(full, "is_nearly_exhausted", lambda: False)
    assert answered(emulator.url, "POST", "/", JSON)[0] == 200
    assert [line for line in emulator.errors if "ulimit -n is" in line and "new connections are refused" in line]
