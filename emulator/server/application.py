"""The application of one worker: connects all parts, starts them and stops them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import shutil
import socket
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from emulator.aws.sessions import Sessions
from emulator.clock import Clock
from emulator.console.logins import Logins
from emulator.containers.docker.engine import Engine
from emulator.containers.launch import new_container
from emulator.containers.process.environment import InheritedEnvironment
from emulator.errors import SetupError
from emulator.events import Events, Ready, Warned
from emulator.gateway.gateway import Gateway
from emulator.gateway.web_guard import WebGuard
from emulator.hosting.definition import EndpointDefinition
from emulator.hosting.endpoint import TRIES_AGAIN, Endpoint
from emulator.hosting.endpoints import Endpoints
from emulator.hosting.execution_roles import ExecutionRoles
from emulator.hosting.tasks import cancel, gather_or_cancel
from emulator.hosting.workspace import Workspace
from emulator.limits import Limits
from emulator.observers.captured_invocations import CapturedInvocations
from emulator.observers.cloudwatch_metrics import CloudWatchMetrics
from emulator.observers.container_log_files import ContainerLogFiles
from emulator.observers.model_calls import ModelCalls
from emulator.observers.model_counts import CountsByEndpoint
from emulator.observers.recent_entries import RecentEntries
from emulator.observers.recent_log_lines import RecentLogLines
from emulator.observers.recording import Recorder
from emulator.observers.terminal import TerminalLog, VariantSize
from emulator.observers.totals import Totals
from emulator.server.container_connections import url_for_processes
from emulator.server.recorded_endpoints import recorded_endpoints, recorded_limits
from emulator.server.settings import ServerSettings
from emulator.services.container_credentials.app import ContainerCredentialsApp
from emulator.services.moto_services.app import MotoServicesApp
from emulator.services.runtime.app import RuntimeApp
from emulator.services.runtime.faults import Faults
from emulator.services.sagemaker.records import EndpointRecord
from emulator.services.sagemaker.registry import Registry

if TYPE_CHECKING:
    from emulator.gateway.access.access_control import AccessControl
    from emulator.jobs.jobs import Jobs
    from emulator.services.s3.app import S3App
    from emulator.services.sagemaker.control_plane import ControlPlane
    from emulator.services.sagemaker.start_requests import StartRequests
    from emulator.storage.read_through import ReadThrough

log = logging.getLogger("localmme")


class Application:
    """What one worker serves: the endpoints, the services and the pages."""

    def __init__(
        self,
        settings: ServerSettings,
        requests: StartRequests,
        limits: Limits,
        terminal: type[TerminalLog] = TerminalLog,
    ) -> None:
        """``requests`` create the endpoints to start with; others come and go through the API."""
        self._settings = settings
        self._terminal = terminal
        self._requests = requests
        self._limits = limits
        self._events = Events()
        self.container_listeners: asyncio.Queue[socket.socket] = asyncio.Queue()  # to be served for containers only
        self._engine = Engine(settings.state_directory.path, self._events, self.container_listeners.put_nowait)
        self._instances = settings.state_directory.instances
        self._endpoints: Endpoints
        self._registry: Registry | None = None
        self._read_through: ReadThrough | None = None
        self._jobs: Jobs | None = None  # made for the first job
        self.gateway: Gateway  # the ASGI application, once it is started
        self._starting: asyncio.Task[None]
        self._ends = contextlib.AsyncExitStack()  # how to stop what has started, the last one first
        self.failure: SetupError | None = None
        self.until_eof = settings.until_eof

    async def start(self, startup_failed: asyncio.Event, again: bool = False) -> None:
        """Begin to create the endpoints. If it fails or is cancelled, nothing of it is left.

        ``startup_failed`` is set when one of those to start with failed. ``again``: this process takes the place of
        one that was killed; then none of them takes the others, and S3, with it.
        """
        async with contextlib.AsyncExitStack() as ends:
            await self._start(ends, startup_failed, again)
            self._ends = ends.pop_all()

    async def _start(self, ends: contextlib.AsyncExitStack, startup_failed: asyncio.Event, again: bool) -> None:
        from emulator.console.actions import Actions
        from emulator.console.app import ConsoleApp
        from emulator.console.emulator_state import emulator_state
        from emulator.console.flask_pages import pages_in_threads
        from emulator.console.live_updates import LiveUpdates
        from emulator.console.operator_actions import OperatorActions
        from emulator.console.prometheus import PrometheusPage
        from emulator.console.what_if import what_if
        from emulator.server.fault_actions import add_fault_actions
        from emulator.server.recording_actions import add_recording_actions
        from emulator.services.sagemaker import endpoints_at_start, training_jobs, transform_jobs
        from emulator.services.sagemaker.app import SageMakerApp
        from emulator.services.sagemaker.endpoints import restore

        metrics, container_logs = CloudWatchMetrics(), RecentLogLines()
        logs = self._settings.state_directory.container_logs
        ends.push_async_callback(self._leave_the_disk)
        await asyncio.to_thread(logs.mkdir, parents=True, exist_ok=True)  # where it cannot be, nothing starts
        log_files = ContainerLogFiles(logs)
        sessions = Sessions(time.time)
        await asyncio.to_thread(shutil.rmtree, self._instances, ignore_errors=True)
        # A worker's own disks, so that the keepers of one that was killed can clean up without asking.
        disks, clock = self._instances / str(os.getpid()), Clock()
        inherited = InheritedEnvironment(os.environ, self._settings.inherit_env)
        containers = functools.partial(new_container, engine=self._engine, inherited=inherited)
        logins = Logins(urlsplit(self._settings.url).port or 80, clock.elapsed)
        access = self._access(sessions, logins)
        url = url_for_processes(self._settings.url, self.container_listeners.put_nowait)
        checks = () if access is None else (access.may_assume, access.role_allows)
        moto_services = MotoServicesApp(
            metrics, container_logs, self._engine, self._settings.region, sessions, self._variant_names, *checks[1:]
        )
        roles = ExecutionRoles(sessions, self._settings.region, url, *checks)
        workspace = Workspace(disks, containers, self._limits, self._events, clock, execution_roles=roles)
        self._endpoints = Endpoints(workspace)
        self._registry = await asyncio.to_thread(Registry.open, self._settings.state_directory.registry)
        s3 = await self._start_s3(ends)

        jobs = None if s3 is None else functools.partial(self._make_jobs, s3, workspace, inherited)
        control_plane = self._control_plane(self._registry, jobs)
        await training_jobs.fail_interrupted(control_plane)
        await transform_jobs.fail_interrupted(control_plane)
        definitions = await endpoints_at_start.create(
            control_plane, self._requests, self._settings.s3_root, self._settings.state_directory.path
        )
        sizes = {definition.name: _sizes(definition) for definition, _ in definitions}
        terminal = self._terminal(self._settings.url, sizes, again, self._settings.show_polls)
        counts = CountsByEndpoint(clock.now)
        entries, totals, calls = RecentEntries(clock), Totals(), ModelCalls()
        for listener in (terminal, metrics, container_logs, log_files, counts, entries, totals, calls):
            listener.listen_to(self._events)
        recorder = Recorder(
            entries,
            clock,
            self._settings.localmme_version,
            recorded_limits(self._limits),
            lambda: recorded_endpoints(self._endpoints),
            lambda text: self._events.publish(Warned(text)),
        )
        ends.push_async_callback(recorder.stop)
        state = functools.partial(emulator_state, self._settings.url, self._endpoints, counts)
        settings = self._settings
        prometheus = PrometheusPage(self._endpoints, totals, counts, settings.metrics_models, settings.localmme_version)
        others = pages_in_threads(self._is_in_service, state, prometheus, settings.region, asyncio.get_running_loop())
        about = {"url": settings.url, "region": settings.region, "version": settings.localmme_version}
        updates = LiveUpdates(about, self._endpoints, counts, entries, state, clock)
        token = await asyncio.to_thread(settings.state_directory.new_console_token)
        ends.push_async_callback(asyncio.to_thread, settings.state_directory.console_token.unlink, missing_ok=True)
        actions, faults = Actions(self._events), Faults(workspace.surroundings)
        OperatorActions(self._endpoints).add_to(actions)
        add_fault_actions(actions, faults)
        add_recording_actions(actions, recorder, settings.state_directory.recordings)
        line = functools.partial(what_if, self._endpoints, calls, self._limits)
        web = ConsoleApp(token, entries, updates, actions, line, others, logins)
        if s3 is not None:
            captured = CapturedInvocations(s3.put, self._limits.capture_seconds)
            captured.listen_to(self._events)
            ends.push_async_callback(captured.flush)
        sagemaker = SageMakerApp(control_plane)
        runtime = await self._start_runtime(ends, clock, faults)
        guard = WebGuard(self._settings.allowed_hosts, self._settings.allowed_origins)
        credentials = ContainerCredentialsApp(roles)
        self.gateway = Gateway(runtime, sagemaker, s3, moto_services, web, credentials, guard, access)
        before = (self.gateway.end, self._engine.close, log_files.flush)
        for end in (*before, self._endpoints.stop, self._stop_jobs, sagemaker.stop):
            ends.push_async_callback(end)
        at_start = [(self._endpoints.add(definition), impossible) for definition, impossible in definitions]
        if self._settings.recording is not None:
            await recorder.start(self._settings.recording, since=0)
        # Before the first request, which may be for one of them. They start when the place of earlier ones is free.
        swept = asyncio.Event()
        for record in self._registry.all(EndpointRecord):
            if record.stored:
                await restore(control_plane, record, swept)
        self._starting = asyncio.create_task(self._start_endpoints(at_start, startup_failed, again, swept))
        ends.push_async_callback(cancel, [self._starting])
        if self._read_through is not None:
            ends.callback(self._read_through.end)  # first of all, as any of the others may wait for real S3

    async def _start_runtime(self, ends: contextlib.AsyncExitStack, clock: Clock, faults: Faults) -> RuntimeApp:
        if not self._settings.traces:
            return RuntimeApp(self._endpoints, self._limits, self._events, clock, faults)
        from emulator.observers.tracing import Tracing
        from emulator.services.runtime.traced import TracedRuntimeApp

        tracing = Tracing.by_otlp(self._settings.localmme_version, clock, self._settings.passes_traces_on)
        tracing.listen_to(self._events)
        ends.push_async_callback(asyncio.to_thread, tracing.end)
        return TracedRuntimeApp(tracing.begin, self._endpoints, self._limits, self._events, clock, faults)

    def _make_read_through(self) -> ReadThrough | None:
        settings = self._settings
        if settings.s3_root is None or not settings.read_through:
            return None
        from emulator.archives.real_s3 import RealS3ByBoto3
        from emulator.storage.read_through import ReadThrough

        real = RealS3ByBoto3(settings.url)
        return ReadThrough(settings.s3_root, settings.region, settings.read_through, real)

    async def _start_s3(self, ends: contextlib.AsyncExitStack) -> S3App | None:
        if self._settings.s3_root is None:
            return None
        from emulator.services.s3.app import S3App

        self._read_through = self._make_read_through()
        s3 = S3App(self._settings.s3_root, self._settings.region, self._read_through)
        ends.push_async_callback(s3.stop)
        if self._read_through is not None:
            ends.push_async_callback(asyncio.to_thread, self._read_through.close)
        await s3.start()
        return s3

    async def _make_jobs(self, s3: S3App, workspace: Workspace, inherited: InheritedEnvironment) -> Jobs:
        """The jobs, for which nothing is imported or done before this is called."""
        if self._jobs is not None:
            return self._jobs
        from emulator.jobs.jobs import Jobs
        from emulator.jobs.launch import new_job_container
        from emulator.jobs.training_job import JobWorkspace

        new_container = functools.partial(
            new_job_container, limits=self._limits, engine=self._engine, inherited=inherited
        )
        store, gpus = await s3.store(), self._requests.instances.gpus
        of_jobs = JobWorkspace(
            workspace.directory,
            new_container,
            store,
            self._limits,
            self._events,
            workspace.clock,
            workspace.execution_roles,
            gpus,
        )
        self._jobs = self._jobs or Jobs(of_jobs, workspace)
        return self._jobs

    async def _stop_jobs(self) -> None:
        if self._jobs is not None:
            await self._jobs.stop()

    async def stop(self) -> None:
        """Stop everything and leave nothing behind."""
        await self._ends.aclose()

    async def _leave_the_disk(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.shutdown_default_executor()  # an extraction may be under way
        if self._registry is not None:
            self._registry.close()
        with ThreadPoolExecutor(1) as thread:  # the last one, as there is no default executor any more
            await loop.run_in_executor(thread, functools.partial(shutil.rmtree, self._instances, ignore_errors=True))

    def abandon(self) -> None:
        """Remove at once what would outlive this process: keepers end local processes, but not Docker containers."""
        self._engine.abandon()

    def _control_plane(self, registry: Registry, jobs: Callable[[], Awaitable[Jobs]] | None) -> ControlPlane:
        """The control plane, with what an earlier emulator kept."""
        from emulator.services.sagemaker.control_plane import ControlPlane
        from emulator.services.sagemaker.model_data_location import locator

        settings = self._settings
        quota = self._limits.instances_of_a_type
        return ControlPlane(
            registry,
            self._endpoints,
            settings.region,
            Path.cwd(),
            locator(settings.s3_root, self._read_through),
            quota,
            settings.local_code,
            self._requests.mapped_images,
            settings.s3_root,
            self._read_through,
            jobs,
        )

    async def _start_endpoints(
        self,
        at_start: list[tuple[Endpoint, str]],
        startup_failed: asyncio.Event,
        again: bool,
        swept: asyncio.Event,
    ) -> None:
        try:
            if await asyncio.to_thread(self._engine.has_leftovers):
                with contextlib.suppress(SetupError):  # it does not run now
                    await self._engine.sweep()
            swept.set()
            if again:
                starts = (_start(endpoint, impossible, TRIES_AGAIN) for endpoint, impossible in at_start)
                outcomes = await asyncio.gather(*starts, return_exceptions=True)
                for outcome in outcomes:
                    if isinstance(outcome, Exception) and not isinstance(outcome, SetupError):
                        raise outcome
            else:
                await gather_or_cancel(_start(endpoint, impossible) for endpoint, impossible in at_start)
            if not at_start:
                self._events.publish(Ready())
            if self._settings.when_in_service is not None and not again:
                self._endpoints.in_background(self._call_when_in_service(self._settings.when_in_service))
        except SetupError as error:
            self.failure = error
            startup_failed.set()
        except Exception as error:
            log.exception("creating the endpoints failed inside the emulator")
            self.failure = SetupError(f"The emulator cannot create its endpoints: {error}.")
            startup_failed.set()

    async def _call_when_in_service(self, function: Callable[[str], None]) -> None:
        try:
            await asyncio.to_thread(function, self._settings.url)
        except SetupError as error:
            log.warning("%s", error)

    def _access(self, sessions: Sessions, logins: Logins) -> AccessControl | None:
        if self._settings.users is None:
            return None
        from emulator.gateway.access.access_control import AccessControl

        settings = self._settings
        return AccessControl(
            self._settings.users,
            settings.region,
            self._limits.body_bytes,
            roles=settings.roles,
            sessions=sessions,
            logins=logins,
        )

    def _variant_names(self, endpoint_name: str) -> list[str]:
        endpoint = self._endpoints.get(endpoint_name)
        return [variant.name for variant in endpoint.definition.variants] if endpoint is not None else []

    def _is_in_service(self) -> bool:
        started = self._starting.done() and self.failure is None
        return started and all(endpoint.status != "Creating" for endpoint in self._endpoints)


def _sizes(definition: EndpointDefinition) -> list[VariantSize]:
    return [VariantSize(variant.instance_count, len(variant.model.containers)) for variant in definition.variants]


async def _start(endpoint: Endpoint, impossible: str, tries: int = 1) -> None:
    """Raises SetupError when the endpoint is Failed."""
    if impossible:
        endpoint.fail(impossible)
        raise SetupError(impossible)
    await endpoint.start(tries)
