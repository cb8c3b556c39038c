"""Decides which spawner forks a model's workers, and what that spawner has imported before.

What workers import is recorded; a new spawner is forked from the current one, imports it as well, and forks the next
workers. Spawners whose imports cannot be forked are given up, and the module with them. ``preloading`` is their side.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from emulator.model_server.handlers import styles
from emulator.model_server.handlers.imports import Import, imports_of, shadowed
from emulator.model_server.workers import frames, preloading
from emulator.model_server.workers.spawner import Spawner
from emulator.model_server.workers.worker_process import EnvironmentChanged

_log = logging.getLogger(__name__)
_IMPORT_SECONDS = 120.0  # for all imports of a spawner [ours]
_WAIT_SECONDS = 20.0  # how long a load waits for a spawner that is importing what the load needs, probably [ours]
_MOST_SPAWNERS = 8  # each has imported a little more than the one before; what comes later is left to workers [ours]
_MOST_ATTEMPTS = 16  # each without the module that was not fit in the one before [ours]

Load = Callable[[Spawner], Awaitable[dict[str, Any]]]


class Preloader:
    """Finds out what the workers of all models have in common, and forks them from a process that has it."""

    def __init__(self, first: Spawner, handler: str | None, chosen: Sequence[str] | None) -> None:
        """``first`` has imported nothing. ``handler`` is that of all models; None = each archive has its own.

        ``chosen`` are the modules to import, and no others; None = what handlers import. On macOS, whose system
        libraries cannot be forked, that is nothing.
        """
        self._first = self._current = first
        self._handler = styles.split(handler)[0] if handler else None
        self._discovers = chosen is None and sys.platform == "linux"
        self._chosen = [Import(name) for name in chosen or ()]
        self._known: set[str] = set()  # modules that workers have reported
        self._unfit: set[str] = set()
        self._imported: set[str] = set()  # by the current spawner, and not by the first
        self._environment: dict[str, str] = {}  # what the handler of all models sets
        self._spawners = 0
        self._fresh: set[str] = set()  # handlers or models whose workers come from the first spawner
        self._new: list[str] = []  # modules to be imported by the next spawner
        self._learning: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Import what is known to be needed before there is a model."""
        imports = self._chosen
        if self._discovers and self._handler is not None:
            imports = await asyncio.to_thread(imports_of, self._handler)
        await self._import(imports)

    async def try_handler(self, load: Load) -> None:
        """Import the handler of all models in a worker, by ``load``, and learn from that. Raises what ``load`` does."""
        try:
            recorded = await load(self._current)
        except EnvironmentChanged:  # libraries have to be imported when it is set
            self._first.abandon(self._current)
            self._current, self._imported = self._first, set()
            recorded = await load(self._first)
        self._environment = recorded["environment"]
        self._learn(recorded["modules"])

    async def load(self, directory: str, load: Load) -> None:
        """Load the model in ``directory`` by ``load``, and learn from that. Raises what ``load`` does."""
        if self._learning is not None:
            await asyncio.wait([self._learning], timeout=_WAIT_SECONDS)
        handler = self._handler or directory
        spawner = self._spawner_of(handler, directory)
        try:
            recorded = await load(spawner)
        except EnvironmentChanged as change:
            self._leave(handler, f"it sets the environment variable {change.variable}, which libraries may read when "
                        f"they are imported. Set it with --env {change.variable}=... instead")  # fmt: skip
            recorded = await load(self._first)
        self._learn(recorded["modules"][: recorded["early"]])

    def _spawner_of(self, handler: str, directory: str) -> Spawner:
        if not self._fresh.isdisjoint((handler, directory)):
            return self._first
        code = os.path.dirname(self._handler) if self._handler else os.path.join(directory, "code")
        if hidden := shadowed(self._imported, [code, directory]):
            self._leave(directory, f"modules of its own hide others: {', '.join(sorted(hidden))}")
            return self._first
        return self._current

    def _leave(self, handler: str, reason: str) -> None:
        self._fresh.add(handler)
        _log.info("%s imports all its modules in each worker: %s", handler, reason)

    def _learn(self, modules: Sequence[str]) -> None:
        if not self._discovers:
            return
        self._new += [name for name in modules if name not in self._known]
        self._known.update(modules)
        if _packages(self._new) and self._learning is None and self._spawners < _MOST_SPAWNERS:
            self._learning = asyncio.create_task(self._import_new())

    async def _import_new(self) -> None:
        try:
            while _packages(self._new) and self._spawners < _MOST_SPAWNERS:
                new, self._new = self._new, []
                await self._import([Import(name) for name in new])
        finally:
            self._learning = None

    async def _import(self, imports: Sequence[Import]) -> None:
        """Make a spawner that has these imports, as far as they are fit, the current one."""
        for _ in range(_MOST_ATTEMPTS):
            imports = [each for each in imports if not self._is_unfit(each.module)]
            if not (self._chosen or _packages(each.module for each in imports)):
                return
            outcome = await self._attempt(imports)
            if outcome.ready:
                self._report(outcome)
            if outcome.spawner is not None:
                self._current = outcome.spawner
                self._spawners += 1
                self._imported.update(outcome.modules)
                return
            if not outcome.unfit:
                return
            self._unfit.add(outcome.unfit)
            _log.info("Each worker imports %s itself: its import %s", outcome.unfit, outcome.reason)

    def _is_unfit(self, module: str) -> bool:
        parts = module.split(".")
        return any(".".join(parts[:count]) in self._unfit for count in range(1, len(parts) + 1))

    def _report(self, outcome: _Outcome) -> None:
        if self._chosen:
            for module, reason in outcome.failed.items():
                _log.warning("%s cannot be imported for all workers: %s", module, reason)
        before = _packages(self._imported)
        if packages := [name for name in _packages(outcome.modules) if name not in before]:
            _log.info("Imported once for all workers: %s", ", ".join(packages))

    async def _attempt(self, imports: Sequence[Import]) -> _Outcome:
        """Fork a spawner that makes these imports."""
        loop = asyncio.get_running_loop()
        parent = self._current
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            with theirs:
                pid = await parent.branch(theirs)
        except OSError as error:
            ours.close()
            return _Outcome(reason=error.strerror or "")
        overdue = loop.call_later(_IMPORT_SECONDS, parent.kill, pid)
        adopted = False
        try:
            request = {"imports": imports, "environment": self._environment, "chosen": not self._discovers}
            await loop.sock_sendall(ours, frames.head(preloading.PRELOAD, request))
            outcome = await _outcome(ours, overdue)
            if outcome.modules:
                adopted = True
                outcome = outcome._replace(spawner=parent.adopt(ours, pid))
            return outcome
        finally:
            overdue.cancel()
            if not adopted:
                ours.close()


