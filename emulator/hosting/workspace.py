"""Where something is hosted: its part of the disk and of the event stream, and what all have in common."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from emulator.archives.model_data_url import ModelData
from emulator.archives.source import ModelSource
from emulator.archives.source_selection import source_of_many
from emulator.clock import Clock
from emulator.containers.launch import ContainerFactory
from emulator.events import Events
from emulator.hosting.execution_roles import ExecutionRoles
from emulator.hosting.model_files import ModelFiles
from emulator.hosting.surroundings import Surroundings
from emulator.limits import Limits


@dataclass(frozen=True)
class Workspace:
    """The surroundings of an endpoint, of a variant, of an instance: each lies within the one before."""

    directory: Path  # holds the disks of the instances
    new_container: ContainerFactory
    limits: Limits
    events: Events
    clock: Clock
    generator: random.Random = field(default_factory=random.Random)  # of the random numbers that routing takes
    model_source: Callable[[ModelData], ModelSource] = source_of_many  # of a multi-model container's archives
    model_files: Callable[[Path, ModelSource, int], ModelFiles] = ModelFiles
    surroundings: Surroundings = field(default_factory=Surroundings)
    execution_roles: ExecutionRoles | None = None  # None = code in containers has no AWS to call

    def endpoint(self, name: str, region: str) -> Workspace:
        """That of an endpoint."""
        return self._within(name, self.events.within(endpoint_name=name, region=region))

    def variant(self, name: str) -> Workspace:
        """That of one of the endpoint's variants."""
        return self._within(name, self.events.within(variant_name=name))

    def instance(self, instance_id: str) -> Workspace:
        """That of one of the variant's instances."""
        return self._within(instance_id, self.events.within(instance_id=instance_id))

    def _within(self, name: str, events: Events) -> Workspace:
        return replace(self, directory=self.directory / name, events=events)
