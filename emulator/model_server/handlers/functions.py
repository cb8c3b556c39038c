"""Handlers that are modules with ``model_fn``, ``predict_fn`` and the like, as AWS's containers call them.

The functions that such a handler lacks are those of the container for which it is written, where that is plain. Unlike
in the containers, a model that cannot be loaded is not loaded, so that the reason is seen at once.
"""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

from emulator.model_server.handlers import toolkits
from emulator.model_server.handlers.context import Context
from emulator.model_server.handlers.service import Handle
from emulator.model_server.handlers.toolkits import detection
from emulator.model_server.handlers.toolkits.toolkit import Handler, Toolkit
from emulator.model_server.handlers.toolkits.transformer import check_combination
from emulator.model_server.http.response import HandlerError, describe

_log = logging.getLogger(__name__)
_FUNCTIONS = ("model_fn", "input_fn", "predict_fn", "output_fn", "transform_fn")
# How many arguments the toolkit passes to each function; a function with one more parameter gets the context, too.
_ARGUMENTS = {
    "pre_model_fn": 1,
    "model_fn": 1,
    "model_warmup_fn": 2,
    "input_fn": 2,
    "predict_fn": 2,
    "output_fn": 2,
    "transform_fn": 4,
}

# Called with what is worth knowing of a handler. Where several processes run it, they say it once together.
note: Callable[[str], None] = _log.info


def are_in(module: ModuleType) -> bool:
    """Whether a module has functions of this style."""
    return any(callable(getattr(module, name, None)) for name in _FUNCTIONS)


def check(module: ModuleType) -> None:
    """Check that the module's functions fit together, and that they can be called.

    Raises ValueError, NotImplementedError or TypeError.
    """
    functions = {name: getattr(module, name, None) for name in _ARGUMENTS}
    check_combination(*(functions[name] for name in ("transform_fn", "input_fn", "predict_fn", "output_fn")))
    if not functions["model_fn"] and not _toolkit_of(module)[0].loads:
        raise NotImplementedError(f"Please provide a model_fn implementation: {module.__file__} does not have it.")
    for name, function in functions.items():
        if function:
            _check_parameters(name, function)


def load(module: ModuleType, context: Context) -> Handle:
    """Load the model with the module's ``model_fn``. Returns the ``handle(data, context)`` that serves it.

    Raises HandlerError when memory runs out, and whatever the module's functions raise.
    """
    toolkit, sign = _toolkit_of(module)
    if sign and (missing := _missing(module)):
        file = os.path.basename(module.__file__ or "")
        _say(f"{file} imports {sign} and has no {' and no '.join(missing)}", toolkit)
    return _loaded(toolkit, Handler(module.__file__, imported=module), context)


def load_without_handler(model_dir: str, context: Context) -> Handle | None:
    """Load a model that has no handler with the functions of the container that can; None = none can, as it seems."""
    found = detection.of_files(model_dir)
    if found is None:
        return None
    toolkit = toolkits.named(found[0])
    _say(f"The model has no handler, but {found[1]}", toolkit)
    return _loaded(toolkit, Handler(None), context)


def _toolkit_of(module: ModuleType) -> tuple[Toolkit, str | None]:
    """The toolkit for a module's functions, and what it imports that says so."""
    found = detection.of_handler(module.__file__ or "")
    return (toolkits.named(found[0]), found[1]) if found else (toolkits.named("unknown"), None)


def _missing(module: ModuleType) -> list[str]:
    """The functions that the module lacks."""
    whole = getattr(module, "transform_fn", None)
    needed = ["model_fn"] if whole else ["model_fn", "input_fn", "predict_fn", "output_fn"]
    return [name for name in needed if not getattr(module, name, None)]


def _say(reason: str, toolkit: Toolkit) -> None:
    note(f"{reason}: it gets what {toolkit.container} has for that. --toolkit chooses another.")


def _loaded(toolkit: Toolkit, handler: Handler, context: Context) -> Handle:
    service = toolkit.service(handler)
    try:
        service.initialize(context)
    except MemoryError as error:
        raise HandlerError(
            f"{describe(error)}. For this the toolkit answers 500, so that no other model is unloaded; "
            "a service function, handle(data, context), would get 507."
        ) from error
    return service.handle


def _check_parameters(name: str, function: Any) -> None:
    arguments, parameters = _ARGUMENTS[name], len(inspect.signature(function).parameters)
    if parameters not in (arguments, arguments + 1):
        raise TypeError(
            f"{function.__name__} must take {arguments} arguments, or {arguments + 1} with the context, "
            f"not {parameters}"
        )
