"""Prepares what the emulator needs of this machine: its port, its state directory, the directory for S3."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emulator.errors import SetupError
from emulator.gateway import web_guard
from emulator.observers.recording import RecordingSettings
from emulator.observers.totals import MOST_MODELS
from emulator.server.settings import ServerSettings
from emulator.sizes import format_size, parse_size
from emulator.state_directory import StateDirectory
from emulator.storage.keys import is_bucket_name
from localmme import __version__, state_directories
from localmme.aws_environment import region
from localmme.options import RECORD_SIZE
from localmme.telemetry import traces

if TYPE_CHECKING:
    from localmme.access_file import AccessFile

LEAST_RECORD_BYTES = 1024 * 1024  # [ours] of a recording's file
BACKLOG = 2048  # connections that wait to be accepted; the system may allow fewer


def set_up_server(
    host: str,
    port: int,
    state_dir: str | None,
    s3: str | None,
    access: str | None = None,
    allow_hosts: Sequence[str] = (),
    allow_origins: Sequence[str] = (),
    local_code: bool | None = None,
    inherit_env: bool = False,
    until_eof: bool = False,
    read_through: Sequence[str] = (),
    record: str | None = None,
    record_bodies: bool = False,
    record_size: str = RECORD_SIZE,
    metrics_models: int = MOST_MODELS,
    otel: bool | None = None,
    show_polls: bool = False,
) -> ServerSettings:
    """Bind the port and lock the state directory. Raises SetupError when either is taken.

    What is left of an emulator that was killed, and has one of them, is waited for.

    ``s3`` is the directory of S3's buckets; None = there is no S3. ``access`` is the file of users and permissions;
    None = anybody may do everything. ``local_code`` None = unless anybody in the network could run something.
    ``read_through`` are buckets of real S3. ``record`` is the file of a recording; None = nothing is recorded.
    ``metrics_models`` and ``show_polls``: see ServerSettings. ``otel``: see ``telemetry.traces``.
    """
    recording = _recording(record, record_bodies, record_size)
    hosts = tuple(map(web_guard.host_name, allow_hosts))
    origins = tuple(map(web_guard.origin, allow_origins))
    users, roles = _access(access) if access is not None else (None, ())
    s3_root = _s3_directory(s3) if s3 is not None else None
    _check_read_through(read_through, s3_root)
    named = StateDirectory(Path(state_dir).expanduser().absolute()) if state_dir else None
    if named or port:
        (named or state_directories.of_port(port)).wait_for_leftovers()  # these may still hold the port
    listener = _listen(host, port)
    host_or_name = host
    host, port = listener.getsockname()[:2]
    if host_or_name != host and not web_guard.is_address(host_or_name):  # --host by name: clients may use it as well
        hosts += (web_guard.host_name(host_or_name),)
    if local_code is None:
        local_code = users is not None or web_guard.is_loopback(host)
    directory = named or state_directories.of_port(port)
    directory.take()
    reached_at = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    url = f"http://[{reached_at}]:{port}" if ":" in reached_at else f"http://{reached_at}:{port}"
    return ServerSettings(
        listener, url, directory, s3_root, tuple(read_through), region(), users, roles, hosts, origins, local_code,
        inherit_env, until_eof, recording, __version__, show_polls, metrics_models,
        traces(otel, os.environ), otel is True,
    )  # fmt: skip


def _access(text: str) -> AccessFile:
    from localmme.access_file import read

    return read(Path(text))


def _recording(file: str | None, bodies: bool, size: str) -> RecordingSettings | None:
    """Raises SetupError for options that are about a recording where there is none, or that are invalid."""
    if file is None:
        if bodies or size != RECORD_SIZE:
            raise SetupError("--record-bodies and --record-size are about a recording: name its file with --record.")
        return None
    try:
        size_bytes = parse_size(size)
    except SetupError as error:
        raise SetupError(f"--record-size: {error}") from None
    if size_bytes < LEAST_RECORD_BYTES:
        raise SetupError(f"--record-size must be at least {format_size(LEAST_RECORD_BYTES)}, not {size}.")
    return RecordingSettings(Path(file).expanduser().absolute(), size_bytes, bodies)


def default_s3() -> str:
    """The default directory of S3's buckets, ``./s3``, which is created. Raises SetupError."""
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


def _check_read_through(buckets: Sequence[str], s3_root: Path | None) -> None:
    """Raises SetupError for what cannot be the name of a bucket, and where there is no directory for its objects."""
    for bucket in buckets:
        if not is_bucket_name(re.sub(r"[*?\[\]]", "x", bucket)):
            raise SetupError(
                f"--s3-read-through {bucket} is not the name of a bucket. It takes names, such as "
                "sagemaker-sample-files, and patterns of names, such as 'sagemaker-*'."
            )
    if buckets and s3_root is None:
        raise SetupError("--s3-read-through needs a directory in which objects are kept: name one with --s3.")


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except socket.gaierror:
        raise SetupError(
            f"There is no address {host!r} on this machine. --host takes an address of this machine, such as 127.0.0.1."
        ) from None
    except OSError as error:
        raise SetupError(
            f"Port {port} of {host} cannot be used: {error.strerror}. "
            "Choose another with --port (0 takes any that is free)."
        ) from None
    return listener
