"""The container under test (an image, a command, or a container that runs already), and its runs."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from emulator.containers.container import Container, ContainerSettings, LogSink
from emulator.containers.docker.engine import Engine
from emulator.containers.docker.images import InspectedImage
from emulator.containers.health import Outcome, first_health
from emulator.containers.launch import Command, Image, Program, new_container
from emulator.containers.process.container import ProcessContainer
from emulator.containers.process.environment import InheritedEnvironment
from emulator.errors import ContainerError, SetupError
from emulator.limits import Limits
from localmme.check.calls import Caller, Exchange

LAST_LINES = 12  # of the container's log, in a report
STOP_SECONDS = 5.0  # from SIGTERM to SIGKILL, except in the check of the stop
PATIENT_PING_SECONDS = 10.0  # whether pings are fast enough is a check of its own
OTHER_PORT_SECONDS = 1.0  # without an answer at the assigned port, before others are tried
END_SECONDS = 0.5  # for the news that a container has ended, after it dropped a connection


class NotHealthy(Exception):
    """A run did not become healthy; the text says why."""


@dataclass
class ContainerUnderTest:
    """What to run, and with which settings of the platform."""

    runs: Program | None  # None = a running container at ``url``
    url: str
    environment: Mapping[str, str]
    inherit_env: bool  # whether a process gets this shell's whole environment
    memory_bytes: int
    directory: Path
    limits: Limits
    engine: Engine
    image: InspectedImage | None = None  # known after ``prepare``

    @property
    def models(self) -> Path:
        """The storage volume."""
        return self.directory / "models"

    @property
    def is_ours(self) -> bool:
        """Whether it is started and stopped here; then its memory can be measured, too."""
        return self.runs is not None

    @property
    def is_process(self) -> bool:
        return isinstance(self.runs, Command)

    async def prepare(self) -> None:
        """Find the image, if it is one. Raises SetupError when it does not exist."""
        if isinstance(self.runs, Image):
            self.image = await self.engine.image(self.runs.reference)

    def new_run(self, *, shares_instance: bool = False) -> ContainerRun:
        """A new run, not started yet; ``shares_instance``: it must bind to a port other than 8080."""
        settings = ContainerSettings(
            name="primary",
            environment={"SAGEMAKER_MULTI_MODEL": "true", **self.environment},
            multi_model=True,
            models=self.models,
            # A process cannot find out what its limit is, so it could not answer 507 in time.
            memory_bytes=psutil.virtual_memory().total if self.is_process else self.memory_bytes,
            vcpus=os.cpu_count() or 1,
            gpus=0,
            position=0,
            shares_instance=shares_instance,
            scratch=self.directory,
        )
        return ContainerRun(self, settings, self.limits)

    def container(self, settings: ContainerSettings, limits: Limits, log: LogSink) -> Container:
        if self.runs is None:
            return RunningContainer(self.url)
        inherited = InheritedEnvironment(os.environ, self.inherit_env)
        return new_container(
            self.runs, settings, limits, log, log, engine=self.engine, inherited=inherited, check_labels=False
        )


class ContainerRun:
    """One run of the container, from its start to its end."""

    def __init__(self, under_test: ContainerUnderTest, settings: ContainerSettings, limits: Limits) -> None:
        self._under_test, self._limits = under_test, limits
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        self.container = under_test.container(settings, limits, self._lines.append)
        self.caller = Caller("", 0)
        self.assigned_port = 0  # SAGEMAKER_BIND_TO_PORT; ``caller.port`` is where it listens
        self._watch: asyncio.Task[str] | None = None

    async def start(self) -> float:
        """Start it and wait for its first good ping; the seconds that it took.

        Raises SetupError when it cannot be started at all, NotHealthy when it ends or has not come up in time.
        """
        began = time.perf_counter()
        await self.container.start()
        self._watch = asyncio.create_task(self.container.wait())
        self.assigned_port = self.container.port
        self.caller = Caller(self.container.host, self.container.port)
        seconds = self._limits.startup_seconds
        health = await first_health(self._watch, lambda: self._problem(began), seconds)
        if health.outcome is Outcome.ENDED:
            raise NotHealthy(f"It {health.detail} before it answered GET /ping with 200.")
        if health.outcome is Outcome.TIMED_OUT:
            raise NotHealthy(f"GET /ping was not answered with 200 within {seconds:.3g} s: {health.detail}.")
        return time.perf_counter() - began

    async def ended(self, wait: float = 0.0) -> str | None:
        """How it ended, in words that follow "it"; None while it runs. Waits for that for some seconds."""
        if self._watch is None:
            return None
        await asyncio.wait([self._watch], timeout=wait)
        return self._watch.result() if self._watch.done() else None

    async def is_healthy(self) -> bool:
        """Whether it runs and answers pings, however slowly."""
        return await self.ended() is None and (await self._ping(self.caller)).status == 200

    async def stop(self, kill_seconds: float = STOP_SECONDS) -> float:
        """Stop it, with SIGKILL so many seconds after SIGTERM; the seconds that it took."""
        self.caller.close()
        began = time.perf_counter()
        await self.container.stop(kill_seconds)
        seconds = time.perf_counter() - began
        if self._watch is not None and not self._watch.done():
            await asyncio.wait([self._watch], timeout=END_SECONDS)
            self._watch.cancel()
        return seconds

    def last_words(self) -> str:
        """The end of its log."""
        if not self._under_test.is_ours:
            return ""
        if not self._lines:
            return "It wrote nothing to its log."
        return "Its last log lines:\n" + "\n".join(f"    {line}" for line in self._lines)

    async def _problem(self, began: float) -> str | None:
        """What is wrong with the container, which was started then; None if it is healthy."""
        ping = await self._ping(self.caller)
        if ping.status == 200:
            return None
        if not ping.status and time.perf_counter() - began > OTHER_PORT_SECONDS and await self._elsewhere():
            return None
        return ping.received

    async def _ping(self, caller: Caller) -> Exchange:
        return await caller.call("GET", "/ping", timeout=PATIENT_PING_SECONDS)

    async def _elsewhere(self) -> bool:
        """Find the port of a process that did not bind to its assigned port."""
        if not isinstance(self.container, ProcessContainer):
            return False
        for port in await asyncio.to_thread(self.container.listening_ports):
            caller = Caller(self.container.host, port)
            if (await self._ping(caller)).status == 200:
                self.caller = caller
                return True
            caller.close()
        return False


class RunningContainer(Container):
    """A container that somebody else runs. Its models' directories are those of this machine."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url if "//" in url else f"//{url}", scheme="http")
        try:
            port = parts.port or 80
        except ValueError:
            port = 0
        if parts.scheme != "http" or not parts.hostname or not port or parts.path.strip("/"):
            raise SetupError(f"{url} is not the address of a container: write http://HOST:PORT.")
        self.host, self.port = parts.hostname, port

    async def start(self) -> None:
        """Nothing to do."""

    async def wait(self) -> str:
        never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        return await never

    async def stop(self, seconds: float | None = None) -> None:
        """Nothing to do: somebody else stops it."""

    async def memory_used(self) -> int:
        raise ContainerError("the memory of a container that runs elsewhere cannot be measured")

    async def cpu_seconds(self) -> float | None:
        return None

    async def deliver(self, model_directory: Path) -> str:
        return str(model_directory)
