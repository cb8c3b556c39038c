"""Handlers in the style of SageMaker's inference toolkit: a module with ``model_fn``, ``predict_fn`` and the like.

Functions that the module does not define do what the toolkit does. The toolkit leaves ``predict_fn`` to each
framework's container; here it is ``model.predict(data)``, or ``model(data)`` for a model without that method.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from emulator.model_server.handlers import content
from emulator.model_server.handlers.context import Context
from emulator.model_server.http.response import HandlerError, describe
from emulator.model_server.workers import log

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


def is_for(module: ModuleType) -> bool:
    """Whether a module has functions of this style."""
    return any(callable(getattr(module, name, None)) for name in _FUNCTIONS)


def check(module: ModuleType) -> dict[str, Callable[..., Any] | None]:
    """The module's functions by the toolkit's names.

    Raises ValueError, NotImplementedError or TypeError when they do not fit together, or have other parameters.
    """
    functions = {name: getattr(module, name, None) for name in _ARGUMENTS}
    if functions["transform_fn"] and any(functions[name] for name in ("input_fn", "predict_fn", "output_fn")):
        raise ValueError(
            "Cannot use transform_fn implementation in conjunction with "
            "input_fn, predict_fn, and/or output_fn implementation"
        )
    if not functions["model_fn"]:
        raise NotImplementedError(f"Please provide a model_fn implementation: {module.__file__} does not have it.")
    for name, function in functions.items():
        if function:
            _takes_context(name, function)
    return functions


def load(module: ModuleType, context: Context) -> Callable[[Any, Context], list[Any]]:
    """Load the model with the module's ``model_fn``. Returns the ``handle(data, context)`` that serves it.

    Raises what ``check`` raises, HandlerError when memory runs out, and whatever the module's functions raise.
    """
    functions = check(module)

    def prepared(name: str, default: Callable[..., Any]) -> Callable[..., Any]:
        function = functions[name]
        if function is None:
            return default
        return _with_context(function, context) if _takes_context(name, function) else function

    model_dir = context.system_properties["model_dir"]
    try:
        prepared("pre_model_fn", lambda model_dir: None)(model_dir)
        model = prepared("model_fn", lambda model_dir: None)(model_dir)
        prepared("model_warmup_fn", lambda model_dir, model: None)(model_dir, model)
    except MemoryError as error:
        raise HandlerError(
            f"{describe(error)}. For this the toolkit answers 500, so that no other model is unloaded; "
            "a service function, handle(data, context), would get 507."
        ) from error

    decode = prepared("input_fn", content.decode)
    predict = prepared("predict_fn", _predict)
    encode = prepared("output_fn", _encode)

    def default_transform(model: Any, body: Any, content_type: str | None, accept: str) -> Any:
        return encode(predict(decode(body, content_type), model), accept)

    transform = prepared("transform_fn", default_transform)

    def handle(data: Any, context: Context) -> list[Any]:
        try:
            return [_transform(transform, model, data[0].get("body"), context)]
        except Exception as error:  # also a MemoryError, for which the toolkit does not answer 507
            log.failure(f"Model {context.model_name}: invocation {context.get_request_id()} failed")
            status, message = _status_and_message(error)
            context.set_response_status(status)
            return [f"{message}\n{log.handler_traceback()}"]  # as in the toolkit, the caller gets the traceback

    return handle


def _transform(transform: Callable[..., Any], model: Any, body: Any, context: Context) -> Any:
    headers = context.get_all_request_header(0)
    content_type = next((headers[name] for name in headers if _is_content_type(name)), None)
    accept = headers.get("Accept") or headers.get("accept")
    if not accept or accept == "*/*":
        accept = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", content.JSON)
    if content_type in content.TEXT:
        body = body.decode("utf-8")
    result = transform(model, body, content_type, accept)
    result, answer_type = result if isinstance(result, tuple) else (result, accept)
    context.set_response_content_type(0, answer_type)
    return result


def _status_and_message(error: Exception) -> tuple[int, str]:
    """An exception's status and message: those in the toolkit's own exception, else 500 and its text."""
    if any(kind.__name__ == "BaseInferenceToolkitError" for kind in type(error).__mro__):
        return error.status_code, error.message  # type: ignore[attr-defined]
    return 500, str(error)


def _is_content_type(name: str) -> bool:
    return name.lower() in ("content-type", "contenttype")


def _takes_context(name: str, function: Callable[..., Any]) -> bool:
    """Whether a function also takes the context. Raises TypeError for another number of parameters."""
    arguments, parameters = _ARGUMENTS[name], len(inspect.signature(function).parameters)
    if parameters not in (arguments, arguments + 1):
        raise TypeError(
            f"{function.__name__} must take {arguments} arguments, or {arguments + 1} with the context, "
            f"not {parameters}"
        )
    return parameters > arguments


def _with_context(function: Callable[..., Any], context: Context) -> Callable[..., Any]:
    return lambda *arguments: function(*arguments, context)


def _predict(data: Any, model: Any) -> Any:
    if hasattr(model, "predict"):
        return model.predict(data)
    if callable(model):
        return model(data)
    raise NotImplementedError(
        "Please provide a predict_fn implementation: what model_fn returned has no method predict, and is not callable."
    )


def _encode(prediction: Any, accept: str) -> Any:
    if isinstance(prediction, Iterator):
        return prediction, accept
    return content.encode(prediction, accept)
