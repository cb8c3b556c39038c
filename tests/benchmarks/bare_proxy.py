"""What the emulator is measured against: a proxy on uvloop and httptools with a pool of connections, and nothing else.

    python -m tests.benchmarks.bare_proxy HOST:PORT|unix:SOCKET PATH

passes every request's body on to that path. It prints its own port.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from typing import Any, ClassVar

import httptools
import uvloop


class Upstream(asyncio.Protocol):
    """A connection to the container. An answer goes on as it came, once all of it is there."""

    def __init__(self) -> None:
        self.caller: Caller
        self._parser = httptools.HttpResponseParser(self)
        self._received = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        answer, self._received = self._received, b""
        self._parser = httptools.HttpResponseParser(self)
        self.caller.answered(self, answer)


class Caller(asyncio.Protocol):
    """A connection of a caller, who sends one request after the other."""

    idle: ClassVar[deque[Upstream]] = deque()
    address, path = "", ""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        head = f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n"
        request = f"{head}Content-Length: {len(self._body)}\r\n\r\n".encode() + self._body
        self._body = b""
        if self.idle:
            self._send(self.idle.pop(), request)
        else:
            self._task = asyncio.ensure_future(self._connect(request))

    async def _connect(self, request: bytes) -> None:
        loop = asyncio.get_running_loop()
        host, _, port = self.address.partition(":")
        if host == "unix":
            _, upstream = await loop.create_unix_connection(Upstream, port)
        else:
            _, upstream = await loop.create_connection(Upstream, host, int(port))
        self._send(upstream, request)

    def _send(self, upstream: Upstream, request: bytes) -> None:
        upstream.caller = self
        upstream.transport.write(request)

    def answered(self, upstream: Upstream, answer: bytes) -> None:
        self.idle.append(upstream)
        if not self.transport.is_closing():
            self.transport.write(answer)


async def serve(address: str, path: str) -> None:
    Caller.address, Caller.path = address, path
    server = await asyncio.get_running_loop().create_server(Caller, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(serve(*sys.argv[1:]))
