"""An emulator in the test's own process: all of ``localmme serve`` but gunicorn, on an event loop in a thread."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest import mock

import psutil
import pytest
import uvloop
from gunicorn.arbiter import Arbiter

from emulator.archives import s3_source
from emulator.errors import SetupError
from emulator.observers.terminal import TerminalLog
from emulator.printable import printable_lines
from emulator.server import gunicorn_app
from emulator.server.application import Application
from emulator.server.worker import listening
from localmme.cli.main import main
from tests.support.command_line import working_directory
from tests.support.emulator_process import RunningEmulator
from tests.support.moto_in_process import forget_roles_and_users
from tests.support.processes import wait_until_ended
from tests.support.repository import REPOSITORY

EVENT_LOOP = "event loop"  # the name of the threads in which they run
_mine: contextvars.ContextVar[object] = contextvars.ContextVar("the emulator that logs")


class InProcessEmulator(RunningEmulator):
    """Of the options of ``localmme serve``: the same endpoints, at a port of its own, without a process of its own.

    The containers are processes as ever. What depends on the emulator's own process (signals, its death, its output as
    a pipe) needs an ``Emulator``.
    """

    def __init__(
        self,
        *arguments: str,
        state: Path,
        environment: Mapping[str, str] | None = None,
        directory: Path = REPOSITORY,
    ) -> None:
        """Started in ``directory`` when this returns, but perhaps not InService. ``environment`` is this process's
        until it ends."""
        super().__init__(state)
        # Not patch.dict, which puts back all variables as they were, also those that the test has meanwhile undone.
        self._environment = pytest.MonkeyPatch()
        for name, value in (environment or {}).items():
            self._environment.setenv(name, value)
        _forget_other_emulators()
        with working_directory(directory):
            with mock.patch.object(gunicorn_app, "serve") as serve:
                # Its event loop shares an interpreter with its callers, for whom it may have to wait longer than that.
                limits = ("--limit", "connect_seconds=5")
                main(["serve", "--port", "0", "--state-dir", str(state), *limits, *arguments], standalone_mode=False)
            self._settings, requests, limits = serve.call_args.args
            self.url = self._settings.url
            self._application = Application(self._settings, requests, limits, self._terminal())
            self._loop = uvloop.new_event_loop()
            self._has_begun, self._end, self._startup_failed = threading.Event(), asyncio.Event(), asyncio.Event()
            self._thread = threading.Thread(target=self._run, name=EVENT_LOOP, daemon=True)
            self._thread.start()
            self._has_begun.wait()

    def runs(self) -> bool:
        return self._thread.is_alive()

    def wait(self, seconds: float = 60.0) -> int:
        """The exit code that its process would have."""
        self._thread.join(seconds)
        assert not self.runs(), "it has ended"
        self._environment.undo()
        return 0 if self._application.failure is None else Arbiter.WORKER_BOOT_ERROR

    def processes(self) -> list[psutil.Process]:
        """Those of its containers."""
        found = []
        for child in psutil.Process().children():
            with suppress(psutil.NoSuchProcess):
                if self._is_ours(child):
                    found += [child, *child.children(recursive=True)]
        return found

    def stop(self) -> int:
        """End it; afterwards none of its containers is left."""
        containers = self.processes()
        if self.runs():
            self._loop.call_soon_threadsafe(self._end.set)
        code = self.wait()
        wait_until_ended(containers)
        return code

    def _run(self) -> None:
        _mine.set(self)
        handler = _Lines(self)
        logging.getLogger("localmme").addHandler(handler)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            logging.getLogger("localmme").removeHandler(handler)
            self._loop.close()
            self._settings.listener.close()
            _unlock(self._settings.state_directory.lock)

    async def _serve(self) -> None:
        try:
            await self._application.start(self._startup_failed)
        except Exception as error:
            told = error if isinstance(error, SetupError) else SetupError(f"The emulator cannot start: {error}.")
            self._application.failure = told
        else:
            await self._serve_until_it_ends()
        finally:
            self._has_begun.set()
        if self._application.failure is not None:
            self.errors += f"Error: {printable_lines(str(self._application.failure))}".splitlines()

    async def _serve_until_it_ends(self) -> None:
        self._has_begun.set()
        ends = [asyncio.ensure_future(event.wait()) for event in (self._end, self._startup_failed)]
        application = self._application
        async with listening(application.gateway, [self._settings.listener], application.container_listeners):
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            await self._application.stop()
        for end in ends:
            end.cancel()

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return any(word.startswith(str(self.state_directory)) for word in process.cmdline())
        except psutil.Error:
            return False

    def _terminal(self) -> type[TerminalLog]:
        output, errors = self.output, self.errors

        class Terminal(TerminalLog):
            def _announce(self, text: str, since: float) -> None:
                output.append(text)

            def _write(self, line: str, color: str = "") -> None:
                errors.extend(line.splitlines())

        return Terminal


class _Lines(logging.Handler):
    """What is logged in the thread of an emulator, and in those that it starts."""

    def __init__(self, emulator: RunningEmulator) -> None:
        super().__init__()
        self._emulator = emulator

    def emit(self, record: logging.LogRecord) -> None:
        if _mine.get(None) is self._emulator:
            self._emulator.errors.extend(self.format(record).splitlines())


def _forget_other_emulators() -> None:
    """A process begins without their client of S3, and without their roles and users in moto."""
    s3_source._made_client.cache_clear()
    forget_roles_and_users()


def _unlock(lock: Path) -> None:
    """Close what this process holds a lock with, as its end would do."""
    for descriptor in range(3, 4096):
        with suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), lock.stat()):
                os.close(descriptor)


@contextmanager
def in_process_emulators(directory: Path) -> Iterator[Callable[..., InProcessEmulator]]:
    """Start emulators with these arguments, without waiting until they are InService; all are stopped afterwards."""
    emulators: list[InProcessEmulator] = []

    def start(*arguments: str, environment: Mapping[str, str] | None = None) -> InProcessEmulator:
        state = directory / f"state-{len(emulators)}"
        emulators.append(InProcessEmulator(*arguments, state=state, environment=environment))
        return emulators[-1]

    try:
        yield start
    finally:
        for emulator in reversed(emulators):
            emulator.stop()
