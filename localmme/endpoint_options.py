"""Checks the options that describe an endpoint, and makes requests of them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from emulator.archives.model_data_url import is_url, parse_s3_url
from emulator.errors import SetupError
from emulator.hosting.definition import ONLY_VARIANT_NAME
from emulator.hosting.instance_types import instance_type, unfit_for_many_models
from emulator.limits import UNHURRIED_SECONDS
from emulator.model_server.handlers import toolkits
from emulator.model_server.workers import debugger
from emulator.services.sagemaker.image import COMMAND, HANDLER, STUB, command_of, embedded_server, image_of, python_path
from emulator.services.sagemaker.local_settings import LocalInstances
from emulator.services.sagemaker.model_data_location import url_of
from emulator.services.sagemaker.start_requests import StartRequests
from emulator.sizes import parse_size
from localmme.options import name_and_value

ENDPOINT_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")  # [api]


def start_requests(
    *,
    models: str,
    unpacked: bool,
    handler: str | None,
    toolkit: str,
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
    preload: Sequence[str],
    preloading: bool,
    python: str | None,
    install_requirements: bool,
    debug: int | None,
    environment: Sequence[str],
) -> StartRequests:
    """The requests that create the endpoint. Raises SetupError with one line when an option is invalid."""
    if not ENDPOINT_NAME.fullmatch(endpoint_name):
        raise SetupError(
            f"{endpoint_name!r} is not an endpoint name: use up to 63 letters, digits and, between them, hyphens."
        )
    if sum(map(bool, (handler, command, image))) > 1:
        raise SetupError("--handler, --command and --image exclude each other: each says what runs as the container.")
    if toolkit != "auto" and (command or image):
        raise SetupError("--toolkit is for handlers: what --image and --command run does what it does.")
    if gpus and not image:
        raise SetupError("--gpus needs --image: a local process sees all GPUs of this machine.")
    if unpacked and is_url(models):
        raise SetupError("--unpacked needs a directory of this machine as --models: in S3, models are archives.")
    variables = dict(name_and_value("--env", text) for text in environment)
    if workers_per_model is not None:
        # The Inference Toolkit and the embedded server both read this variable. SageMaker does not set it.
        variables.setdefault("SAGEMAKER_MODEL_SERVER_WORKERS", str(workers_per_model))
    if toolkit != "auto":
        variables.setdefault(toolkits.VARIABLE, toolkit)
    if preload or not preloading:
        if command or image:
            raise SetupError("--preload and --no-preload are for handlers, not for --command and --image.")
        # The embedded server reads this variable. SageMaker does not set it.
        variables.setdefault("LOCALMME_PRELOAD", _modules(preload) if preloading else "")
    if reload and not (command or image):
        variables.setdefault("LOCALMME_RELOAD", "true")
    if debug is not None:
        if command or image:
            raise SetupError("--debug is for handlers in localmme's own server: not for --command and --image.")
        variables.update(_debugging(debug, workers_per_model))
    if python is not None:
        if command or image:
            raise SetupError("--python is for handlers, not for --command and --image.")
        variables.setdefault("LOCALMME_PYTHON", _python(python))
    if install_requirements:
        if command or image:
            raise SetupError("--install-requirements is for handlers, not for --command and --image.")
        variables.setdefault("LOCALMME_INSTALL_REQUIREMENTS", "true")
    container = {
        "Image": _image(image, command, handler),
        "Mode": "MultiModel",
        "ModelDataUrl": _models_folder(models) if is_url(models) else models_directory(models),
        "MultiModelConfig": {"ModelCacheSetting": "Enabled" if cache else "Disabled"},
    }
    if variables:
        container["Environment"] = variables
    local = local_instances(instance_type_name, memory, storage, max_loaded_models, _gpus(gpus))
    variant = {
        "VariantName": ONLY_VARIANT_NAME,
        "ModelName": endpoint_name,
        "InitialInstanceCount": instances,
        "InitialVariantWeight": 1.0,
        **({"InstanceType": instance_type_name} if instance_type_name else {}),
    }
    return StartRequests(
        [{"ModelName": endpoint_name, "PrimaryContainer": container}],
        [{"EndpointConfigName": endpoint_name, "ProductionVariants": [variant]}],
        [{"EndpointName": endpoint_name, "EndpointConfigName": endpoint_name}],
        reload=reload,
        unpacked=unpacked,
        instances=local,
    )


def _debugging(port: int, workers_per_model: int | None) -> dict[str, str]:
    """The environment in which handlers are debugged. Raises SetupError when they cannot be."""
    if find_spec("debugpy") is None:
        raise SetupError(f"--debug needs debugpy. Install it: {sys.executable} -m pip install debugpy")
    if workers_per_model not in (None, 1):
        raise SetupError("--debug needs one worker for each model: leave out --workers-per-model.")
    variables = {debugger.PORT_VARIABLE: str(port), "SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS": f"{UNHURRIED_SECONDS:g}"}
    if sys.stdin.isatty():
        variables[debugger.TERMINAL_VARIABLE] = os.ttyname(sys.stdin.fileno())
    return variables


def _image(image: str | None, command: str | None, handler: str | None) -> str:
    """The container as a value of the member ``Image``. Raises SetupError when it cannot be run."""
    if image:
        # An image whose name would mean something else there is written with its registry.
        registry = "docker.io/library/" if image.startswith((HANDLER, COMMAND, STUB)) else ""
        return registry + image_of(image).reference
    return command_of(command).image if command else embedded_server(handler).image


def _modules(names: Sequence[str]) -> str:
    """The names of modules as the embedded server takes them. Raises SetupError when one is invalid."""
    modules = [module.strip() for text in names for module in text.split(",")]
    for module in modules:
        if not all(part.isidentifier() for part in module.split(".")):
            raise SetupError(f"--preload takes names of Python modules, not {module!r}.")
    return ",".join(modules)


def _python(text: str) -> str:
    try:
        return python_path(text)
    except SetupError as error:
        raise SetupError(f"--python {text}: {error}") from None


def _models_folder(text: str) -> str:
    """An S3 URL with the slash at its end that a prefix needs. Raises SetupError."""
    url = parse_s3_url(text)
    return str(url if url.is_folder else replace(url, key=url.key + "/"))


def models_directory(text: str) -> str:
    """The URL of a directory with model archives. Raises SetupError when there is none."""
    directory = Path(text).expanduser()
    if not directory.exists():
        raise SetupError(f"There is no directory {text}. Make it, and put model archives (.tar.gz) into it.")
    if not directory.is_dir():
        raise SetupError(f"{text} is not a directory. --models takes the directory that holds the model archives.")
    return url_of(directory.resolve(), is_directory=True)


def local_instances(
    instance_type_name: str | None,
    memory: str | None,
    storage: str | None,
    max_loaded_models: int | None = None,
    gpus: int = 0,
) -> LocalInstances:
    """What the instances of many models have beyond their type; sizes are as people write them.

    Raises SetupError for a type or a size that is invalid.
    """
    if problem := unfit_for_many_models(instance_type_name or ""):
        raise SetupError(f"{problem}. Choose another --instance-type.")
    storage_bytes = _positive_size("--storage", storage) if storage else None
    if instance_type_name:
        instance_type(instance_type_name)
    memory_bytes = _positive_size("--memory", memory) if memory else None
    return LocalInstances(memory_bytes, storage_bytes, max_loaded_models, gpus)


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
        raise SetupError(f"{option} must be greater than 0, not {text}.")
    return size
