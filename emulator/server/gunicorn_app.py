"""gunicorn as the emulator uses it: one master that holds the port, one worker that holds the state."""

from __future__ import annotations

import functools
import gc
import logging
import math
import os
import signal
import sys
import time
from typing import NoReturn

from gunicorn import sock
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from emulator import relied_on
from emulator.limits import Limits
from emulator.open_files import FEW, raise_limit
from emulator.printable import printable_lines
from emulator.server.application import Application
from emulator.server.settings import ServerSettings
from emulator.server.worker import ENDING_SIGNALS, Worker
from emulator.services.sagemaker.start_requests import StartRequests

AFTER_CTRL_C_SECONDS = 2.0  # for a worker that was ending by SIGTERM when Ctrl-C came; as in gunicorn

log = logging.getLogger("localmme")
relied_on.check(__name__)


class Master(Arbiter):  # type: ignore[misc]
    """gunicorn's master, for one worker that holds all state.

    Its signals are not lost on a worker that cannot take them yet, and none of them makes it start
    a second worker. A terminal that closes (SIGHUP) ends the emulator, unless it was started with nohup.
    """

    def __init__(self, app: BaseApplication) -> None:
        Worker.life_of_master = os.pipe()
        # gunicorn puts SERVER_SOFTWARE there. With --inherit-env, containers get the environment that `serve` was
        # started with: AWS's XGBoost container, for one, takes itself for gunicorn's worker by it, and ends.
        before = dict(os.environ)
        super().__init__(app)
        os.environ.clear()
        os.environ.update(before)

    def init_signals(self) -> None:
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        super().init_signals()
        if ignored:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def handle_hup(self) -> None:
        self.handle_term()

    def _ignore(self) -> None:
        """Ignores the signals by which gunicorn reloads, upgrades or scales."""

    handle_ttin = handle_ttou = handle_usr2 = handle_winch = _ignore

    def spawn_worker(self) -> int:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
        try:
            pid: int = super().spawn_worker()  # in the worker, they stay blocked until it can take them
            return pid
        except SystemExit as ended:  # the worker's. What its master is in the middle of is not for it to end.
            _leave(ended.code)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def stop(self, graceful: bool = True) -> None:
        """End the worker, and be woken by its end; gunicorn would look for it ten times a second, and once more."""
        sock.close_sockets(self.LISTENERS, unlink=False)
        self.LISTENERS: list[sock.BaseSocket] = []
        self.kill_workers(signal.SIGTERM if graceful else signal.SIGQUIT)
        limit = time.monotonic() + self.cfg.graceful_timeout
        while self.WORKERS and (left := limit - time.monotonic()) > 0:
            arrived = set(self.wait_for_signals(timeout=left))
            if graceful and arrived & {signal.SIGINT, signal.SIGQUIT}:
                graceful = False
                self.kill_workers(signal.SIGQUIT)
                limit = min(limit, time.monotonic() + AFTER_CTRL_C_SECONDS)
            self.reap_workers()
        self.kill_workers(signal.SIGKILL)
        self.reap_workers()


def _leave(code: object) -> NoReturn:
    """End this process at once: Python would first take apart all that was imported, for a quarter of a second."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code if isinstance(code, int) else 0)


class LinesOfOneMessage(logging.Formatter):
    """A message and its traceback, in which nothing of what others wrote looks like a line of its own."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn, configured for one worker that is never restarted for being busy."""

    def __init__(self, settings: ServerSettings, requests: StartRequests, limits: Limits) -> None:
        self._make_application = functools.partial(Application, settings, requests, limits)
        self._options = {
            "bind": f"fd://{settings.listener.detach()}",  # gunicorn closes it
            "worker_class": Worker,
            "workers": 1,
            "timeout": 0,
            "graceful_timeout": ends_within_seconds(limits),
            "control_socket_disable": True,
            "loglevel": "critical",  # the emulator says itself what there is to say
            "proc_name": "localmme",
        }
        super().__init__()

    def load_config(self) -> None:
        for key, value in self._options.items():
            self.cfg.set(key, value)

    def load(self) -> Application:
        return self._make_application()

    def run(self) -> None:
        Master(self).run()


def ends_within_seconds(limits: Limits) -> int:
    """How long the emulator may take from SIGTERM to its end; then its master kills its worker."""
    return math.ceil(limits.drain_seconds + limits.stop_seconds + 10)


def serve(settings: ServerSettings, requests: StartRequests, limits: Limits) -> None:
    """Serve until a signal ends it; leaves by SystemExit, non-zero when an endpoint could not be created."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LinesOfOneMessage("%(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    allowed = raise_limit()
    if allowed < FEW:
        log.warning(
            "Only %d files and connections may be open at once here (ulimit -n): calls may fail. Allow %d.",
            allowed,
            FEW,
        )
    gc.freeze()  # what is imported stays to the end: the collector need not look through it, then least of all
    Server(settings, requests, limits).run()
