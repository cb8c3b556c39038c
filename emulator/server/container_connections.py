"""The listeners of containers, beside that of ``--host``, and who is let in there."""

from __future__ import annotations

import asyncio
import socket
import urllib.parse
from collections.abc import Callable

from emulator.containers.docker.aws_network import ADDRESS, is_container
from emulator.gateway.web_guard import is_loopback


def url_for_processes(url: str, listen: Callable[[socket.socket], None]) -> str:
    """The emulator's URL for containers that are processes: ``url``, unless ``--host`` is an address of a network.

    SDKs take credentials without TLS from a loopback address only, so then there is a listener at one.
    """
    if is_loopback(urllib.parse.urlsplit(url).hostname or ""):
        return url
    listener = socket.create_server(("127.0.0.1", 0))
    listen(listener)
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


class OfContainer(asyncio.Protocol):
    """A connection until it is known where it comes from."""

    def __init__(self, connection: Callable[[], asyncio.Protocol]) -> None:
        """``connection`` makes what takes its place."""
        self._connection = connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        own, peer = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        if not own or not peer or (own[0] == ADDRESS and not is_container(peer[0])):
            transport.abort()
            return
        connection = self._connection()
        transport.set_protocol(connection)
        connection.connection_made(transport)
