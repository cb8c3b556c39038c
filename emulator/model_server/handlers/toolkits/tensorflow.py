"""SageMaker's TensorFlow Serving container: ``input_handler``, a call of TensorFlow Serving, ``output_handler``.

TensorFlow Serving itself is not started here: it is the one at ``LOCALMME_TENSORFLOW_SERVING``.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from emulator.model_server.handlers.content import JSON
from emulator.model_server.handlers.context import Context
from emulator.model_server.handlers.toolkits.toolkit import Handler, Toolkit
from emulator.model_server.workers import log

_SERVING = "http://localhost:8501"  # TensorFlow Serving's own default
_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
_ATTRIBUTE = re.compile(r"(tfs-[a-z\-]+)=([^,]+)")


class TensorFlowContext(NamedTuple):
    """The ``context`` argument of these handlers; the container's names."""

    model_name: str | None
    model_version: str | None
    method: str | None
    rest_uri: str
    grpc_port: str | None
    channel: Any
    custom_attributes: str | None
    request_content_type: str
    accept_header: str
    content_length: int


Answer = Callable[[io.BytesIO, TensorFlowContext], Any]


class TensorFlowService:
    """Calls a handler's ``handler``, or its ``input_handler``, TensorFlow Serving and its ``output_handler``."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def initialize(self, context: Context) -> None:
        """Find the functions. Raises NotImplementedError when the handler has neither one nor both."""
        module = self._handler.module()
        if module is None:
            self._answer: Answer = _passed_on
        elif hasattr(module, "handler"):
            self._answer = module.handler
        elif hasattr(module, "input_handler") and hasattr(module, "output_handler"):
            self._answer = _between(module.input_handler, module.output_handler)
        else:
            raise NotImplementedError("Handlers are not implemented correctly in user script.")

    def handle(self, data: Any, context: Context) -> list[Any]:
        body = bytes(data[0].get("body", b""))
        try:
            content, content_type = self._answer(io.BytesIO(body), _context_of(context, len(body)))
        except Exception as error:
            log.failure(f"Model {context.model_name}: invocation {context.get_request_id()} failed")
            context.set_response_status(500)
            content, content_type = json.dumps({"error": str(error)}), JSON
        context.set_response_content_type(0, content_type or JSON)
        return [content]


def _context_of(context: Context, content_length: int) -> TensorFlowContext:
    headers = {name.lower(): value for name, value in context.get_all_request_header(0).items()}
    attributes = dict(_ATTRIBUTE.findall(headers.get(_ATTRIBUTES, "")))
    name = attributes.get("tfs-model-name") or os.environ.get("TFS_DEFAULT_MODEL_NAME") or context.model_name
    version, method = attributes.get("tfs-model-version"), attributes.get("tfs-method")
    serving = os.environ.get("LOCALMME_TENSORFLOW_SERVING", _SERVING).rstrip("/")
    path = f"{name}/versions/{version}" if version else name
    return TensorFlowContext(
        model_name=name,
        model_version=version,
        method=method,
        rest_uri=f"{serving}/v1/models/{path}:{method or 'predict'}",
        grpc_port=None,
        channel=None,
        custom_attributes=headers.get(_ATTRIBUTES),
        request_content_type=headers.get("content-type") or JSON,
        accept_header=headers.get("accept") or JSON,
        content_length=content_length,
    )


def _between(input_handler: Callable[..., Any], output_handler: Callable[..., Any]) -> Answer:
    def answer(data: io.BytesIO, context: TensorFlowContext) -> Any:
        return output_handler(_predict(input_handler(data, context), context), context)

    return answer


def _passed_on(data: io.BytesIO, context: TensorFlowContext) -> Any:
    return _predict(data.read().decode("utf-8"), context).content, context.accept_header


def _predict(body: Any, context: TensorFlowContext) -> Any:
    import requests

    return requests.post(context.rest_uri, data=body)


@dataclass(frozen=True)
class _TensorFlowToolkit(Toolkit):
    def handler_in(self, model_dir: str) -> Handler:
        """Many models share one handler, which is ``--handler``'s."""
        is_multi_model = os.environ.get("SAGEMAKER_MULTI_MODEL") == "true"
        return Handler(None) if is_multi_model else super().handler_in(model_dir)


TOOLKIT = _TensorFlowToolkit(
    "SageMaker's TensorFlow Serving container", TensorFlowService, ("code",), fails_at_load=True
)
