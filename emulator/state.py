"""The types of the pages ``/_localmme/state`` and ``events``, for the emulator, and for all that reads them.

Dictionaries, as it is JSON on its way and in the hands of users. Sizes are in bytes, times in seconds since 1970;
``_us`` is microseconds.
"""

from __future__ import annotations

from typing import Literal, TypedDict


class ModelState(TypedDict):
    """A model of the multi-model containers, wherever it is. Counts are of all instances, since CreateEndpoint."""

    target_model: str
    in_s3: bool
    on_disk: bool  # of at least one instance
    in_memory: bool  # of at least one container
    size_bytes: int  # of its archive; 0 = it is not in S3
    size_on_disk_bytes: int  # unpacked; 0 = it is on no disk
    memory_bytes: int | None  # what it took when it was loaded alone, the most of all instances; None = not measured
    instances: list[str]  # that have it in memory; of several variants, each with its variant's name and a slash before
    downloads: int
    loads: int
    failed_loads: int
    unloads: int
    invocations: int
    cache_hits: int  # invocations for which it was in memory
    model_errors: int  # invocations that its container did not answer with 2xx
    load_wait_us: int  # how long the last invocation that waited for it has waited
    mean_load_wait_us: int  # of all invocations that waited for it; 0 = none has
    model_latency_us: int  # of the last invocation
    last_loaded: float | None  # None = never
    last_used: float | None


class ContainerState(TypedDict):
    name: str
    healthy: bool
    address: str | None  # where it listens, HOST:PORT or unix:PATH; None = it does not run, or is not healthy
    restarts: int


class LoadedModelState(TypedDict):
    """A model in the memory of one container."""

    target_model: str
    model_name: str  # by which the container knows it
    in_flight: int  # invocations
    memory_bytes: int | None  # see ModelState
    last_used: float  # when the last of its invocations that have ended did; before the first, when it was loaded


class MemoryState(TypedDict):
    """The memory of an instance, which its containers share."""

    budget_bytes: int
    used_bytes: int
    max_loaded_models: int | None  # None = as many as there is memory for
    models: list[LoadedModelState]  # in the order in which they came
    loading: list[str]  # target models
    unloading: list[str]
    next_victim: str  # the target model that leaves first when a load needs room: idle longest; empty = none is idle
    expected_load_bytes: int  # that a model not measured before is expected to take; 0 = no container of many models


class StoredModelState(TypedDict):
    """A model on the disk of one instance."""

    target_model: str
    size_bytes: int  # unpacked


class VolumeState(TypedDict):
    """The storage volume of an instance."""

    capacity_bytes: int
    used_bytes: int
    models: list[StoredModelState]  # in the order in which they came
    downloading: list[str]  # target models on their way from S3


class InstanceState(TypedDict):
    instance_id: str
    healthy: bool  # all of its containers are
    in_flight: int  # invocations
    containers: list[ContainerState]
    memory: MemoryState
    volume: VolumeState


class VariantState(TypedDict):
    variant_name: str
    weight: float
    invocations: int  # since it was made, by CreateEndpoint or UpdateEndpoint
    instances: list[InstanceState]


class EndpointState(TypedDict):
    endpoint_name: str
    status: str  # Creating, InService, Updating, Failed or Deleting
    failure_reason: str  # empty = none
    models: list[ModelState]  # by target model
    variants: list[VariantState]


class EmulatorState(TypedDict):
    """The page as a whole."""

    url: str
    endpoints: list[EndpointState]


# Where an instance has a model. "pinned" is in memory and in use by calls; "failed": its last load there failed.
Place = Literal["on_disk", "downloading", "loading", "in_memory", "pinned", "unloading", "failed"]


class ModelUpdate(ModelState):
    """A model that has changed."""

    locations: dict[str, Place]  # by instance, with its variant's name and a slash before it if there are several


class MemoryFigures(TypedDict):
    """MemoryState without its models."""

    budget_bytes: int
    used_bytes: int
    max_loaded_models: int | None
    next_victim: str
    expected_load_bytes: int


class VolumeFigures(TypedDict):
    """VolumeState without its models."""

    capacity_bytes: int
    used_bytes: int


class InstanceFigures(TypedDict):
    """InstanceState without its models."""

    variant_name: str
    instance_id: str
    healthy: bool
    in_flight: int
    containers: list[ContainerState]
    memory: MemoryFigures
    volume: VolumeFigures


class EndpointUpdate(TypedDict):
    """What of an endpoint has changed since the update before, in ``models`` of ``/_localmme/events``."""

    endpoint_name: str
    instances: list[InstanceFigures]  # all
    models: list[ModelUpdate]  # those that have changed
    removed: list[str]  # target models that are nowhere any more
