"""The requests that create the endpoints which ``serve`` starts with, and what they cannot say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulator.services.sagemaker.local_settings import LocalInstances

Request = Mapping[str, Any]


@dataclass(frozen=True)
class StartRequests:
    """CreateModel, CreateEndpointConfig and CreateEndpoint requests, checked, and what they cannot say.

    Model data on this machine has a file URL. Other URLs are of real S3, whatever directory stands for S3 here.
    """

    models: Sequence[Request] = ()
    endpoint_configs: Sequence[Request] = ()
    endpoints: Sequence[Request] = ()
    directory: Path = field(default_factory=Path.cwd)  # which paths in Image are relative to
    reload: bool = False
    instances: LocalInstances = field(default_factory=LocalInstances)
