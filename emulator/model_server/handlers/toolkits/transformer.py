"""The service that SageMaker's inference toolkit makes of a handler's functions.

Each container that is built on the toolkit has its own functions for those that a handler lacks. Messages and statuses
are the toolkit's, which callers see.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from types import ModuleType
from typing import Any

from emulator.model_server.handlers import content
from emulator.model_server.handlers.context import Context
from emulator.model_server.handlers.toolkits.toolkit import Handler
from emulator.model_server.workers import log

_CONTENT_TYPE = re.compile("^[Cc]ontent-?[Tt]ype")
_MISSING = "\nPlease provide a {} implementation.\nSee documentation for {} at {}\n"


def missing(function: str, documentation: str) -> Callable[..., Any]:
    """A default that says that the handler has to have this function."""

    def raises(*arguments: Any) -> Any:
        raise NotImplementedError(_MISSING.format(function, function, documentation))

    return raises


@dataclass(frozen=True)
class Defaults:
    """A container's functions for those that a handler lacks."""

    model_fn: Callable[[str], Any]
    input_fn: Callable[[Any, Any], Any]
    predict_fn: Callable[[Any, Any], Any]
    output_fn: Callable[[Any, str], Any]
    """Returns the body, or a tuple of it and its content type."""


class Transformer:
    """Calls a handler's functions, and a container's defaults in place of those that it lacks."""

    def __init__(self, handler: Handler, defaults: Defaults) -> None:
        self._handler, self._defaults = handler, defaults
        self._initialized = False

    def initialize(self, context: Context) -> None:
        """Load the model, unless that has been done."""
        if self._initialized:
            return
        module = self._handler.module()
        names = ("transform_fn", "input_fn", "predict_fn", "output_fn")
        functions = {name: getattr(module, name, None) for name in names}
        check_combination(**functions)

        def prepared(name: str, arguments: int) -> Callable[..., Any]:
            function = functions[name]
            return with_context(function, arguments, context) if function else getattr(self._defaults, name)

        decode, predict, encode = prepared("input_fn", 2), prepared("predict_fn", 2), prepared("output_fn", 2)

        def transform(model: Any, body: Any, content_type: str | None, accept: str) -> Any:
            return encode(predict(decode(body, content_type), model), accept)

        whole = functions["transform_fn"]
        self._transform = with_context(whole, 4, context) if whole else transform
        self._model = self._load(module, context)
        self._initialized = True

    def _load(self, module: ModuleType | None, context: Context) -> Any:
        model_dir = context.system_properties["model_dir"]
        if before := getattr(module, "pre_model_fn", None):
            with_context(before, 1, context)(model_dir)
        load = getattr(module, "model_fn", None)
        model = (with_context(load, 1, context) if load else self._defaults.model_fn)(model_dir)
        if after := getattr(module, "model_warmup_fn", None):
            with_context(after, 2, context)(model_dir, model)
        return model

    def handle(self, data: Any, context: Context) -> list[Any]:
        try:
            self.initialize(context)
            return [self._answer(data[0].get("body"), context)]
        except Exception as error:  # also a MemoryError, for which the toolkit does not answer 507
            log.failure(f"Model {context.model_name}: invocation {context.get_request_id()} failed")
            status, message, phrase = _answer_to(error)
            context.set_response_status(status, phrase.replace("\r", " ").replace("\n", " "))
            return [f"{message}\n{log.handler_traceback()}"]  # as in the toolkit, the caller gets the traceback

    def _answer(self, body: Any, context: Context) -> Any:
        headers = context.get_all_request_header(0)
        content_type = content_type_of(headers)
        accept = headers.get("Accept") or headers.get("accept")
        if not accept or accept == "*/*":
            accept = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", content.JSON)
        if content_type in content.TEXT:
            body = body.decode("utf-8")
        result = self._transform(self._model, body, content_type, accept)
        result, answer_type = (result[0], result[1]) if isinstance(result, tuple) else (result, accept)
        context.set_response_content_type(0, answer_type)
        return result


def content_type_of(headers: dict[str, Any]) -> Any:
    """The request's content type by any spelling of the header that the toolkit knows."""
    return next((headers[name] for name in headers if _CONTENT_TYPE.match(name)), None)


def check_combination(transform_fn: Any, input_fn: Any, predict_fn: Any, output_fn: Any) -> None:
    """Check that a handler does not do one thing in two ways.

    Raises ValueError.
    """
    if transform_fn and (input_fn or predict_fn or output_fn):
        raise ValueError(
            "Cannot use transform_fn implementation in conjunction with "
            "input_fn, predict_fn, and/or output_fn implementation"
        )


def with_context(function: Callable[..., Any], arguments: int, context: Context) -> Callable[..., Any]:
    """A handler's function that takes these arguments, or the context after them.

    When it takes neither, what is returned raises TypeError.
    """
    parameters = len(signature(function).parameters)
    if parameters == arguments:
        return function
    if parameters == arguments + 1:
        return lambda *values: function(*values, context)

    def raises(*values: Any) -> Any:
        raise TypeError(f"{function.__name__} takes {parameters} arguments but {arguments} were given.")

    return raises


def _answer_to(error: Exception) -> tuple[int, str, str]:
    """An exception's status, message and phrase: those in the toolkit's own exception, else 500 and its text."""
    if any(kind.__name__ == "BaseInferenceToolkitError" for kind in type(error).__mro__):
        return error.status_code, error.message, getattr(error, "phrase", "")  # type: ignore[attr-defined]
    message = str(error) or "Invalid Request"
    return 500, message, message
