"""Multi Model Server alone: a function ``handle(data, context)``, or one class with ``initialize`` and ``handle``.

The handler is the one that ``MAR-INF/MANIFEST.json`` names, else ``SAGEMAKER_PROGRAM``'s.
"""

from __future__ import annotations

import inspect
import os
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from emulator.model_server.handlers.context import Context, manifest_of
from emulator.model_server.handlers.toolkits.toolkit import Handler, Toolkit
from emulator.model_server.http.response import HandlerError
from emulator.model_server.workers import log


class MmsService:
    """Calls a function or the methods of a class."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def initialize(self, context: Context) -> None:
        """Load the model: a function is called with None; what a class raises is only logged."""
        module = self._handler.module()
        if module is None:
            raise HandlerError(
                "There is no handler: name it in MAR-INF/MANIFEST.json, put inference.py into the archive, or start "
                "with --handler FILE."
            )
        name = self._handler.name or "handle"
        if hasattr(module, name) and not inspect.isclass(getattr(module, name)):
            self._handle = getattr(module, name)
            self._handle(None, context)
            return
        instance = _class_of(module, name)()
        self._handle = instance.handle
        try:
            instance.initialize(context)
        except Exception:
            log.failure(f"Model {context.model_name}: initialize failed. As in Multi Model Server, the model is loaded")

    def handle(self, data: Any, context: Context) -> Any:
        return self._handle(data, context)


def _class_of(module: ModuleType, name: str) -> Any:
    """The class in a module. Raises ValueError unless there is one."""
    if inspect.isclass(named := getattr(module, name, None)):
        return named
    classes = [
        member for _, member in inspect.getmembers(module, inspect.isclass) if member.__module__ == module.__name__
    ]
    if len(classes) != 1:
        raise ValueError(f"Expected only one class in custom service code or a function entry point {classes}")
    return classes[0]


@dataclass(frozen=True)
class _MmsToolkit(Toolkit):
    def handler_in(self, model_dir: str) -> Handler:
        named = ((manifest_of(model_dir) or {}).get("model") or {}).get("handler")
        if not named:
            return super().handler_in(model_dir)
        file, _, name = named.partition(":")
        # Only the file's own name counts, and a module is imported from the model's directory.
        module = os.path.basename(file).removesuffix(".py")
        return Handler(os.path.join(model_dir, f"{module}.py"), name or None)


TOOLKIT = _MmsToolkit("Multi Model Server", MmsService, ("",), fails_at_load=True)
