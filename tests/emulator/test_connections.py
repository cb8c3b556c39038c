"""A connection that its caller keeps takes one request after the other, whichever service answers."""

from __future__ import annotations

import http.client
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.control_plane import ControlPlane
from tests.support.emulator_process import Emulator


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    control_plane = ControlPlane(tmp_path_factory.mktemp("connections"))
    yield control_plane
    control_plane.emulator.stop()


@pytest.mark.parametrize(
    "method, path, status, target",
    [
        ("GET", "/_localmme/health", 200, ""),
        ("GET", "/_localmme/state", 200, ""),
        ("GET", "/nothing", 404, ""),
        ("POST", "/", 200, "SageMaker.ListModels"),
        ("POST", "/endpoints/nope/invocations", 400, ""),
    ],
)
def test_one_request_follows_the_other(
    control_plane: ControlPlane, method: str, path: str, status: int, target: str
) -> None:
    connection = http.client.HTTPConnection(control_plane.emulator.url.removeprefix("http://"), timeout=60)
    body = b"{}" if method == "POST" else None
    for _ in range(200):
        connection.request(method, path, body, {"X-Amz-Target": target} if target else {})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
    connection.close()


@pytest.fixture
def ending(tmp_path: Path) -> Iterator[ControlPlane]:
    """One that the test ends."""
    control_plane = ControlPlane(tmp_path, Emulator)
    yield control_plane
    control_plane.emulator.stop()


def test_requests_under_way_when_the_emulator_ends_are_told_so(ending: ControlPlane) -> None:
    """Also of a client that has only begun to send. Nothing of it is a failure of the emulator."""
    host, port = ending.emulator.url.removeprefix("http://").split(":")
    head = b"PUT /bucket/key-%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n"
    uploads = [socket.create_connection((host, int(port)), timeout=60) for _ in range(20)]
    idle = socket.create_connection((host, int(port)), timeout=60)
    asked = socket.create_connection((host, int(port)), timeout=60)
    target = b"X-Amz-Target: SageMaker.ListModels\r\nContent-Length: 2\r\n\r\n{"
    asked.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\n" + target)
    for number, upload in enumerate(uploads):
        upload.sendall(head % number + bytes(1_500_000))
    assert isinstance(ending.emulator, Emulator)
    ending.emulator.signal(signal.SIGTERM)
    for upload in uploads:
        answer = b"".join(iter(lambda: upload.recv(65536), b""))  # noqa: B023
        assert answer.startswith(b"HTTP/1.1 503 "), answer
        assert b"<Code>ServiceUnavailable</Code>" in answer
    assert idle.recv(1) == b""
    answer = b"".join(iter(lambda: asked.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"__type": "ServiceUnavailable"' in answer
    for connection in (*uploads, idle, asked):
        connection.close()
    assert ending.emulator.wait() == 0
    assert ending.emulator.errors == []
    assert [path.name for path in (ending.s3 / "bucket").iterdir()] == ["models"]
