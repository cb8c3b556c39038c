"""A container's toolkit: where it looks for a handler, and the service that it makes of it."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

from emulator.model_server.handlers import submit_directory
from emulator.model_server.handlers.context import Context
from emulator.model_server.http.response import HandlerError


@dataclass(frozen=True)
class Handler:
    """A model's handler, which may be missing: then the container's own functions are all that there is."""

    file: str | None
    name: str | None = None
    """A function or class in the file."""
    imported: ModuleType | None = None
    """The file's module, if it was imported already."""

    def module(self) -> ModuleType | None:
        """The file's module; None without a file. Raises whatever its code raises."""
        return self.imported if self.imported or self.file is None else import_file(self.file)


def import_file(file: str) -> ModuleType:
    """Run a Python file as a module by its own name. Raises HandlerError, or whatever its code raises."""
    name = os.path.basename(os.path.dirname(file) if file.endswith("__init__.py") else file).removesuffix(".py")
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise HandlerError(f"{file} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pickled models refer to their classes by this name
    spec.loader.exec_module(module)
    return module


class ModelService(Protocol):
    """A model with its handler. A service whose ``initialize`` failed tries again when it is called."""

    def initialize(self, context: Context) -> None:
        """Load the model. Raises whatever the handler raises."""

    def handle(self, data: Any, context: Context) -> Any:
        """Answer one request."""


@dataclass(frozen=True)
class Toolkit:
    """What one of AWS's containers does with handlers."""

    container: str
    """The container in words, for messages."""
    service: Callable[[Handler], ModelService]
    folders: tuple[str, ...]
    """The folders of a model in which the handler is looked for, in this order; "" is the model's own directory."""
    takes_submitted: bool = False
    """Whether it looks for the handler in ``SAGEMAKER_SUBMIT_DIRECTORY``, too, after the folders of the model."""
    loads: bool = False
    """Whether it loads models without a handler's ``model_fn``."""
    fails_at_load: bool = False
    """Whether a model whose load fails is not loaded; else it counts as loaded, and each invocation tries again."""

    def handler_in(self, model_dir: str) -> Handler:
        """The handler of a model. ``SAGEMAKER_PROGRAM`` is its name: that of a file, of a module or of a package."""
        name = os.environ.get("SAGEMAKER_PROGRAM", "inference.py").removesuffix(".py")
        submitted = submit_directory.path() if self.takes_submitted else None
        folders = [os.path.join(model_dir, folder) for folder in self.folders]
        for folder in (*folders, *([submitted] if submitted else [])):
            for file in (f"{name}.py", os.path.join(name, "__init__.py")):
                if os.path.isfile(path := os.path.join(folder, file)):
                    return Handler(path)
        return Handler(None)
