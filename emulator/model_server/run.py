"""Runs the server: it listens, serves, and on SIGTERM or SIGINT finishes the invocations under way and ends."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any

import uvloop

from emulator.model_server.http.connection import Connection
from emulator.model_server.http.multi_model import MultiModelServer
from emulator.model_server.http.response import RequestError
from emulator.model_server.http.server import Server
from emulator.model_server.http.single_model import SingleModelServer
from emulator.model_server.workers.environments import Environments
from emulator.model_server.workers.models import Models
from emulator.model_server.workers.spawner import Spawner

_log = logging.getLogger(__name__)
_MAX_BODY = 100 << 20  # bytes; far above what a SageMaker endpoint accepts


def serve(
    spawner: Spawner,
    port: int,
    socket_path: str | None,
    model_dir: str | None,
    handler: str | None,
    workers_per_model: int,
    grace_seconds: float,
    invocation_seconds: float,
    preload: Sequence[str] | None,
    reload: bool,
    python: str | None,
    install_requirements: bool,
) -> int:
    """Serve the model in ``model_dir``, or, if that is None, many models, until SIGTERM or SIGINT.

    ``preload``: modules that are imported once for all workers of many models; None = what their handlers import.
    ``reload``: a handler that changes is imported anew, for many models.
    ``python``: the Python in which the workers run; None = this one.
    ``install_requirements``: the workers of a model with a requirements.txt run in an environment made of that.

    Returns 0; or 1 when the port is taken, the handler cannot be used, the spawner died, or the only model could not be
    loaded or has died.
    """
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.INFO)
    environments = Environments(python or sys.executable) if install_requirements else None
    settings = handler, workers_per_model, grace_seconds, invocation_seconds, environments
    server: Server
    if model_dir is None:
        server = MultiModelServer(Models(spawner, *settings, preload, reload))
    else:
        server = SingleModelServer(spawner, model_dir, *settings)
    python = python or f"Python {platform.python_version()}, {sys.executable}"
    return uvloop.run(_serve(spawner, port, socket_path, server, grace_seconds, python, environments))


def _bind(path: str) -> socket.socket:
    """A Unix socket to which only this user can connect. Raises OSError."""
    directory, name = os.path.split(path)
    # The path may be of any length, but sockets take only about 100 bytes.
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    listener = socket.socket(socket.AF_UNIX)
    try:
        short = path if len(os.fsencode(path)) <= 100 else f"/proc/self/fd/{descriptor}/{name}"
        listener.bind(short)
        os.chmod(path, 0o600)
    except OSError:
        listener.close()
        raise
    finally:
        os.close(descriptor)
    return listener


async def _serve(
    spawner: Spawner,
    port: int,
    socket_path: str | None,
    server: Server,
    grace_seconds: float,
    python: str,
    environments: Environments | None,
) -> int:
    loop = asyncio.get_running_loop()
    end: asyncio.Future[int] = loop.create_future()

    def finish(code: int) -> None:
        if not end.done():
            end.set_result(code)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, finish, 0)
    spawner.attach(loop, on_lost=lambda: finish(1))

    connections: set[Connection] = set()

    def connect() -> Connection:
        connection = Connection(server.respond, _MAX_BODY)
        connections.add(connection)
        connection.closed.add_done_callback(lambda _: connections.discard(connection))
        return connection

    preparing = asyncio.ensure_future(server.prepare())
    either: list[asyncio.Future[Any]] = [preparing, end]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if not preparing.done() or preparing.exception():
        preparing.cancel()
        failure = (await asyncio.gather(preparing, return_exceptions=True))[0]
        if isinstance(failure, RequestError):
            _log.error("The handler cannot be used: %s", failure)
        spawner.close()
        return 1 if isinstance(failure, Exception) else 0
    where = socket_path or f"127.0.0.1:{port}"
    try:
        if socket_path:
            listener: asyncio.Server = await loop.create_unix_server(connect, sock=_bind(socket_path), backlog=1024)
        else:
            listener = await loop.create_server(connect, "127.0.0.1", port, backlog=1024)
    except OSError as error:
        _log.error("Cannot listen on %s: %s", where, error.strerror)
        spawner.close()
        return 1
    _log.info("Listening on %s. Handlers run in %s", where, python)
    server.start(failed=lambda: finish(1))

    code = await end
    listener.close()
    if spawner.lost:
        _log.error("The process that starts the workers is gone; nothing can be loaded any more")
        return code
    for connection in list(connections):
        connection.finish()
    if environments is not None:
        await environments.stop_installing()
    await server.stop()
    if connections:
        await asyncio.wait([connection.closed for connection in connections], timeout=grace_seconds)
    if environments is not None:
        environments.close()
    spawner.close()
    return code
