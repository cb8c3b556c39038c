"""Settings of an endpoint from the command line that SageMaker's API does not have. They are not stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from emulator.archives.model_data_url import ModelData
from emulator.hosting.definition import Resources


@dataclass(frozen=True)
class LocalModel:
    """Those of a model."""

    model_data: Mapping[str, ModelData] = field(default_factory=dict)  # by the URL that stands for it in the request
    reload: bool = False  # see Caching


@dataclass(frozen=True)
class LocalInstances:
    """Those of an endpoint configuration: resources of its instances. None = those of the instance type."""

    memory_bytes: int | None = None
    storage_bytes: int | None = None
    max_loaded_models: int | None = None
    gpus: int = 0  # for Docker containers; -1 = all of this machine

    def override(self, resources: Resources) -> Resources:
        """The resources of an instance type, with these in place of the type's."""
        return replace(
            resources,
            memory_bytes=resources.memory_bytes if self.memory_bytes is None else self.memory_bytes,
            storage_bytes=resources.storage_bytes if self.storage_bytes is None else self.storage_bytes,
            max_loaded_models=self.max_loaded_models,
            gpus=self.gpus,
        )
