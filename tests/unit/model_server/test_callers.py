"""The embedded server's own port is for programs of this machine; its answers are one message each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from emulator.model_server.http.connection import Connection, Request
from emulator.model_server.http.response import Response
from emulator.model_server.http.server import Action, Server

OWN = [("Host", "127.0.0.1:10000")]


class Recording(Server):
    """Has one action, and counts how often it was taken."""

    calls = 0

    async def stop(self) -> None: ...

    def _actions(self, path: list[str]) -> dict[str, Action]:
        async def load(_: Request) -> Response:
            self.calls += 1
            return Response.json({"status": "loaded"})

        return dict.fromkeys(("GET", "POST", "DELETE", "OPTIONS"), load)


def status(headers: list[tuple[str, str]], method: str = "POST", path: str = "/models") -> tuple[int, int]:
    """Of the answer; and how often something was done."""
    server = Recording()
    request = Request(method, path, "", headers, b"{}", keep_alive=True, chunked=True)
    return asyncio.run(server.respond(request)).status, server.calls


@pytest.mark.parametrize("host", ["127.0.0.1:10000", "127.0.0.1", "LocalHost:10000", "[::1]:10000"])
def test_programs_of_this_machine_are_served(host: str) -> None:
    assert status([("host", host), ("Content-Type", "text/plain")]) == (200, 1)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "headers",
    [
        [*OWN, ("Origin", "http://evil.example")],
        [*OWN, ("ORIGIN", "null")],
        [*OWN, ("Origin", "http://127.0.0.1:10000")],
        [*OWN, ("Sec-Fetch-Site", "cross-site")],
        [*OWN, ("Sec-Fetch-Site", "same-site")],
        [*OWN, ("sec-fetch-site", "same-origin")],
        [*OWN, ("Referer", "http://evil.example/")],
        [("Host", "evil.example:10000")],
        [("Host", "127.0.0.1.evil.example")],
        [("Host", "127.0.0.1@evil.example")],
        [*OWN, ("Host", "127.0.0.1")],
        [],
    ],
)
def test_web_pages_and_other_hosts_are_not(method: str, headers: list[tuple[str, str]]) -> None:
    assert status(headers, method) == (403, 0)


def test_nor_is_a_target_with_a_host_of_its_own() -> None:
    assert status(OWN, path="http://evil.example/models") == (403, 0)


def test_a_handlers_header_stays_in_its_line() -> None:
    evil = "a\r\nSet-Cookie: b\r\n\r\nHTTP/1.1 200 OK\x00"
    answer = Response(200, evil, [("X-Any", evil), (evil, "value")], b"body")

    async def respond(_: Request) -> Response:
        return answer

    head, _, body = sent(respond).partition(b"\r\n\r\n")
    assert body == b"body"
    assert [line.partition(b":")[0] for line in head.split(b"\r\n")[1:]] == [
        b"X-Any",
        b"a  Set-Cookie",
        b"Content-Length",
    ]


def sent(respond: Callable[[Request], Awaitable[Response]]) -> bytes:
    """What a connection sends in answer to one request."""

    class Transport:
        data = b""

        def write(self, data: bytes) -> None:
            self.data += data

        def is_closing(self) -> bool:
            return False

    async def scenario() -> bytes:
        connection, transport = Connection(respond, 100), Transport()
        connection.connection_made(transport)
        connection.data_received(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while not transport.data:
            await asyncio.sleep(0)
        return transport.data

    return asyncio.run(scenario())


def test_a_connection_that_is_accepted_when_the_server_ends_is_closed_once_it_is_made() -> None:
    """As asyncio does it, the connection is there some steps of the loop before its transport is."""
    closed: list[bool] = []

    class Transport:
        def close(self) -> None:
            closed.append(True)

    async def scenario() -> None:
        connection = Connection(lambda _: asyncio.sleep(3600), 100)  # type: ignore[arg-type, return-value]
        connection.finish()
        connection.connection_made(Transport())

    asyncio.run(scenario())
    assert closed == [True]
