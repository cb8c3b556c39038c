"""Answers connections when too many files and connections are open: a caller that is not accepted cannot learn why."""

from __future__ import annotations

import logging
from collections.abc import Callable

from uvicorn.config import Config
from uvicorn.server import ServerState

from emulator.aws.asgi import HeadersByName, Receive, Scope, Send
from emulator.aws.errors import AwsError, too_many_open_files
from emulator.open_files import is_nearly_exhausted, too_many
from emulator.server.connection import Application, Connection, configured

log = logging.getLogger("localmme")


class Full:
    """The ASGI application for these connections: each request is refused, in the form of its service."""

    def __init__(self, application: Application) -> None:
        """``application`` is the one that serves the others."""
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.refuse(scope, send, too_many_open_files())

    def plain_invocation(self, target: bytes, headers: HeadersByName, body: bytes, address: str) -> None:
        return None

    async def refuse(self, scope: Scope, send: Send, refusal: AwsError) -> None:
        await self._application.refuse(scope, send, refusal)


def connection_factory(
    application: Application, state: ServerState, keep_alive_seconds: float
) -> Callable[[], Connection]:
    """Makes the connection of each caller that is accepted."""
    serving = configured(application, keep_alive_seconds)
    refusing: Config | None = None

    def connection() -> Connection:
        nonlocal refusing
        if not is_nearly_exhausted():
            return Connection(serving, state)
        if refusing is None:
            log.warning("%s. Until there are fewer, new connections are refused.", too_many())
            refusing = configured(Full(application), keep_alive_seconds)
        return Connection(refusing, state)

    return connection
