"""An endpoint: a name that takes invocations, and the production variants behind it."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

from emulator.artifacts.bucket import LocalBucket
from emulator.containers.contract import Invocation
from emulator.errors import (
    SetupError,
    endpoint_not_in_service,
    inference_component_not_supported,
    variant_not_found,
)
from emulator.events import EndpointStatus
from emulator.hosting import routing
from emulator.hosting.definition import EndpointDefinition
from emulator.hosting.history import History, ModelCounts
from emulator.hosting.site import Site
from emulator.hosting.together import together
from emulator.hosting.variant import ProductionVariant


class Endpoint:
    """One endpoint, from Creating to InService or Failed, and to Deleting."""

    def __init__(self, definition: EndpointDefinition, site: Site) -> None:
        """``site`` is the endpoint's own."""
        self.definition = definition
        self.status = "Creating"
        self.failure_reason = ""
        self._history = History()
        self._limits = site.limits
        self._events = site.events
        self._events.subscribe(self._history)
        self._variants = [ProductionVariant(variant, site.variant(variant.name)) for variant in definition.variants]
        containers = (variant.model.multi_model for variant in definition.variants)
        directories = {container.model_data: None for container in containers if container and container.model_data}
        self._buckets = [LocalBucket(models) for models in directories]

    async def start(self) -> None:
        """Bring the endpoint InService. Raises SetupError, with the reason, when it is Failed instead."""
        self._become("Creating")
        try:
            await together(variant.start() for variant in self._variants)
        except SetupError as error:
            self._become("Failed", str(error))
            raise
        self._become("InService")

    async def stop(self) -> None:
        """Refuse new invocations, let those under way end (``Limits.drain_seconds``), stop the containers."""
        self._become("Deleting")
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._limits.drain_seconds
        while any(variant.in_flight for variant in self._variants) and clock() < deadline:
            await asyncio.sleep(0.02)
        await asyncio.gather(*(variant.stop() for variant in self._variants))

    def variant_for(self, invocation: Invocation) -> ProductionVariant:
        """The variant that takes an invocation. Raises the AwsError that SageMaker would answer with."""
        if self.status != "InService":
            raise endpoint_not_in_service(self.definition.name, self.status)
        if invocation.inference_component:
            raise inference_component_not_supported(self.definition.name)
        if not invocation.target_variant:
            return routing.by_weight(self._variants)
        for variant in self._variants:
            if variant.name == invocation.target_variant:
                return variant
        raise variant_not_found(self.definition.name, invocation.target_variant)

    async def state(self) -> dict[str, Any]:
        """What is where and how often it was used, as plain data."""
        variants = [await variant.state() for variant in self._variants]
        return {
            "endpoint_name": self.definition.name,
            "status": self.status,
            "failure_reason": self.failure_reason,
            "models": await self._models([instance for variant in variants for instance in variant["instances"]]),
            "variants": variants,
        }

    async def _models(self, instances: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Each model of the multi-model containers, wherever it is."""
        in_s3: dict[str, int] = {}
        for bucket in self._buckets:
            in_s3 |= dict(await asyncio.to_thread(list, bucket.archives()))
        on_disk = {
            model["target_model"]: model["size_bytes"]
            for instance in instances
            for model in instance["volume"]["models"]
        }
        in_memory = {model["target_model"] for instance in instances for model in instance["memory"]["models"]}
        counts = self._history.models
        return [
            {
                "target_model": name,
                "in_s3": name in in_s3,
                "on_disk": name in on_disk,
                "in_memory": name in in_memory,
                "size_bytes": in_s3.get(name, 0),
                "size_on_disk_bytes": on_disk.get(name, 0),
                **dataclasses.asdict(counts.get(name) or ModelCounts()),
            }
            for name in sorted({*in_s3, *on_disk, *in_memory, *counts})
        ]

    def _become(self, status: str, reason: str = "") -> None:
        self.status, self.failure_reason = status, reason
        self._events.publish(EndpointStatus(status, reason))
