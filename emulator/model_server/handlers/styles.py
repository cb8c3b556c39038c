"""Finds a model's handler, in any of the styles in which people write them, and makes a ``Service`` of it.

- a service function ``handle(data, context)`` of the module; called once with ``data=None`` to load
- a class with ``initialize(context)`` to load, and ``handle(data, context)``; the module's only one
- the functions of SageMaker's inference toolkit: ``model_fn``, ``predict_fn``, ``transform_fn`` ... (see ``functions``)
"""

from __future__ import annotations

import inspect
import logging
import os
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from emulator.model_server.handlers import functions, submit_directory, toolkits
from emulator.model_server.handlers.context import Context, manifest_of
from emulator.model_server.handlers.packages import comes_with_a_package, how_to_install, warn_of_missing_packages
from emulator.model_server.handlers.service import Handle, Service
from emulator.model_server.handlers.toolkits.toolkit import Handler, Toolkit, import_file
from emulator.model_server.http.response import HandlerError, describe
from emulator.model_server.workers import log

_log = logging.getLogger(__name__)


def load(model_name: str, model_dir: str, handler: str | None, gpu: int | None) -> Service:
    """A service for the model in ``model_dir``, which is loaded.

    ``handler`` is ``FILE`` or ``FILE:NAME``; None = the handler in the model's archive. Raises HandlerError, or
    whatever importing the handler or loading the model raises.
    """
    warn_of_missing_packages(model_dir)
    context = Context(model_name, model_dir, manifest_of(model_dir), gpu)
    if toolkit := toolkits.chosen():
        service = _as_in_container(toolkit, Handler(*split(handler)) if handler else None, model_dir, context)
    else:
        service = Service(_handle_of(handler, model_dir, context), context)
    context.metrics.log()
    return service


def _handle_of(handler: str | None, model_dir: str, context: Context) -> Handle:
    """Load the model with its handler, whatever its style is."""
    if handler is None and not _file_in(model_dir) and (handle := functions.load_without_handler(model_dir, context)):
        return handle
    file, name = split(handler) if handler else (_handler_in(model_dir), None)
    _put_on_path(file, model_dir)
    return _handle(import_file(file), name, context)


def _as_in_container(toolkit: Toolkit, handler: Handler | None, model_dir: str, context: Context) -> Service:
    """Load the model as a container does: it mostly counts as loaded, whatever its handler raises."""
    handler = handler or toolkit.handler_in(model_dir)
    _put_on_path(handler.file, model_dir)
    if handler.file is None and (elsewhere := _file_in(model_dir)):
        _log.warning("%s does not look at %s, and has no handler for this model", toolkit.container, elsewhere)
    service = toolkit.service(handler)
    try:
        service.initialize(context)
    except Exception as error:
        if toolkit.fails_at_load or isinstance(error, HandlerError):
            raise
        log.failure(
            f"Model {context.model_name} could not be loaded. As in {toolkit.container}, it counts as loaded all the "
            "same, and each invocation tries again"
        )
    return Service(service.handle, context, as_in_container=True)


def _put_on_path(file: str | None, model_dir: str) -> None:
    """Before the server's own import path, as in Multi Model Server: the handler's directory, then the model's."""
    sys.path[:0] = [*([os.path.dirname(file)] if file else []), model_dir]


def try_out(handler: str) -> None:
    """Import a handler for all models before there is a model, and check that it can be called.

    Raises HandlerError when it can never work. What may work with a model's directory is only logged.
    """
    file, name = split(handler)
    sys.path.insert(0, os.path.dirname(file))
    try:
        module = import_file(file)
        if toolkits.chosen() is None:
            _find(module, name)
    except ImportError as error:
        message = f"{describe(error)}. {how_to_install(error.name)}"
        if isinstance(error, ModuleNotFoundError) and not comes_with_a_package(error):
            log.failure(f"{file} cannot be imported without a model:")
            _log.warning("Unless every archive contains it, no model can be loaded: %s", message)
        else:
            raise HandlerError(message) from error
    except SyntaxError as error:
        raise HandlerError(describe(error)) from error
    except HandlerError:
        raise
    except Exception:
        log.failure(f"{file} cannot be imported without a model. It is tried again with each model:")


def split(handler: str) -> tuple[str, str | None]:
    """``FILE`` or ``FILE:NAME`` as file and name; the name is None if it is omitted."""
    file, colon, name = handler.rpartition(":")
    return (file, name) if colon and name.isidentifier() else (handler, None)


def _program() -> str:
    return os.environ.get("SAGEMAKER_PROGRAM", "inference.py").removesuffix(".py") + ".py"


