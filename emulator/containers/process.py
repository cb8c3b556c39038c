"""A container as a local process tree: any command that serves the container contract."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from emulator.containers.base import Container, LogSink
from emulator.errors import SetupError
from emulator.limits import Limits

LONGEST_LOG_LINE = 64 * 1024
CONTAINER_PORTS = range(10_000, 32_767)
# ``python -m`` puts the working directory first on the import path: from here, it finds this package
# and nothing that a user's own directory may hold (a queue.py, say).
PACKAGE_ROOT = Path(__file__).resolve().parents[2]


class ProcessContainer(Container):
    """Runs ``command`` under a keeper (see keeper.py), on a free port of the loopback interface."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        directory: Path,
        environment: Mapping[str, str],
        scratch: Path,
        limits: Limits,
        log: LogSink,
    ) -> None:
        """``directory`` is the command's working directory. ``scratch`` is removed if the emulator is killed."""
        self.name = name
        self.host = "127.0.0.1"
        self.port = free_port(self.host)
        self._command = list(command)
        self._directory, self._scratch = directory, scratch
        self._environment = {**os.environ, **environment, "SAGEMAKER_BIND_TO_PORT": str(self.port)}
        self._limits = limits
        self._log = log
        self._keeper: asyncio.subprocess.Process | None = None
        self._main_pid = 0
        self._started: asyncio.Future[None]
        self._exited: asyncio.Future[int]
        self._memory: deque[asyncio.Future[int]] = deque()
        self._readers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._started, self._exited = loop.create_future(), loop.create_future()
        self._keeper = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "emulator.containers.keeper",
            str(self._limits.stop_seconds),
            str(self._directory),
            str(self._scratch),
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
            cwd=PACKAGE_ROOT,
            # Out of the terminal's process group: Ctrl-C is for the emulator, which then stops its containers.
            start_new_session=True,
        )
        self._readers = [asyncio.create_task(self._read_reports()), asyncio.create_task(self._read_log())]
        await asyncio.shield(self._started)

    async def wait(self) -> int:
        return await asyncio.shield(self._exited)

    async def stop(self) -> None:
        if self._keeper is None:
            return
        self._wish(b"stop\n")
        await asyncio.gather(*self._readers)
        await self._keeper.wait()

    async def memory_used(self) -> int:
        if self._keeper is None or self._exited.done():
            return 0
        reply: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._memory.append(reply)
        self._wish(b"memory\n")
        return await reply

    def model_url(self, model_directory: Path) -> str:
        return str(model_directory)

    def _wish(self, wish: bytes) -> None:
        assert self._keeper is not None and self._keeper.stdin is not None
        with contextlib.suppress(OSError, RuntimeError):  # it has ended already
            self._keeper.stdin.write(wish)

    async def _read_reports(self) -> None:
        assert self._keeper is not None and self._keeper.stdout is not None
        async for line in self._keeper.stdout:
            message = json.loads(line)
            if "started" in message:
                self._main_pid = message["started"]
                self._started.set_result(None)
            elif "memory" in message:
                _resolve(self._memory.popleft(), message["memory"])
            elif "exited" in message:
                _resolve(self._exited, message["exited"])
            elif "failed" in message:
                self._started.set_exception(
                    SetupError(f"The container's command cannot be run: {message['failed']}")
                )
        # The keeper is gone. If it was killed, it took the main process along (on Linux), but not that one's children.
        if not self._exited.done():
            with contextlib.suppress(OSError):
                if self._main_pid:
                    os.killpg(self._main_pid, 9)
            self._exited.set_result(-9)
        if not self._started.done():
            self._started.set_exception(SetupError("The container's command cannot be run."))
        for reply in self._memory:
            _resolve(reply, 0)

    async def _read_log(self) -> None:
        assert self._keeper is not None and self._keeper.stderr is not None
        rest = b""
        while chunk := await self._keeper.stderr.read(65536):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._log(line.decode("utf-8", "replace").rstrip("\r"))
            if len(rest) > LONGEST_LOG_LINE:
                self._log(rest.decode("utf-8", "replace"))
                rest = b""
        if rest:
            self._log(rest.decode("utf-8", "replace"))


def free_port(host: str) -> int:
    """A port that is free now.

    From a range in which the system does not place outgoing connections, and in which Multi Model
    Server accepts its port: it refuses those above 32767.
    """
    for port in random.sample(CONTAINER_PORTS, 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            return port
    raise SetupError(f"No port is free for a container between {CONTAINER_PORTS.start} and {CONTAINER_PORTS.stop}.")


def _resolve(future: asyncio.Future[int], value: int) -> None:
    if not future.done():
        future.set_result(value)
