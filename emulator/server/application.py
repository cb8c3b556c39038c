"""The gunicorn application and its life cycle: one master that holds the port, one worker that holds the state."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import shutil
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from emulator.aws.asgi import Receive, Scope, Send
from emulator.clock import Clock
from emulator.containers.docker.engine import Engine
from emulator.errors import SetupError
from emulator.events import Events, Ready
from emulator.gateway.gateway import Gateway
from emulator.gateway.web_guard import WebGuard
from emulator.hosting.definition import EndpointDefinition
from emulator.hosting.endpoint import TRIES_AGAIN, Endpoint
from emulator.hosting.endpoints import Endpoints
from emulator.hosting.tasks import together
from emulator.hosting.workspace import Workspace
from emulator.limits import Limits
from emulator.observers.cloudwatch_metrics import CloudWatchMetrics
from emulator.observers.recent_log_lines import RecentLogLines
from emulator.observers.terminal import TerminalLog
from emulator.open_files import FEW, raise_limit
from emulator.printable import printable_lines
from emulator.server.worker import ENDING_SIGNALS, Worker
from emulator.services.moto_services.app import MotoServicesApp
from emulator.services.runtime.app import RuntimeApp
from emulator.services.sagemaker.records import EndpointRecord
from emulator.services.sagemaker.registry import Registry
from emulator.state import EmulatorState
from emulator.state_directory import StateDirectory

if TYPE_CHECKING:
    from emulator.aws.protocols import Refusal
    from emulator.gateway.access.access_control import AccessControl, User
    from emulator.services.s3.app import S3App
    from emulator.services.sagemaker.app import SageMakerApp
    from emulator.services.sagemaker.control_plane import ControlPlane

log = logging.getLogger("localmme")


@dataclass(frozen=True)
class ServerSettings:
    """Where the emulator listens, and where it keeps its files."""

    listener: socket.socket
    url: str
    state_directory: StateDirectory
    s3_root: Path | None = None  # each directory in it is a bucket; without it there is no S3
    region: str = "us-east-1"
    users: tuple[User, ...] | None = None  # who may do what; None = anybody may do everything
    allowed_hosts: tuple[str, ...] = ()  # by which it is known beside its own names
    allowed_origins: tuple[str, ...] = ()  # of web pages that may call it
    local_code: bool = True  # whether models that are made through the API may run something here
    until_eof: bool = False  # ends when standard input, a pipe from the program that it belongs to, does


class Application:
    """The ASGI application of one worker: the endpoints, and all that answers for them."""

    def __init__(self, settings: ServerSettings, given: list[EndpointDefinition], limits: Limits) -> None:
        """``given`` are the endpoints to start with; others come and go through the API."""
        self._settings = settings
        self._given = given
        self._limits = limits
        self._events = Events()
        self._engine = Engine(settings.state_directory.path, self._events)
        self._instances = settings.state_directory.instances
        self._endpoints: Endpoints
        self._registry: Registry | None = None
        self._dispatch: Gateway
        self._sagemaker: SageMakerApp
        self._s3: S3App | None = None
        self._starting: asyncio.Task[None]
        self.failure: SetupError | None = None
        self.until_eof = settings.until_eof

    async def start(self, gave_up: asyncio.Event, again: bool = False) -> None:
        """Begin to create the endpoints.

        ``gave_up`` is set when one of those given failed. ``again``: this process takes the place of one that was
        killed; then none of them takes the others, and S3, with it.
        """
        from emulator.aws.wsgi import in_threads
        from emulator.console.app import console
        from emulator.services.sagemaker.app import SageMakerApp

        metrics, container_logs = CloudWatchMetrics(), RecentLogLines()
        for listener in (TerminalLog(self._settings.url, self._given, again), metrics, container_logs):
            self._events.subscribe(listener)
        neighbours = MotoServicesApp(metrics, container_logs, self._engine, self._settings.region)
        await asyncio.to_thread(shutil.rmtree, self._instances, ignore_errors=True)
        # A worker's own disks, so that the keepers of one that was killed can clean up without asking.
        disks, logs = self._instances / str(os.getpid()), self._settings.state_directory.container_logs
        clock = Clock()
        self._endpoints = Endpoints(Workspace(disks, logs, self._engine, self._limits, self._events, clock))
        self._registry = await asyncio.to_thread(Registry.open, self._settings.state_directory.registry)
        plane = self._plane(self._registry)
        web = console(self._is_in_service, self._state, self._settings.region, asyncio.get_running_loop())
        if self._settings.s3_root is not None:
            from emulator.services.s3.app import S3App

            self._s3 = S3App(self._settings.s3_root, self._settings.region)
            await self._s3.start()
        self._sagemaker = SageMakerApp(plane)
        runtime, access = RuntimeApp(self._endpoints, self._limits, self._events, clock), self._access()
        guard = WebGuard(self._settings.allowed_hosts, self._settings.allowed_origins)
        self._dispatch = Gateway(runtime, self._sagemaker, self._s3, neighbours, in_threads(web), guard, access)
        given = [self._endpoints.add(definition) for definition in self._given]
        self._starting = asyncio.create_task(self._start_endpoints(plane, given, gave_up, again))

    async def stop(self) -> None:
        """Stop everything and leave nothing behind."""
        self._starting.cancel()
        await asyncio.gather(self._starting, return_exceptions=True)
        await self._sagemaker.stop()
        await self._endpoints.stop()
        await self._engine.close()
        await self._dispatch.end()
        if self._s3 is not None:
            await self._s3.stop()
        await asyncio.get_running_loop().shutdown_default_executor()  # an extraction may be under way
        if self._registry is not None:
            self._registry.close()
        shutil.rmtree(self._instances, ignore_errors=True)  # nothing is served any more that it could hold up

    def abandon(self) -> None:
        """Remove, at once, what would outlive this process: the keepers end local processes, but no one Docker's."""
        self._engine.abandon()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._dispatch(scope, receive, send)

    async def refuse(self, scope: Scope, send: Send, refusal: Refusal) -> None:
        """Answer so, in the form of the service that the request is for."""
        await self._dispatch.refuse(scope, send, refusal)

    def _plane(self, registry: Registry) -> ControlPlane:
        """The control plane with what it had been told, and with the endpoints that were given. Raises SetupError."""
        from emulator.services.sagemaker.control_plane import ControlPlane
        from emulator.services.sagemaker.endpoints_at_start import register
        from emulator.services.sagemaker.model_data_location import locator

        settings = self._settings
        for definition in self._given:
            if registry.get(EndpointRecord, definition.name) is not None:
                raise SetupError(
                    f"An endpoint {definition.name} was created through the API, and {settings.state_directory.path} "
                    "keeps it. Take another --endpoint-name, or delete that endpoint first: start with --no-endpoint "
                    "for it."
                )
            register(definition, registry, settings.s3_root)
        quota = self._limits.instances_of_a_type
        return ControlPlane(
            registry,
            self._endpoints,
            settings.region,
            Path.cwd(),
            locator(settings.s3_root),
            quota,
            settings.local_code,
        )

    async def _start_endpoints(
        self, plane: ControlPlane, given: list[Endpoint], gave_up: asyncio.Event, again: bool
    ) -> None:
        from emulator.services.sagemaker.endpoints import restore

        try:
            if self._engine.has_leftovers():
                with contextlib.suppress(SetupError):  # it does not run now
                    await self._engine.sweep()
            for record in plane.registry.all(EndpointRecord):
                if record.stored:
                    restore(plane, record)
            if again:
                starts = (endpoint.start(TRIES_AGAIN) for endpoint in given)
                outcomes = await asyncio.gather(*starts, return_exceptions=True)
                for outcome in outcomes:
                    if isinstance(outcome, Exception) and not isinstance(outcome, SetupError):
                        raise outcome
            else:
                await together(endpoint.start() for endpoint in given)
            if not given:
                self._events.publish(Ready())
        except SetupError as error:
            self.failure = error
            gave_up.set()
        except Exception as error:
            log.exception("creating the endpoints failed inside the emulator")
            self.failure = SetupError(f"The emulator cannot create its endpoints: {error}.")
            gave_up.set()

    def _access(self) -> AccessControl | None:
        if self._settings.users is None:
            return None
        from emulator.gateway.access.access_control import AccessControl

        return AccessControl(self._settings.users, self._settings.region, self._limits.body_bytes)

    def _is_in_service(self) -> bool:
        started = self._starting.done() and self.failure is None
        return started and all(endpoint.status != "Creating" for endpoint in self._endpoints)

    async def _state(self) -> EmulatorState:
        return {"url": self._settings.url, "endpoints": [await endpoint.state() for endpoint in self._endpoints]}