def _file_in(model_dir: str) -> str | None:
    """The handler file in an archive, or else in ``SAGEMAKER_SUBMIT_DIRECTORY``, if there is one."""
    submitted = submit_directory.path()
    folders = (os.path.join(model_dir, "code"), model_dir, *([submitted] if submitted else []))
    return next(filter(os.path.isfile, (os.path.join(folder, _program()) for folder in folders)), None)


def _handler_in(model_dir: str) -> str:
    """The handler file in an archive. Raises HandlerError when there is none."""
    if file := _file_in(model_dir):
        return file
    program = _program()
    inside = _inside_one_folder(model_dir, program)
    if inside:
        raise HandlerError(
            f"All of the archive is inside the folder {inside}/, so code/{program} is not found. "
            f"Pack what is in the folder: localmme pack .../{inside}"
        )
    raise HandlerError(
        f"{model_dir} has neither code/{program} nor {program}. Put a handler into the archive, "
        "or start the server with --handler FILE."
    )


def _inside_one_folder(model_dir: str, program: str) -> str:
    """The only folder of an archive, if the handler is in it; else an empty string."""
    try:
        names = [name for name in os.listdir(model_dir) if not name.startswith(".")]
    except OSError:
        return ""
    if len(names) != 1:
        return ""
    found = (os.path.join(model_dir, names[0], *path) for path in (("code", program), (program,)))
    return names[0] if any(map(os.path.isfile, found)) else ""


# A function that loads the model with a handler, and that handler: a function, a class or a module.
Found = tuple[Callable[[Any, Context], Handle], Any]


def _handle(module: ModuleType, name: str | None, context: Context) -> Handle:
    """Find the handler, and load the model with it."""
    load, found = _find(module, name)
    return load(found, context)


def _find(module: ModuleType, name: str | None) -> Found:
    """The module's handler, and the function that loads a model with it. Raises HandlerError."""
    if name is not None:
        named = getattr(module, name, None)
        if not callable(named):
            raise HandlerError(f"{module.__file__} has no function or class {name}.")
        return _checked_class(named) if inspect.isclass(named) else _checked_function(named)
    if callable(getattr(module, "handle", None)):
        return _checked_function(module.handle)
    if functions.are_in(module):
        try:
            functions.check(module)
        except (ValueError, NotImplementedError, TypeError) as error:
            raise HandlerError(f"{describe(error)}") from error
        return functions.load, module
    classes = [
        member for member in vars(module).values() if inspect.isclass(member) and member.__module__ == module.__name__
    ]
    if len(classes) != 1:
        raise HandlerError(_no_handler(module, classes))
    return _checked_class(classes[0])


def _no_handler(module: ModuleType, classes: list[type]) -> str:
    text = f"{module.__file__} has no function handle(data, context), and no model_fn(model_dir)."
    others = [name for name in ("input_handler", "output_handler", "handler") if callable(getattr(module, name, None))]
    if others:
        return (
            f"{text} It has {' and '.join(others)}, which SageMaker's TensorFlow Serving container calls; this server "
            "does not, unless that is chosen: --toolkit tensorflow. Or load the model in model_fn(model_dir), and do "
            "what they do in input_fn and output_fn."
        )
    if classes:
        found = ", ".join(member.__name__ for member in classes)
        return f"{text} Of its classes ({found}), name the handler class: --handler FILE:NAME."
    return f"{text} Write one of these, or one class with initialize(context) and handle(data, context)."


def _checked_function(function: Any) -> Found:
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        raise HandlerError(
            f"{function.__name__}{inspect.signature(function)} cannot be called as {function.__name__}(data, context), "
            "which is how a service function is called. Give it these two parameters."
        ) from None
    except ValueError:  # its signature is not known
        pass
    return _from_function, function


def _checked_class(chosen: type) -> Found:
    methods = (("initialize(context)", "load the model"), ("handle(data, context)", "answer"))
    for method, purpose in methods:
        name = method.partition("(")[0]
        if not hasattr(chosen, name) and not hasattr(chosen(), name):
            raise HandlerError(f"The class {chosen.__name__} has no method {method} to {purpose}.")
    return _from_class, chosen


def _from_function(function: Any, context: Context) -> Handle:
    try:
        loaded = function(None, context)
    except (TypeError, AttributeError) as error:
        if "NoneType" not in str(error):
            raise
        raise HandlerError(
            f"{describe(error)}. Note that {function.__name__} is called once with data=None, to load the model."
        ) from error
    if isinstance(loaded, Iterator):  # a generator function runs only when iterated
        for _ in loaded:
            pass
    handle: Handle = function
    return handle


def _from_class(chosen: type, context: Context) -> Handle:
    instance: Any = chosen()
    instance.initialize(context)
    handle: Handle = instance.handle
    return handle
