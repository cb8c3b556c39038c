"""A container as a local process tree: any command that serves the container contract."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from emulator.containers.container import Container, ContainerSettings, LogSink
from emulator.containers.memory_limit import MemoryLimit
from emulator.containers.process.environment import InheritedEnvironment, container_environment
from emulator.containers.process.kept_process import KeptProcess, KeptSettings
from emulator.containers.process.ports import PortRange
from emulator.containers.unix_socket import new_socket_path, remove
from emulator.errors import SetupError
from emulator.limits import Limits

PORT_VARIABLE = "SAGEMAKER_BIND_TO_PORT"
SOCKET_VARIABLE = "LOCALMME_BIND_TO_SOCKET"  # of localmme's own server, which listens there and at no port


class ProcessContainer(Container):
    """Runs ``command`` on a free port of the loopback interface."""

    def __init__(
        self,
        command: Sequence[str],
        directory: Path,
        settings: ContainerSettings,
        limits: Limits,
        log: LogSink,
        warn: Callable[[str], None],
        *,
        inherited: InheritedEnvironment,
        takes_socket: bool = False,
    ) -> None:
        """``directory`` is the command's working directory; ``warn`` takes what the container's user should know.

        One that ``takes_socket`` gets one, if there can be any.
        """
        self.host, self.port = "127.0.0.1", 0  # until it is started
        self._ports: PortRange
        self._held = contextlib.ExitStack()  # as long as it runs
        self._takes_socket = takes_socket
        self._settings, self._inherited = settings, inherited
        kept = KeptSettings(
            settings.name, command, directory, settings.scratch, settings.memory_bytes, limits.stop_seconds
        )
        self._process = KeptProcess(kept, log, warn, inherited)

    @property
    def memory_limit(self) -> MemoryLimit | None:  # type: ignore[override]
        return self._process.memory_limit

    async def start(self) -> None:
        try:
            await asyncio.to_thread(self.find_address)
            await self._process.start(self._environment(), PORT_VARIABLE)
        except SetupError:
            self._held.close()
            raise

    def find_address(self) -> None:
        """Look for a port, and for a socket if it takes one. Blocks. Raises SetupError when no port is free."""
        self.socket = new_socket_path(self._settings.scratch) if self._takes_socket else None
        self._ports = self._held.enter_context(contextlib.closing(PortRange.bind(self.host)))
        self.port = self._ports.port

    async def wait(self) -> str:
        return self._process.describe_end(await self._process.exit_code())

    async def stop(self, seconds: float | None = None) -> None:
        with self._held:
            await self._process.stop(seconds)
            if self.socket is not None:
                await asyncio.to_thread(remove, self.socket)

    async def memory_used(self) -> int:
        return int(await self._process.measured("memory"))

    async def killed_for_memory(self, look: bool) -> int:
        return await self._process.killed_for_memory(look)

    async def cpu_seconds(self) -> float | None:
        return await self._process.measured("cpu") or None  # one that runs has used some

    async def deliver(self, model_directory: Path) -> str:
        return str(model_directory)

    def listening_ports(self) -> list[int]:
        """The TCP ports at which its processes listen. Blocks for some milliseconds."""
        ports = set()
        for process in self._process.processes():
            with contextlib.suppress(psutil.Error):  # it has ended, or is not accessible
                ports |= {each.laddr.port for each in process.net_connections("tcp") if each.status == "LISTEN"}
        return sorted(ports)

    def _environment(self) -> dict[str, str]:
        settings = self._settings
        variables = {
            PORT_VARIABLE: str(self.port),
            "SAGEMAKER_SAFE_PORT_RANGE": f"{self._ports.first_safe}-{self._ports.last_safe}",
        }
        if self.socket is not None:
            variables[SOCKET_VARIABLE] = str(self.socket)
        if not settings.multi_model:
            # There is no /opt/ml/model for a process; by these the toolkits of SageMaker find it elsewhere.
            variables |= {"SM_MODEL_DIR": str(settings.models), "SAGEMAKER_BASE_DIR": str(settings.models.parent)}
        return container_environment(self._inherited, settings.aws, settings.environment, variables)