class Master(Arbiter):
    """gunicorn's master, for one worker that holds all state.

    Its signals are not lost on a worker that cannot take them yet, and none of them makes it start
    a second worker. A terminal that closes (SIGHUP) ends the emulator, unless it was started with nohup.
    """

    def __init__(self, app: BaseApplication) -> None:
        Worker.life_of_master = os.pipe()
        # gunicorn puts SERVER_SOFTWARE there. Containers get the environment that `serve` was started with: AWS's
        # XGBoost container, for one, takes itself for gunicorn's worker by that variable, and ends.
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
        """What gunicorn would reload, upgrade or scale by."""

    handle_ttin = handle_ttou = handle_usr2 = handle_winch = _ignore

    def spawn_worker(self) -> int:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
        try:
            return super().spawn_worker()  # in the worker, they stay blocked until it can take them
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class LinesOfOneMessage(logging.Formatter):
    """A message and its traceback, in which nothing of what others wrote looks like a line of its own."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))


class Server(BaseApplication):
    """gunicorn, configured for one worker that is never restarted for being busy."""

    def __init__(self, settings: ServerSettings, definitions: list[EndpointDefinition], limits: Limits) -> None:
        self._make_application = lambda: Application(settings, definitions, limits)
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


def serve(settings: ServerSettings, definitions: list[EndpointDefinition], limits: Limits) -> None:
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
    Server(settings, definitions, limits).run()
