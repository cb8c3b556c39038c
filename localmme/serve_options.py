"""From what a person typed to what the emulator takes: every option of ``serve``, and what can be wrong with it."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from emulator.archives.model_data_url import S3Url, is_url, parse_s3_url
from emulator.errors import SetupError
from emulator.gateway import web_guard
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
from emulator.private_files import private_directory
from emulator.server.application import ServerSettings
from emulator.services.sagemaker.image import command_of, embedded_server, image_of
from emulator.sizes import parse_size
from localmme import state_directory
from localmme.aws_environment import region
from localmme.state_directory import LOCK, wait_for_leftovers

if TYPE_CHECKING:
    from emulator.gateway.access.access_control import User

ENDPOINT_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")  # [api]
# Another emulator that starts takes the lock for a moment, to see whether this directory's emulator has gone.
LOCK_SECONDS = 0.2


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


def settings(
    host: str,
    port: int,
    directory_name: str | None,
    s3: str | None,
    access: str | None = None,
    allow_hosts: Sequence[str] = (),
    allow_origins: Sequence[str] = (),
    local_code: bool | None = None,
) -> ServerSettings:
    """Bind the port and lock the state directory. Raises SetupError when either is taken.

    ``s3`` is the directory of S3's buckets; None = there is no S3. ``access`` is the file of who may do what;
    None = anybody may do everything. ``local_code`` None = unless anybody in the network could run something.
    """
    hosts = tuple(map(web_guard.host_name, allow_hosts))
    origins = tuple(map(web_guard.origin, allow_origins))
    users = _users(access) if access is not None else None
    s3_root = _s3_directory(s3) if s3 is not None else None
    named = Path(directory_name).expanduser().absolute() if directory_name else None
    if named or port:
        wait_for_leftovers(named or _default_state(port))  # which still has the port, too
    listener = _listen(host, port)
    asked_host = host
    host, port = listener.getsockname()[:2]
    if asked_host != host and not web_guard.is_address(asked_host):  # --host by name: clients may use it as well
        hosts += (web_guard.host_name(asked_host),)
    if local_code is None:
        local_code = users is not None or web_guard.is_loopback(host)
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    directory = named or _default_state(port)
    try:
        _lock(directory)
    except OSError as error:
        raise SetupError(
            f"The state directory {directory} cannot be used: {error.strerror}. Name another with --state-dir."
        ) from None
    url = f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
    return ServerSettings(listener, url, directory, s3_root, region(), users, hosts, origins, local_code)


def _users(text: str) -> tuple[User, ...]:
    from localmme.access_file import read

    return read(Path(text))


def default_s3() -> str:
    """The directory of S3's buckets where none is named: ``./s3``, which is made. Raises SetupError."""
    directory = Path("s3")
    try:
        directory.mkdir(exist_ok=True)
    except OSError as error:
        raise SetupError(f"The directory ./s3 cannot be made: {error.strerror}. Name one with --s3.") from None
    return str(directory)


def _s3_directory(text: str) -> Path:
    directory = Path(text).expanduser()
    if not directory.exists() and directory.absolute() == Path("s3").absolute():
        default_s3()  # what would be made if it were not named
    if not directory.is_dir():
        raise SetupError(f"There is no directory {text}. --s3 takes one; each directory in it is a bucket.")
    return directory.resolve()


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


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except socket.gaierror:
        raise SetupError(
            f"There is no address {host!r} on this machine. --host takes one, such as 127.0.0.1."
        ) from None
    except OSError as error:
        raise SetupError(
            f"Port {port} of {host} cannot be used: {error.strerror}. "
            "Choose another with --port (0 takes any that is free)."
        ) from None
    return listener


def _default_state(port: int) -> Path:
    return state_directory.base() / str(port)


def _lock(directory: Path) -> None:
    # Held until the last process of this emulator ends, however it ends.
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        private_directory(directory)
        descriptor = os.open(directory / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if state_directory.is_there(directory / LOCK, descriptor):
                return
            os.close(descriptor)  # another emulator was just tidying up
        except BlockingIOError:
            os.close(descriptor)
            if time.monotonic() > deadline:
                raise SetupError(
                    f"Another emulator uses the state directory {directory}. Stop it, or name another with --state-dir."
                ) from None
        time.sleep(LOCK_SECONDS / 20)
