"""SageMaker's Hugging Face container: a pipeline of transformers, of a model without any handler, too.

Its own service, which is not that of the inference toolkit: whatever goes wrong is 400 with the exception's text.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from inspect import signature
from typing import Any

from emulator.model_server.handlers.content import JSON, TEXT
from emulator.model_server.handlers.context import Context
from emulator.model_server.handlers.toolkits import huggingface_content
from emulator.model_server.handlers.toolkits.huggingface_content import PredictionException
from emulator.model_server.handlers.toolkits.toolkit import Handler, Toolkit
from emulator.model_server.handlers.toolkits.transformer import check_combination, content_type_of

_log = logging.getLogger(__name__)
# What a model's architecture ends with -> its task; the last one that fits counts.
_TASKS = {
    "TapasForQuestionAnswering": "table-question-answering",
    "ForQuestionAnswering": "question-answering",
    "ForTokenClassification": "token-classification",
    "ForSequenceClassification": "text-classification",
    "ForMultipleChoice": "multiple-choice",
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": "text-generation",
    "ForConditionalGeneration": "text2text-generation",
    "MTModel": "text2text-generation",
    "EncoderDecoderModel": "text2text-generation",
    "GPT2LMHeadModel": "text-generation",
    "T5WithLMHeadModel": "text2text-generation",
}
_OF_SOUND_OR_PICTURES = {
    "automatic-speech-recognition",
    "image-segmentation",
    "image-classification",
    "audio-classification",
    "object-detection",
    "zero-shot-image-classification",
}
# How many arguments each function gets; one with one more parameter gets the context, too.
_ARGUMENTS = {"model_fn": 1, "input_fn": 2, "predict_fn": 2, "output_fn": 2, "transform_fn": 4}


class HuggingFaceService:
    """Calls a handler's functions, and the container's own in place of those that it lacks."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._initialized = False

    def initialize(self, context: Context) -> None:
        """Load the model."""
        model_dir = context.system_properties["model_dir"]
        sys.path.insert(0, os.path.join(model_dir, "code"))
        module = self._handler.module()
        functions = {name: getattr(module, name, None) for name in _ARGUMENTS}
        check_combination(**{name: function for name, function in functions.items() if name != "model_fn"})

        def prepared(name: str, default: Callable[..., Any]) -> Callable[..., Any]:
            function = functions[name]
            return default if function is None else _with_context(function, _ARGUMENTS[name], context)

        load = prepared("model_fn", lambda model_dir: _pipeline(model_dir, context))
        decode, predict = prepared("input_fn", _input_fn), prepared("predict_fn", _predict_fn)
        encode = prepared("output_fn", huggingface_content.encode)
        self._transform = prepared(
            "transform_fn",
            lambda model, body, content_type, accept: encode(predict(decode(body, content_type), model), accept),
        )
        self._model = load(model_dir)
        self._initialized = True

    def handle(self, data: Any, context: Context) -> list[Any]:
        try:
            if not self._initialized:
                self.initialize(context)
            body = data[0].get("body")
            headers = context.get_all_request_header(0)
            content_type = content_type_of(headers)
            accept = headers.get("Accept") or headers.get("accept")
            if not accept or accept == "*/*":
                accept = JSON
            if content_type in TEXT:
                body = body.decode("utf-8")
            begin = time.time()
            result = self._transform(self._model, body, content_type, accept)
            context.metrics.add_time("Transform Fn", round((time.time() - begin) * 1000, 2))
            context.set_response_content_type(0, accept)
            return [result]
        except Exception as error:
            raise PredictionException(str(error), 400) from error


def _with_context(function: Callable[..., Any], arguments: int, context: Context) -> Callable[..., Any]:
    """A handler's function that takes these arguments, or the context after them. Raises TypeError."""
    parameters = len(signature(function).parameters)
    if parameters == arguments:
        return function
    if parameters == arguments + 1:
        return lambda *values: function(*values, context)
    raise TypeError(
        f"{function.__name__} definition takes {arguments} or {arguments + 1} arguments but {parameters} were given."
    )


def _pipeline(model_dir: str, context: Context) -> Any:
    """The pipeline of the task ``HF_TASK``, or of the model's architecture. Raises ValueError when there is neither."""
    task = os.environ.get("HF_TASK")
    names = os.listdir(model_dir)
    if task is None and "config.json" in names:
        task = os.environ["HF_TASK"] = _task_of(os.path.join(model_dir, "config.json"))
    elif task is None and "model_index.json" in names:
        task = "text-to-image"
    import transformers

    if task is None:
        known = list(transformers.pipelines.SUPPORTED_TASKS)
        raise ValueError(f"You need to define one of the following {known} or text-to-image as env 'HF_TASK'.", 403)
    # Most tasks are about text. These are not, and have no tokenizer.
    part = "feature_extractor" if task in _OF_SOUND_OR_PICTURES else "tokenizer"
    return transformers.pipeline(
        task=task, model=model_dir, device=_device(context), trust_remote_code=_trusts_code(), **{part: model_dir}
    )


def _task_of(config: str) -> str:
    with open(config, encoding="utf-8") as file:
        architecture = json.load(file).get("architectures", [None])[0]
    tasks = [task for ending, task in _TASKS.items() if architecture.endswith(ending)]
    if not tasks:
        raise ValueError(
            f"Task couldn't be inferenced from {architecture}."
            f"Inference Toolkit can only inference tasks from architectures ending with {list(_TASKS)}."
            "Use env `HF_TASK` to define your task."
        )
    return tasks[-1]


def _device(context: Context) -> int:
    import torch

    return int(context.system_properties["gpu_id"] or 0) if torch.cuda.is_available() else -1


def _trusts_code() -> bool:
    return os.environ.get("HF_TRUST_REMOTE_CODE", "False").lower() in ("y", "yes", "t", "true", "on", "1")


def _input_fn(body: Any, content_type: str | None) -> Any:
    task = os.environ.get("HF_TASK")
    if task in ("zero-shot-classification", "table-question-answering") and content_type == "text/csv":
        raise PredictionException(
            f"content type {content_type} not support with {task}, use different content_type", 400
        )
    return huggingface_content.decode(body, content_type)


def _predict_fn(data: Any, model: Any) -> Any:
    inputs = data.pop("inputs", data)
    parameters = data.pop("parameters", None)
    return model(inputs) if parameters is None else model(inputs, **parameters)


TOOLKIT = Toolkit("SageMaker's Hugging Face container", HuggingFaceService, ("code", ""), loads=True)
