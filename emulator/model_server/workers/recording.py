"""Records what the load of a model imports, so that the next worker can be forked from a process that has it."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from emulator.model_server.handlers.imports import is_from_library, library_directories
from emulator.model_server.workers import log


class Recording:
    """Records the modules of libraries that are imported, and the environment variables that the handler sets.

    A library may read a variable when it is imported. So a worker whose modules were imported before its handler sets
    a variable may differ from one that imports them itself.
    """

    is_preloaded = False  # whether this process has been forked from one that had imported modules for handlers

    def __init__(self, environment_changed: Callable[[str], None]) -> None:
        """``environment_changed`` is called with a variable's name when the handler, while it is imported, sets it to
        another value, in a process that is preloaded."""
        self._environment_changed = environment_changed
        self._directories = library_directories()
        self._last_before = ""  # module
        self._environment: dict[str, str] = {}  # what the handler has set while it was imported
        self._early: int | None = None  # modules that were imported before the first variable was set

    def __enter__(self) -> Recording:
        # Not a set of all: to look at a module is to copy its page from the spawner.
        self._last_before = next(reversed(sys.modules))
        self._putenv, self._unsetenv = os.putenv, os.unsetenv
        os.putenv, os.unsetenv = self._record_putenv, self._record_unsetenv
        return self

    def __exit__(self, *_: object) -> None:
        os.putenv, os.unsetenv = self._putenv, self._unsetenv

    def fields(self) -> dict[str, Any]:
        """What the server wants to know: the modules, how many of them came before ``environment``, that, and the files
        of the handler's own modules."""
        modules = self._modules()
        early = len(modules) if self._early is None else self._early
        return {"modules": modules, "early": early, "environment": self._environment, "files": self._files(modules)}

    def _modules(self) -> list[str]:
        """Those of libraries, in the order in which their imports were complete."""
        return [name for name in self._new() if is_from_library(name, sys.modules[name], self._directories)]

    def _files(self, modules: list[str]) -> list[str]:
        """Those of the other modules: the handler's own."""
        own = (getattr(sys.modules[name], "__file__", None) for name in set(self._new()) - set(modules))
        return [file for file in own if file]

    def _new(self) -> list[str]:
        new = list(itertools.takewhile(lambda name: name != self._last_before, reversed(sys.modules)))
        return new[::-1]

    def _record_putenv(self, name: Any, value: Any) -> None:
        if os.environb.get(os.fsencode(name)) != os.fsencode(value):
            self._changed(os.fsdecode(name), os.fsdecode(value))
        self._putenv(name, value)

    def _record_unsetenv(self, name: Any) -> None:
        self._changed(os.fsdecode(name), None)
        self._unsetenv(name)

    def _changed(self, name: str, value: str | None) -> None:
        by_handler, while_imported = _origin(sys._getframe(2), self._directories)
        if not by_handler:
            return
        if while_imported and self.is_preloaded:
            self._environment_changed(name)
        if self._early is None:
            self._early = len(self._modules())
        if while_imported and value is not None:
            self._environment[name] = value


def _origin(frame: FrameType | None, directories: tuple[str, ...]) -> tuple[bool, bool]:
    """Whether the handler's code is at work, not a library that is being imported; and whether it is being imported."""
    by_handler = False
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith("<frozen importlib"):
            return by_handler, by_handler
        if log.is_server_code(file):
            break
        by_handler = by_handler or not file.startswith(("<frozen ", *directories))
        frame = frame.f_back
    return by_handler, False
