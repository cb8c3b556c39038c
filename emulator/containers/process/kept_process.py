"""A process tree below a keeper: started, watched, measured and ended, whichever container it is."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

from emulator.containers.container import LONGEST_LOG_LINE, LogSink
from emulator.containers.memory_limit import KERNEL, NOTICE_SECONDS, WATCH, MemoryLimit
from emulator.containers.process.environment import InheritedEnvironment
from emulator.containers.process.keeper import PR_SET_CHILD_SUBREAPER
from emulator.errors import SetupError

LAST_WORDS_SECONDS = 2.0  # for what is still in the pipes of a container that has ended
BLAMED_SECONDS = 5.0  # [ours] in which it ends because a process of it was killed
ORPHAN_SECONDS = 5.0  # for ending what a killed keeper left behind
# ``python -m`` puts the working directory first on the import path: from here, it finds this package
# and nothing that a user's own directory may hold (a queue.py, say).
PACKAGE_ROOT = Path(__file__).resolve().parents[3]
T = TypeVar("T")


@dataclass(frozen=True)
class KeptSettings:
    """What a keeper is started with."""

    name: str  # of the container, for people
    command: Sequence[str]
    directory: Path  # in which it runs
    scratch: Path  # what is deleted if the emulator is killed
    memory_bytes: int
    stop_seconds: float  # from SIGTERM to SIGKILL


class KeptProcess:
    """A command and all its descendants, below a keeper (see keeper.py)."""

    def __init__(
        self, settings: KeptSettings, log: LogSink, warn: Callable[[str], None], inherited: InheritedEnvironment
    ) -> None:
        """``log`` takes the lines of its output, ``warn`` what the container's user should know."""
        self._settings = settings
        # One that is not below the machine's memory is never reached.
        self.memory_limit: MemoryLimit | None = None
        if settings.memory_bytes < psutil.virtual_memory().total:
            self.memory_limit = MemoryLimit(settings.memory_bytes, WATCH)
        self._kills = 0  # of its processes, because it passed that limit
        self._killed, self._killed_at = 0, 0.0  # the last one, 0 if that is unknown; on the monotonic clock
        self._log, self._warn = log, warn
        self._inherited = inherited
        self._keeper: asyncio.subprocess.Process | None = None
        self._main_pid = 0
        self._mark = ("", "")
        self._started: asyncio.Future[None]
        self._exited: asyncio.Future[int]
        self._answers: dict[str, deque[asyncio.Future[float]]] = {"memory": deque(), "cpu": deque(), "look": deque()}
        self._readers: list[asyncio.Task[None]] = []

    async def start(self, environment: Mapping[str, str], mark: str) -> None:
        """Start it with these variables; returns when its process runs. Raises SetupError when it cannot be started.

        ``mark`` is a variable whose value no process has but those of this container.
        """
        loop = asyncio.get_running_loop()
        self._started, self._exited = loop.create_future(), loop.create_future()
        self._mark = (mark, environment[mark])
        settings = self._settings
        adopt_orphans()
        try:
            self._keeper = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "emulator.containers.process.keeper",
                str(settings.stop_seconds),
                str(self.memory_limit.memory_bytes if self.memory_limit is not None else 0),
                str(settings.directory),
                str(settings.scratch),
                *settings.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=PACKAGE_ROOT,
                # Out of the terminal's process group: Ctrl-C is for the emulator, which then stops its containers.
                start_new_session=True,
            )
        except OSError as error:  # no memory or no process left
            raise SetupError(f"The container's process cannot be started: {error.strerror}.") from None
        # The keeper does not get it: what is meant for the container's Python must not change its own.
        self._send_to_keeper(json.dumps(environment).encode() + b"\n")
        self._readers = [asyncio.create_task(self._read_reports()), asyncio.create_task(self._read_log())]
        await asyncio.shield(self._started)
        self._warn_of_missed(await asyncio.to_thread(self._inherited.missed_in, settings.command))

    async def exit_code(self) -> int:
        """Wait until its main process has ended; negative for a signal."""
        return await asyncio.shield(self._exited)

    def describe_end(self, code: int) -> str:
        """How its main process has ended, in words that follow "it"."""
        words = describe_exit(code)
        recent = time.monotonic() - self._killed_at < BLAMED_SECONDS
        if self.memory_limit is None or not self._kills or not recent:
            return words
        if code == -signal.SIGKILL and self._killed in (0, self._main_pid):
            return self.memory_limit.ended(words.removeprefix("ended with "))
        return self.memory_limit.ended_later(words)

    async def stop(self, seconds: float | None = None) -> None:
        """SIGTERM, SIGKILL so many ``seconds`` later; returns when nothing of it is left. May be called twice."""
        if self._keeper is None:
            return
        self._send_to_keeper(b"stop\n" if seconds is None else b"stop=%g\n" % seconds)
        await self.finish()

    async def finish(self) -> None:
        """Wait until nothing of it is left, and all of its output has been taken."""
        assert self._keeper is not None
        await self._keeper.wait()
        _, unfinished = await asyncio.wait(self._readers, timeout=LAST_WORDS_SECONDS)
        for reader in unfinished:  # a process that escaped holds the other end of the pipe
            reader.cancel()

    async def measured(self, quantity: str) -> float:
        """The keeper's answer; 0 once the container has ended."""
        if self._keeper is None or self._exited.done():
            return 0
        reply: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._answers[quantity].append(reply)
        self._send_to_keeper(quantity.encode() + b"\n")
        return await reply

    async def killed_for_memory(self, look: bool) -> int:
        """What ``Container.killed_for_memory`` returns."""
        if self.memory_limit is None or self.memory_limit.killer == KERNEL:
            return 0
        if look:
            await self.measured("look")
        return self._kills

    def processes(self) -> list[psutil.Process]:
        """All that run. Blocks for some milliseconds."""
        with contextlib.suppress(psutil.NoSuchProcess):
            if self._keeper is not None:
                return psutil.Process(self._keeper.pid).children(recursive=True)
        return []

    def _warn_of_missed(self, warning: str) -> None:
        if warning:
            self._warn(warning)

    def _send_to_keeper(self, command: bytes) -> None:
        assert self._keeper is not None and self._keeper.stdin is not None
        with contextlib.suppress(OSError, RuntimeError):  # it has ended already
            self._keeper.stdin.write(command)

    async def _read_reports(self) -> None:
        assert self._keeper is not None and self._keeper.stdout is not None
        async for line in self._keeper.stdout:
            message = json.loads(line)
            if "started" in message:
                self._main_pid = message["started"]
                if message["in_cgroup"]:
                    self.memory_limit = MemoryLimit(self._settings.memory_bytes, KERNEL)
                self._started.set_result(None)
            elif "kills" in message:
                self._kills, self._killed, self._killed_at = message["kills"], message["killed"], time.monotonic()
                asyncio.get_running_loop().call_later(NOTICE_SECONDS, self._warn_of_kill)
            elif quantity := next((each for each in self._answers if each in message), None):
                _resolve(self._answers[quantity].popleft(), message[quantity])
            elif "exited" in message:
                _resolve(self._exited, message["exited"])
            elif "failed" in message:
                self._started.set_exception(SetupError(f"The container's command cannot be run: {message['failed']}"))
        if not self._exited.done():
            await self._end_orphans()
            self._exited.set_result(-signal.SIGKILL)
        if not self._started.done():
            self._started.set_exception(SetupError("The container's command cannot be run."))
        for replies in self._answers.values():
            for reply in replies:
                _resolve(reply, 0)

    def _warn_of_kill(self) -> None:
        if not self._exited.done() and self.memory_limit is not None:
            self._warn(self.memory_limit.continues(self._settings.name))

    async def _end_orphans(self) -> None:
        """End what is left of a container whose keeper was killed.

        On Linux, its main process died with the keeper, and this process has adopted the others. They
        are known by their environment.
        """
        with contextlib.suppress(OSError):
            if self._main_pid:
                os.killpg(self._main_pid, signal.SIGKILL)
        deadline = time.monotonic() + ORPHAN_SECONDS
        left: set[int] = set()
        while time.monotonic() < deadline:
            # Those that have ended already as well: nobody else would take their exit codes.
            left |= {child.pid for child in psutil.Process().children(recursive=True) if self._is_ours(child)}
            left = {pid for pid in left if not _has_ended(pid)}
            if not left:
                return
            for pid in left:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.02)

    def _is_ours(self, process: psutil.Process) -> bool:
        with contextlib.suppress(OSError):
            if os.getsid(process.pid) == self._main_pid:  # also of a zombie, which has no environment any more
                return True
        with contextlib.suppress(psutil.Error):
            name, value = self._mark
            found: bool = process.environ().get(name) == value
            return found
        return False

    async def _read_log(self) -> None:
        assert self._keeper is not None and self._keeper.stderr is not None
        rest = b""
        while chunk := await self._keeper.stderr.read(65536):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                text = line.decode("utf-8", "replace").rstrip("\r")
                self._log(text)
                self._warn_of_missed(self._inherited.missed_by(text))
            if len(rest) > LONGEST_LOG_LINE:
                self._log(rest.decode("utf-8", "replace"))
                rest = b""
        if rest:
            self._log(rest.decode("utf-8", "replace"))


def describe_exit(code: int) -> str:
    """An exit code in words; negative for a signal."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"ended with signal {signal.Signals(-code).name}"
    except ValueError:
        return f"ended with signal {-code}"


def adopt_orphans() -> None:
    """Become, on Linux, the parent of the processes below this one whose own parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _has_ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:  # not a child of this process, or not yet
        return not psutil.pid_exists(pid)


def _resolve(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)
