"""gunicorn's worker of the emulator: one event loop, its start and its end, and the connections of its callers."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, ClassVar

import uvloop
from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker as BaseWorker
from uvicorn.server import ServerState

from emulator import relied_on
from emulator.errors import SetupError
from emulator.hosting.tasks import cancel
from emulator.printable import printable_lines
from emulator.server.connection import LINGER_SECONDS
from emulator.server.container_connections import OfContainer
from emulator.server.full import connection_factory

if TYPE_CHECKING:
    from emulator.gateway.gateway import Gateway
    from emulator.server.application import Application

STDIN = 0
# One Ctrl-C arrives twice: from the terminal and from gunicorn's master. One that comes later is a second one.
SAME_CTRL_C_SECONDS = 1.0
# How long a caller may keep an unused connection: longer than SDKs do, so that it is theirs to close.
KEEPALIVE_SECONDS = 75
# How long answers may take to leave when everything else has ended. A connection that lingers is given its time: closed
# before, it would be reset, and its answer lost.
LAST_ANSWERS_SECONDS = LINGER_SECONDS + 1.0
ENDING_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP}
relied_on.check(__name__)


class Worker(BaseWorker):  # type: ignore[misc]
    """gunicorn's worker: one event loop with the application, and the connections of its callers.

    gunicorn has one for ASGI applications. It answers nothing that it cannot read, and on Ctrl-C would not tell the
    application at all.
    """

    wsgi: Application  # what the base class calls what it has loaded
    loop: asyncio.AbstractEventLoop
    life_of_master: ClassVar[tuple[int, int]]  # a pipe, into which nobody but the master can write: it ends with it

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ending: asyncio.Task[None] | None = None
        self._impatient_from = 0.0
        self._over: asyncio.Event
        self._starting: asyncio.Task[None]

    def init_process(self) -> None:
        os.close(self.life_of_master[1])
        self.loop = uvloop.new_event_loop()
        asyncio.set_event_loop(self.loop)
        super().init_process()  # which also runs it

    def init_signals(self) -> None:
        hang_up_is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        for number in ENDING_SIGNALS:
            self.loop.add_signal_handler(number, self._end_by_signal)
        if hang_up_is_ignored:
            self.loop.remove_signal_handler(signal.SIGHUP)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # gunicorn: open the files of log anew

    def run(self) -> None:
        try:
            self.loop.run_until_complete(self._serve())
        finally:
            self._cancel_what_is_left()
            self.loop.close()
        failure = self.wsgi.failure
        if failure is not None:
            print(f"Error: {printable_lines(str(failure))}", file=sys.stderr, flush=True)
            sys.exit(Arbiter.WORKER_BOOT_ERROR)  # by which the master knows that no other would start either

    async def _serve(self) -> None:
        # Now that the loop runs, and not before: until then, uvloop would drop them.
        self._over = asyncio.Event()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING_SIGNALS)
        startup_failed = asyncio.Event()
        self.loop.add_reader(self.life_of_master[0], self._master_has_gone)
        self._starting = asyncio.create_task(self.wsgi.start(startup_failed, again=self.age > 1))
        over = asyncio.create_task(self._over.wait())
        await asyncio.wait([self._starting, over], return_when=asyncio.FIRST_COMPLETED)
        if self._starting.cancelled() or not self._starting.done():  # a signal came meanwhile, or two
            return
        if (error := self._starting.exception()) is not None:
            if not isinstance(error, SetupError):
                error = SetupError(f"The emulator cannot start: {error}.")
            self.wsgi.failure = error
            return
        if self.wsgi.until_eof:
            self.loop.add_reader(STDIN, self._read_stdin)
        watch = asyncio.create_task(self._end_after(startup_failed.wait()))
        sockets = [wrapped.sock for wrapped in self.sockets]
        async with listening(self.wsgi.gateway, sockets, self.wsgi.container_listeners):
            await over
        watch.cancel()

    def _end_by_signal(self) -> None:
        if self._ending is None:
            self._begin_to_end()
        elif self.loop.time() > self._impatient_from:
            self.wsgi.abandon()
            self._over.set()

    def _begin_to_end(self) -> None:
        if self._ending is None:
            self._ending = self.loop.create_task(self._end())
            self._impatient_from = self.loop.time() + SAME_CTRL_C_SECONDS

    async def _end_after(self, happening: Any) -> None:
        await happening
        self._begin_to_end()

    def _master_has_gone(self) -> None:
        """The master was killed. This process kills itself, as all is prepared for that: a new start need not wait."""
        try:
            self.wsgi.abandon()
        finally:
            os._exit(1)

    def _read_stdin(self) -> None:
        if not os.read(STDIN, 4096):
            self.loop.remove_reader(STDIN)
            os.kill(self.ppid, signal.SIGTERM)  # the master, which then ends this worker

    async def _end(self) -> None:
        try:
            await cancel([self._starting])  # which ends what it has started
            await self.wsgi.stop()
        finally:
            self._over.set()

    def _cancel_what_is_left(self) -> None:
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        if left:
            self.loop.run_until_complete(asyncio.wait(left, timeout=1.0))


@contextlib.asynccontextmanager
async def listening(
    gateway: Gateway, sockets: list[socket.socket], of_containers: asyncio.Queue[socket.socket]
) -> AsyncIterator[None]:
    """Take connections, those of containers at the listeners that come. At the end, requests that are still under way
    get an answer that says so."""
    state, loop = ServerState(), asyncio.get_running_loop()
    connection = connection_factory(gateway, state, KEEPALIVE_SECONDS)
    servers = [await loop.create_server(connection, sock=sock) for sock in sockets]
    clock = asyncio.create_task(_keep_date_header(state))

    async def serve_containers() -> None:
        while True:
            listener = await of_containers.get()
            servers.append(await loop.create_server(lambda: OfContainer(connection), sock=listener))

    more = asyncio.create_task(serve_containers())
    try:
        yield
    finally:
        clock.cancel()
        more.cancel()
        for server in servers:
            server.close()
        for task in state.tasks:
            task.cancel()
        for each in list(state.connections):
            each.shutdown()
        ends = loop.time() + LAST_ANSWERS_SECONDS
        while (state.tasks or state.connections) and loop.time() < ends:
            await asyncio.sleep(0.01)


async def _keep_date_header(state: ServerState) -> None:
    while True:
        date = email.utils.formatdate(usegmt=True).encode()
        state.default_headers = [(b"server", b"localmme"), (b"date", date)]
        await asyncio.sleep(1 - time.time() % 1)
