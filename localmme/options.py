"""From what a person typed to what the emulator takes: every option of ``serve``, and what can be wrong with it."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import shutil
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from emulator.containers.process import PACKAGE_ROOT
from emulator.errors import SetupError
from emulator.hosting.endpoint import EndpointDefinition
from emulator.hosting.instance import Caching, Resources
from emulator.hosting.instance_types import instance_type
from emulator.hosting.sizes import parse_size
from emulator.service.server import ServerSettings

ENDPOINT_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")  # [api]
EMBEDDED_SERVER = [sys.executable, "-m", "emulator.containers.handler"]


def definition(
    *,
    models: str,
    handler: str | None,
    command: str | None,
    endpoint_name: str,
    instance_type_name: str | None,
    memory: str | None,
    storage: str,
    max_loaded_models: int | None,
    workers_per_model: int,
    cache: bool,
    reload: bool,
    environment: Sequence[str],
) -> EndpointDefinition:
    """The endpoint that was asked for. Raises SetupError, in one line, for what cannot work."""
    if not ENDPOINT_NAME.fullmatch(endpoint_name):
        raise SetupError(
            f"{endpoint_name!r} is not an endpoint name: use up to 63 letters, digits and, between them, hyphens."
        )
    if handler and command:
        raise SetupError("--handler and --command exclude each other: a command brings its own handler.")
    variables = dict(_variable(text) for text in environment)
    # By this variable the Inference Toolkit and the embedded server are told alike.
    variables.setdefault("SAGEMAKER_MODEL_SERVER_WORKERS", str(workers_per_model))
    return EndpointDefinition(
        name=endpoint_name,
        models=_models_directory(models),
        command=_command(command) if command else _embedded(handler),
        working_directory=Path.cwd() if command else PACKAGE_ROOT,
        resources=_resources(instance_type_name, memory, storage, max_loaded_models),
        environment=variables,
        caching=Caching(enabled=cache, reload=reload),
        region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
    )


def settings(host: str, port: int, state_directory: str | None) -> ServerSettings:
    """Bind the port and lock the state directory. Raises SetupError when either is taken."""
    listener = _listen(host, port)
    host, port = listener.getsockname()[:2]
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    directory = Path(state_directory).expanduser().absolute() if state_directory else _default_state(port)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _lock(directory)
    except OSError as error:
        raise SetupError(
            f"The state directory {directory} cannot be used: {error.strerror}. Name another with --state-dir."
        ) from None
    url = f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
    return ServerSettings(listener, url, directory)


def _models_directory(text: str) -> Path:
    directory = Path(text).expanduser()
    if not directory.exists():
        raise SetupError(f"There is no directory {text}. Make it, and put model archives (.tar.gz) into it.")
    if not directory.is_dir():
        raise SetupError(f"{text} is not a directory. --models takes the directory that holds the model archives.")
    return directory.resolve()


def _command(text: str) -> list[str]:
    try:
        command = shlex.split(text)
    except ValueError as error:
        raise SetupError(f"The command cannot be split into words: {error}. Check its quotes.") from None
    if not command:
        raise SetupError("--command is empty: give the command that starts your model server.")
    if shutil.which(command[0]) is None:
        raise SetupError(f"There is no program {command[0]!r} to run. Check the spelling, or give its full path.")
    return command


def _embedded(handler: str | None) -> list[str]:
    command = [*EMBEDDED_SERVER]
    if handler:
        file, colon, name = handler.rpartition(":")
        if not colon or not name.isidentifier():
            file, name = handler, ""
        path = Path(file).expanduser()
        if not path.is_file():
            raise SetupError(f"There is no handler file {file}.")
        command += ["--handler", f"{path.resolve()}:{name}" if name else str(path.resolve())]
    return command


def _resources(
    instance_type_name: str | None, memory: str | None, storage: str, max_loaded_models: int | None
) -> Resources:
    import psutil

    vcpus, memory_bytes = os.cpu_count() or 1, psutil.virtual_memory().total
    if instance_type_name:
        chosen = instance_type(instance_type_name)
        vcpus, memory_bytes = chosen.vcpus, chosen.memory_bytes
    if memory:
        memory_bytes = _positive_size("--memory", memory)
    return Resources(memory_bytes, _positive_size("--storage", storage), vcpus, max_loaded_models)


def _positive_size(option: str, text: str) -> int:
    size = parse_size(text)
    if size <= 0:
        raise SetupError(f"{option} must be more than nothing, not {text}.")
    return size


def _variable(text: str) -> tuple[str, str]:
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
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "localmme" / str(port)


def _lock(directory: Path) -> None:
    # Held until the last process of this emulator ends, however it ends.
    descriptor = os.open(directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SetupError(
            f"Another emulator uses the state directory {directory}. Stop it, or name another with --state-dir."
        ) from None
