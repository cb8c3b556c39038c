"""What ``/_localmme/state`` shows: the endpoints, where each model is, and how often it was used."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from emulator.hosting.endpoint import Endpoint
from emulator.observers.model_counts import CountsByEndpoint, ModelCounts
from emulator.state import EmulatorState, EndpointState, ModelState, VariantState

NEVER = ModelCounts()  # of a model that nobody has invoked


async def emulator_state(url: str, endpoints: Iterable[Endpoint], counts: CountsByEndpoint) -> EmulatorState:
    """The page as a whole. ``url`` is the emulator's own."""
    return {
        "url": url,
        "endpoints": [await _endpoint(endpoint, counts.models(endpoint.definition.name)) for endpoint in endpoints],
    }


async def _endpoint(endpoint: Endpoint, counts: Mapping[str, ModelCounts]) -> EndpointState:
    variants = [await variant.state() for variant in endpoint.variants]
    return {
        "endpoint_name": endpoint.definition.name,
        "status": endpoint.status,
        "failure_reason": endpoint.failure_reason,
        "models": _models(await endpoint.archives(), variants, counts),
        "variants": variants,
    }


def _models(
    in_s3: Mapping[str, int], variants: list[VariantState], counts: Mapping[str, ModelCounts]
) -> list[ModelState]:
    """Each model of the multi-model containers, wherever it is; ``in_s3`` has the sizes of their archives."""
    on_disk: dict[str, int] = {}
    in_memory: defaultdict[str, list[str]] = defaultdict(list)  # on which instances
    footprints: dict[str, int] = {}
    for variant in variants:
        prefix = f"{variant['variant_name']}/" if len(variants) > 1 else ""
        for instance in variant["instances"]:
            for stored in instance["volume"]["models"]:
                on_disk[stored["target_model"]] = stored["size_bytes"]
            for loaded in instance["memory"]["models"]:
                name, size = loaded["target_model"], loaded["memory_bytes"]
                in_memory[name].append(f"{prefix}{instance['instance_id']}")
                if size is not None:
                    footprints[name] = max(size, footprints.get(name, 0))
    return [
        model_state(
            name, in_s3.get(name), on_disk.get(name), footprints.get(name), in_memory.get(name, []), counts.get(name)
        )
        for name in sorted({*in_s3, *on_disk, *in_memory, *counts})
    ]


def model_state(
    target_model: str,
    size_bytes: int | None,
    size_on_disk_bytes: int | None,
    memory_bytes: int | None,
    instances: list[str],
    counted: ModelCounts | None,
) -> ModelState:
    """One model. Sizes are None where it is not; ``instances`` have it in memory; None = nothing was counted."""
    counted = counted or NEVER
    return {
        "target_model": target_model,
        "in_s3": size_bytes is not None,
        "on_disk": size_on_disk_bytes is not None,
        "in_memory": bool(instances),
        "size_bytes": size_bytes or 0,
        "size_on_disk_bytes": size_on_disk_bytes or 0,
        "memory_bytes": memory_bytes,
        "instances": instances,
        "downloads": counted.downloads,
        "loads": counted.loads,
        "failed_loads": counted.failed_loads,
        "unloads": counted.unloads,
        "invocations": counted.invocations,
        "cache_hits": counted.cache_hits,
        "model_errors": counted.model_errors,
        "load_wait_us": counted.load_wait_us,
        "mean_load_wait_us": counted.mean_load_wait_us,
        "model_latency_us": counted.model_latency_us,
        "last_loaded": counted.last_loaded,
        "last_used": counted.last_used,
    }
