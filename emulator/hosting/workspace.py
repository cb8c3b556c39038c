"""Where something is hosted: its part of the disk and of the event stream, and what all have in common."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from emulator.clock import Clock
from emulator.containers.docker.engine import Engine
from emulator.events import Events
from emulator.limits import Limits


@dataclass(frozen=True)
class Workspace:
    """The surroundings of an endpoint, of a variant, of an instance: each lies within the one before."""

    directory: Path  # holds the disks of the instances
    engine: Engine
    limits: Limits
    events: Events
    clock: Clock

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
