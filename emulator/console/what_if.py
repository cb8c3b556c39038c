"""What ``/_localmme/what-if`` shows: the what-if line of each variant that hosts many models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from emulator.hosting.endpoint import Endpoint
from emulator.limits import Limits
from emulator.observers.model_calls import ModelCalls
from emulator.what_if import VariantMemory, WhatIf


async def what_if(endpoints: Iterable[Endpoint], calls: ModelCalls, limits: Limits) -> WhatIf:
    """The page as a whole."""
    return await calls.what_if(_memories(endpoints, limits))


def _memories(endpoints: Iterable[Endpoint], limits: Limits) -> Iterator[VariantMemory]:
    for endpoint in endpoints:
        for variant, definition in zip(endpoint.variants, endpoint.definition.variants, strict=True):
            container = definition.model.multi_model
            if container is not None:
                yield VariantMemory(
                    endpoint.definition.name,
                    variant.name,
                    len(variant.instances),
                    definition.resources.memory_bytes,
                    limits.memory_watermark,
                    definition.resources.max_loaded_models,
                    container.caching.enabled,
                )
