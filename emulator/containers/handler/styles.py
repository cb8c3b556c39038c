"""Finds a model's handler, and makes one service of it, whichever of the styles that people write it is in.

- a service function ``handle(data, context)`` of the module; called once with ``data=None`` to load
- a class with ``initialize(context)`` to load, and ``handle(data, context)``; the module's only one
- the functions of SageMaker's inference toolkit: ``model_fn``, ``predict_fn``, ``transform_fn`` ... (see ``toolkit``)
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from emulator.containers.handler import toolkit
from emulator.containers.handler.answer import describe
from emulator.containers.handler.context import Context
from emulator.containers.handler.service import Handle, Service


class HandlerError(Exception):
    """There is no handler, or not one that can be used; the message says what to do."""


def load(model_name: str, model_dir: str, handler: str | None, gpu: int | None) -> Service:
    """The service that serves ``model_dir``, loaded.

    ``handler`` is ``FILE`` or ``FILE:NAME``; None takes the one that the model's archive carries. Raises HandlerError,
    or whatever importing the handler or loading the model with it raises.
    """
    file, name = split(handler) if handler else (_carried(model_dir), None)
    context = Context(model_name, model_dir, _manifest(model_dir), gpu)
    # Ahead of what the server's own process finds, as in Multi Model Server: the handler's siblings, then the model's.
    sys.path[:0] = [os.path.dirname(file), model_dir]
    handle = _handle(_import(file), name, context)
    context.metrics.log()
    return Service(handle, context)


def split(handler: str) -> tuple[str, str | None]:
    """``FILE:NAME`` as file and name; the name is None when there is none."""
    file, colon, name = handler.rpartition(":")
    return (file, name) if colon and name.isidentifier() else (handler, None)


def _carried(model_dir: str) -> str:
    program = os.environ.get("SAGEMAKER_PROGRAM", "inference.py").removesuffix(".py") + ".py"
    for file in (os.path.join(model_dir, "code", program), os.path.join(model_dir, program)):
        if os.path.isfile(file):
            return file
    raise HandlerError(
        f"{model_dir} has neither code/{program} nor {program}. Put a handler into the archive, "
        "or start the server with --handler FILE."
    )


def _manifest(model_dir: str) -> Any:
    try:
        with open(os.path.join(model_dir, "MAR-INF", "MANIFEST.json"), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None


def _import(file: str) -> ModuleType:
    name = os.path.basename(file).removesuffix(".py")
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise HandlerError(f"{file} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pickled models name their classes by it
    spec.loader.exec_module(module)
    return module


def _handle(module: ModuleType, name: str | None, context: Context) -> Handle:
    """Decide on a style, and have the handler load its model."""
    if name is not None:
        named = getattr(module, name, None)
        if not callable(named):
            raise HandlerError(f"{module.__file__} has no function or class {name}.")
        return _from_class(named, context) if inspect.isclass(named) else _from_function(named, context)
    if callable(getattr(module, "handle", None)):
        return _from_function(module.handle, context)
    if toolkit.is_for(module):
        return toolkit.load(module, context)
    classes = [
        member for member in vars(module).values() if inspect.isclass(member) and member.__module__ == module.__name__
    ]
    if len(classes) != 1:
        found = ", ".join(member.__name__ for member in classes) or "none"
        raise HandlerError(
            f"{module.__file__} has no function handle(data, context), and no model_fn(model_dir). Its only class "
            f"would do instead, but its classes are: {found}. With --handler FILE:NAME you can name one of several."
        )
    return _from_class(classes[0], context)


def _from_function(function: Any, context: Context) -> Handle:
    try:
        loaded = function(None, context)
    except (TypeError, AttributeError) as error:
        if "NoneType" not in str(error):
            raise
        raise HandlerError(
            f"{describe(error)}. Mind that {function.__name__} is called once with data=None, to load the model."
        ) from error
    if isinstance(loaded, Iterator):  # a generator function does not run before it is asked
        for _ in loaded:
            pass
    return function


def _from_class(chosen: type, context: Context) -> Handle:
    instance = chosen()
    for method, purpose in (("initialize(context)", "load the model"), ("handle(data, context)", "answer")):
        if not hasattr(instance, method.partition("(")[0]):
            raise HandlerError(f"The class {chosen.__name__} has no method {method} to {purpose}.")
    instance.initialize(context)  # type: ignore[attr-defined]
    return instance.handle  # type: ignore[attr-defined]
