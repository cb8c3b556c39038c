"""WSGI applications behind ASGI: a body that is too long is refused in the form of the request's service."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from xml.etree import ElementTree

import pytest

from emulator.aws import wsgi
from emulator.aws.wsgi import in_threads, whole_body
from emulator.services.moto_services.app import MotoServicesApp
from tests.support.asgi_client import Response, call_service, http_scope, respond

LIMIT = 10


@pytest.fixture(autouse=True)
def limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wsgi, "MOST_BODY_BYTES", LIMIT)


def never(*_: Any) -> Any:
    raise AssertionError("the application is not called")


def test_a_page_refuses_a_body_that_is_too_long_in_json() -> None:
    async def scenario() -> Response:
        return await respond(in_threads(never), http_scope("POST", "/_localmme/health"), [b"x" * LIMIT, b"x"])

    refusal = asyncio.run(scenario())
    assert refusal.status == 413
    assert refusal.json() == {"Message": "The request body of 11 bytes is over the limit of 10 bytes."}


@pytest.mark.parametrize(
    "headers, code",
    [
        ({}, lambda body: ElementTree.fromstring(body).findtext("Error/Code")),
        ({"x-amz-target": "Logs_20140328.PutLogEvents"}, lambda body: json.loads(body)["__type"]),
    ],
    ids=["query", "json"],
)
def test_a_service_refuses_it_in_its_own_protocol(headers: dict[str, str], code: Any) -> None:
    unused: Any = None
    services = MotoServicesApp(unused, unused, unused, "us-east-1", unused)
    refusal = asyncio.run(call_service(services, "monitoring", "POST", "/", headers, b"x" * (LIMIT + 1)))
    assert (refusal.status, code(refusal.body)) == (413, "RequestEntityTooLarge")


def test_a_body_of_just_that_length_is_read() -> None:
    read = []

    async def application(request: Any, receive: Any, send: Any) -> None:
        read.append(await whole_body(request, receive, send))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    asyncio.run(call_service(application, "monitoring", "POST", "/", body=b"x" * LIMIT))
    assert read == [b"x" * LIMIT]