def _packages(modules: Iterable[str]) -> list[str]:
    """The names of the installed packages that modules belong to. A spawner with Python's own modules saves little."""
    tops = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names
    return sorted(name for name in tops if not name.startswith("_"))


class _Outcome(NamedTuple):
    """What has come of a spawner."""

    spawner: Spawner | None = None
    ready: bool = False
    modules: Sequence[str] = ()  # that it has imported
    failed: Mapping[str, str] = MappingProxyType({})  # imports that raised
    unfit: str = ""  # the module for which it was given up
    reason: str = ""


async def _outcome(connection: socket.socket, overdue: asyncio.TimerHandle) -> _Outcome:
    loop, decoder, module = asyncio.get_running_loop(), frames.Decoder(), ""
    while True:
        try:
            data = await loop.sock_recv(connection, 65536)
        except ConnectionResetError:
            data = b""
        if not data:
            in_time = overdue.when() > loop.time()
            reason = "ends the process" if in_time else f"takes longer than {_IMPORT_SECONDS:g} s"
            return _Outcome(unfit=module, reason=reason)
        for frame in decoder.feed(data):
            if frame.kind == preloading.BEGUN:
                module = frame.fields["module"]
            elif frame.kind == preloading.UNFIT:
                return _Outcome(unfit=module, reason=frame.fields["reason"])
            else:
                return _Outcome(ready=True, **frame.fields)
