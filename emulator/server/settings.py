"""The settings of a server, besides its endpoints and its limits."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emulator.observers.recording import RecordingSettings
from emulator.observers.totals import MOST_MODELS
from emulator.state_directory import StateDirectory

if TYPE_CHECKING:
    from emulator.gateway.access.access_control import User
    from emulator.gateway.access.roles import Role


@dataclass(frozen=True)
class ServerSettings:
    """Where the emulator listens, and where it keeps its files."""

    listener: socket.socket
    url: str
    state_directory: StateDirectory
    s3_root: Path | None = None  # each directory in it is a bucket; without it there is no S3
    read_through: tuple[str, ...] = ()  # buckets of real S3, names or patterns
    region: str = "us-east-1"
    users: tuple[User, ...] | None = None  # who may do what; None = anybody may do everything
    roles: tuple[Role, ...] = ()  # that they, or SageMaker, may assume
    allowed_hosts: tuple[str, ...] = ()  # by which it is known beside its own names
    allowed_origins: tuple[str, ...] = ()  # of web pages that may call it
    local_code: bool = True  # whether models that are made through the API may run something here
    inherit_env: bool = False  # whether containers that are processes get the emulator's whole environment
    until_eof: bool = False  # ends when standard input, a pipe from the program that it belongs to, does
    recording: RecordingSettings | None = None  # of all that happens, from the start on; None = nothing is recorded
    localmme_version: str = ""
    show_polls: bool = False  # whether the log has each line that containers write about health polls
    metrics_models: int = MOST_MODELS  # of each endpoint, that have metrics of their own for Prometheus
    traces: bool = False  # of calls are sent by OTLP
    passes_traces_on: bool = False  # to containers, as headers of their requests
    when_in_service: Callable[[str], None] | None = None  # called once, in a thread, with the URL
