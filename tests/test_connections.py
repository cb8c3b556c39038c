"""A connection that its caller keeps takes one request after the other, whichever service answers."""

from __future__ import annotations

import http.client
from collections.abc import Iterator

import pytest

from tests.control_plane import ControlPlane


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    plane = ControlPlane(tmp_path_factory.mktemp("connections"))
    yield plane
    plane.emulator.stop()


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
def test_one_request_follows_the_other(plane: ControlPlane, method: str, path: str, status: int, target: str) -> None:
    connection = http.client.HTTPConnection(plane.emulator.url.removeprefix("http://"), timeout=10)
    body = b"{}" if method == "POST" else None
    for _ in range(200):
        connection.request(method, path, body, {"X-Amz-Target": target} if target else {})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
    connection.close()
