"""Endpoints and limits as recordings have them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

from emulator.hosting.endpoint import Endpoint
from emulator.limits import Limits
from emulator.recordings import RecordedEndpoint, RecordedVariant


def recorded_endpoints(endpoints: Iterable[Endpoint]) -> list[RecordedEndpoint]:
    """The endpoints as they are now: with the instances and weights that they have at this moment."""
    return [_endpoint(endpoint) for endpoint in endpoints]


def recorded_limits(limits: Limits) -> dict[str, float | None]:
    """By name; JSON has no infinity."""
    return {name: value if math.isfinite(value) else None for name, value in dataclasses.asdict(limits).items()}


def _endpoint(endpoint: Endpoint) -> RecordedEndpoint:
    variants: list[RecordedVariant] = []
    for variant, definition in zip(endpoint.variants, endpoint.definition.variants, strict=True):
        resources, model = definition.resources, definition.model
        variants.append(
            {
                "variant_name": variant.name,
                "weight": variant.weight,
                "instance_type": variant.instance_type,
                "instance_count": len(variant.instances),
                "memory_bytes": resources.memory_bytes,
                "storage_bytes": resources.storage_bytes,
                "vcpus": resources.vcpus,
                "gpus": resources.gpus,
                "max_loaded_models": resources.max_loaded_models,
                "caching": model.multi_model is None or model.multi_model.caching.enabled,
                "containers": [
                    {"name": name, "multi_model": container.multi_model}
                    for name, container in zip(model.container_names(), model.containers, strict=True)
                ],
            }
        )
    definition_ = endpoint.definition
    return {"endpoint_name": definition_.name, "region": definition_.region, "variants": variants}
