"""An emulator's state and its changes, as its pages have them, for tests of what shows them."""

from __future__ import annotations

import time
from typing import Any

MIB = 2**20


def model(target_model: str, **changes: Any) -> dict[str, Any]:
    """A ModelState."""
    counts = ("downloads", "loads", "failed_loads", "unloads", "invocations", "cache_hits", "model_errors")
    return {
        "target_model": target_model,
        "in_s3": True,
        "on_disk": False,
        "in_memory": False,
        "size_bytes": MIB,
        "size_on_disk_bytes": 0,
        "memory_bytes": None,
        "instances": [],
        **dict.fromkeys((*counts, "load_wait_us", "mean_load_wait_us", "model_latency_us"), 0),
        "last_loaded": None,
        "last_used": None,
        **changes,
    }


def loaded(target_model: str, in_flight: int = 0) -> dict[str, Any]:
    """A LoadedModelState."""
    used = {"memory_bytes": MIB, "last_used": time.time()}
    return {"target_model": target_model, "model_name": "m", "in_flight": in_flight, **used}


def instance(instance_id: str, *models: dict[str, Any], next_victim: str = "", **changes: Any) -> dict[str, Any]:
    """An InstanceState with these models in memory and on disk."""
    names = [each["target_model"] for each in models]
    return {
        "instance_id": instance_id,
        "healthy": True,
        "in_flight": sum(each["in_flight"] for each in models),
        "containers": [{"name": "primary", "healthy": True, "address": "127.0.0.1:1", "restarts": 0}],
        "memory": {
            "budget_bytes": 10 * MIB,
            "used_bytes": len(models) * MIB,
            "max_loaded_models": None,
            "models": [*models],
            "loading": [],
            "unloading": [],
            "next_victim": next_victim,
            "expected_load_bytes": MIB,
        },
        "volume": {
            "capacity_bytes": 100 * MIB,
            "used_bytes": len(models) * MIB,
            "models": [{"target_model": name, "size_bytes": MIB} for name in names],
            "downloading": [],
        },
        **changes,
    }


def endpoint(name: str, models: list[dict[str, Any]], *instances: dict[str, Any], **variants: Any) -> dict[str, Any]:
    """An EndpointState of one variant with these instances, or of ``variants``: their names, with their instances."""
    return {
        "endpoint_name": name,
        "status": "InService",
        "failure_reason": "",
        "models": models,
        "variants": [
            {"variant_name": variant, "weight": 1.0, "invocations": 0, "instances": [*those]}
            for variant, those in (variants or {"AllTraffic": instances}).items()
        ],
    }


def state(*endpoints: dict[str, Any]) -> dict[str, Any]:
    """An EmulatorState."""
    return {"url": "http://127.0.0.1:8080", "endpoints": [*endpoints]}


def hello(run: str = "one") -> dict[str, Any]:
    """The first message of a stream."""
    return {"run": run, "url": "http://127.0.0.1:8080", "region": "us-east-1", "version": "1", "sequence": 0}


def update(endpoint_name: str, *instances: dict[str, Any], models: list[Any], removed: list[str]) -> dict[str, Any]:
    """An EndpointUpdate."""
    figures = [{"variant_name": "AllTraffic", **each} for each in instances]
    return {"endpoint_name": endpoint_name, "instances": figures, "models": models, "removed": removed}


def event(sequence: int, text: str, target_model: str = "", **changes: Any) -> dict[str, Any]:
    """An EventEntry."""
    names = {"endpoint_name": "E", "variant_name": "AllTraffic", "instance_id": "i-1", "container": "primary"}
    return {
        "type": "event",
        "sequence": sequence,
        "time": time.time(),
        "kind": "model_loaded",
        **names,
        "target_model": target_model,
        "severity": "info",
        "text": text,
        "details": {},
        **changes,
    }
