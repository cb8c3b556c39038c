"""The requests that create the endpoints which ``serve`` starts with, and local settings that the API does not have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulator.services.sagemaker.local_settings import LocalInstances
from emulator.services.sagemaker.mapped_images import NO_MAPPED_IMAGES, MappedImages

Request = Mapping[str, Any]


@dataclass(frozen=True)
class StartRequests:
    """Checked CreateModel, CreateEndpointConfig and CreateEndpoint requests, and settings that the API does not have.

    Model data on this machine has a ``file`` URL. An ``s3`` URL means real S3, even if a directory stands for S3 here.
    """

    models: Sequence[Request] = ()
    endpoint_configs: Sequence[Request] = ()
    endpoints: Sequence[Request] = ()
    directory: Path = field(default_factory=Path.cwd)  # to which paths in Image are relative
    reload: bool = False
    unpacked: bool = False  # in directories of models, each directory stands for an archive
    instances: LocalInstances = field(default_factory=LocalInstances)
    mapped_images: MappedImages = NO_MAPPED_IMAGES  # for models that are created later, too
