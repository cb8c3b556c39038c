"""From what a person typed to what the emulator takes: every option of ``serve``, and what can be wrong with it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from emulator.archives.model_data_url import S3Url, is_url, parse_s3_url
from emulator.errors import SetupError
from emulator.hosting.definition import (
    Caching,
    ContainerDefinition,
    EndpointDefinition,
    ModelDefinition,
    Resources,
    VariantDefinition,
)
from emulator.hosting.instance_types import resources_of, unfit_for_many_models
from emulator.hosting.storage_sizes import storage_bytes
from emulator.services.sagemaker.image import command_of, embedded_server, image_of
from emulator.sizes import parse_size
from localmme.aws_environment import region

ENDPOINT_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")  # [api]


def definition(
    *,
    models: str,
    handler: str | None,
    command: str | None,
    image: str | None,
    gpus: str | None,
    instances: int,
    endpoint_name: str,
    instance_type_name: str | None,
    memory: str | None,
    storage: str | None,
    max_loaded_models: int | None,
    workers_per_model: int | None,
    cache: bool,
    reload: bool,
    environment: Sequence[str],
) -> EndpointDefinition:
    """The endpoint that was asked for. Raises SetupError, in one line, for what cannot work."""
    if not ENDPOINT_NAME.fullmatch(endpoint_name):
        raise SetupError(
            f"{endpoint_name!r} is not an endpoint name: use up to 63 letters, digits and, between them, hyphens."
        )
    if sum(map(bool, (handler, command, image))) > 1:
        raise SetupError("--handler, --command and --image exclude each other: each says what runs as the container.")
    if gpus and not image:
        raise SetupError("--gpus goes with --image: a local process sees the machine's GPUs as they are.")
    variables = dict(variable(text) for text in environment)
    if workers_per_model is not None:
        # By this variable the Inference Toolkit and the embedded server are told alike. SageMaker does not set it.
        variables.setdefault("SAGEMAKER_MODEL_SERVER_WORKERS", str(workers_per_model))
    container = ContainerDefinition(
        image_of(image) if image else command_of(command) if command else embedded_server(handler),
        _models_folder(models) if is_url(models) else _models_directory(models),
        environment=variables,
        caching=Caching(enabled=cache, reload=reload),
    )
    variant = VariantDefinition(
        ModelDefinition([container], name=endpoint_name),
        resources(instance_type_name, memory, storage, max_loaded_models, _gpus(gpus)),
        instance_count=instances,
        instance_type=instance_type_name or "",
    )
    return EndpointDefinition(endpoint_name, [variant], region(), endpoint_name)


def _models_folder(text: str) -> S3Url:
    """The place in S3, with the slash at its end that a directory's name needs there. Raises SetupError."""
    url = parse_s3_url(text)
    return url if url.is_folder else replace(url, key=url.key + "/")


def _models_directory(text: str) -> Path:
    directory = Path(text).expanduser()
    if not directory.exists():
        raise SetupError(f"There is no directory {text}. Make it, and put model archives (.tar.gz) into it.")
    if not directory.is_dir():
        raise SetupError(f"{text} is not a directory. --models takes the directory that holds the model archives.")
    return directory.resolve()


def resources(
    instance_type_name: str | None,
    memory: str | None,
    storage: str | None,
    max_loaded_models: int | None = None,
    gpus: int = 0,
) -> Resources:
    """What an instance of that type, for many models, has to offer, or this machine; sizes are as people write them.

    Raises SetupError for a type or a size that is none.
    """
    if problem := unfit_for_many_models(instance_type_name or ""):
        raise SetupError(f"{problem}. Choose another --instance-type.")
    size = _positive_size("--storage", storage) if storage else storage_bytes(instance_type_name, multi_model=True)
    offered = resources_of(instance_type_name, size)
    memory_bytes = _positive_size("--memory", memory) if memory else offered.memory_bytes
    return replace(offered, memory_bytes=memory_bytes, max_loaded_models=max_loaded_models, gpus=gpus)


def _gpus(text: str | None) -> int:
    if text is None:
        return 0
    if text == "all":
        return -1
    if not text.isdecimal():
        raise SetupError(f"--gpus takes all or a number, not {text!r}.")
    return int(text)


def _positive_size(option: str, text: str) -> int:
    size = parse_size(text)
    if size <= 0:
        raise SetupError(f"{option} must be more than nothing, not {text}.")
    return size


def variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise SetupError(f"--env takes NAME=VALUE, not {text!r}.")
    return name, value
