"""The instance types on which SageMaker hosts, and their sizes.

The figures are those of the EC2 type of the same name. ``gpus`` counts GPUs only: Inferentia, Trainium
and Gaudi accelerators are not GPUs.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from emulator.containers.container import GRAVITON, X86
from emulator.errors import SetupError
from emulator.hosting.definition import Resources
from emulator.sizes import GIB
from emulator.suggestions import did_you_mean


@dataclass(frozen=True)
class InstanceType:
    """What one instance of a type has; ``gpu_memory_bytes`` is that of all its GPUs together."""

    name: str
    vcpus: int
    memory_bytes: int
    gpus: int
    gpu_memory_bytes: int

    @property
    def architecture(self) -> str:
        """That of its processors. Graviton's types have a g after the generation: ml.m6g, ml.c6gd, not ml.g5."""
        return GRAVITON if re.match(r"ml\.[a-z]+\d+g", self.name) else X86


@functools.cache
def instance_types() -> Mapping[str, InstanceType]:
    """Every instance type by its name, read at the first call."""
    listed = json.loads(resources.files(__package__).joinpath("instance_types.json").read_text("utf-8"))
    return {
        name: InstanceType(
            name=name,
            vcpus=has["vcpus"],
            memory_bytes=int(has["memory_gib"] * GIB),
            gpus=has["gpus"],
            gpu_memory_bytes=int(has["gpu_memory_gib"] * GIB),
        )
        for name, has in listed.items()
    }


def instance_type(name: str) -> InstanceType:
    """The instance type of that name. Raises SetupError, naming the nearest ones, when there is none."""
    known = instance_types()
    if name in known:
        return known[name]
    advice = similar_instance_type(name) or "a name looks like ml.m5.xlarge."
    raise SetupError(f"Unknown instance type {name!r}: {advice} For any other size, use --memory instead.")


def similar_instance_type(name: str) -> str:
    """``did you mean ml.m5.xlarge?``; empty where no instance type has a similar name."""
    return did_you_mean("ml." + name.lower().removeprefix("ml."), instance_types())


def unfit_for_many_models(name: str) -> str:
    """Why a type cannot have a multi-model container; empty if it can. [dg] One GPU at most. [ours] The words."""
    listed = instance_types().get(name)
    if listed is None or listed.gpus <= 1:
        return ""
    return f"{name} has {listed.gpus} GPUs: multi-model endpoints run on types without GPUs, and on those with one"


def resources_of(instance_type_name: str | None, storage_bytes: int) -> Resources:
    """The resources of an instance of that type, or of this machine. Raises SetupError for an unknown type."""
    import psutil

    if instance_type_name:
        chosen = instance_type(instance_type_name)
        return Resources(chosen.memory_bytes, storage_bytes, chosen.vcpus, architecture=chosen.architecture)
    return Resources(psutil.virtual_memory().total, storage_bytes, os.cpu_count() or 1)
