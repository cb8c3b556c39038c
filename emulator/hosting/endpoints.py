"""The hosted endpoints by name, and the work on them in the background."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from typing import Any

from emulator.events import EndpointCreated, EndpointDeleted
from emulator.hosting.definition import EndpointDefinition
from emulator.hosting.endpoint import Endpoint
from emulator.hosting.tasks import cancel
from emulator.hosting.workspace import Workspace

log = logging.getLogger("localmme")


class Endpoints:
    """Endpoints come and go while the emulator runs. Their names keep their case, as InvokeEndpoint wants it. [api]"""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._endpoints: dict[str, Endpoint] = {}
        self._work: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(list(self._endpoints.values()))

    def get(self, name: str) -> Endpoint | None:
        return self._endpoints.get(name)

    def add(self, definition: EndpointDefinition) -> Endpoint:
        """A new endpoint, which is not started yet. It replaces one of the same name, which has to be stopped."""
        workspace = self._workspace.endpoint(definition.name, definition.region)
        workspace.events.publish(EndpointCreated(workspace.events))
        endpoint = self._endpoints[definition.name] = Endpoint(definition, workspace)
        return endpoint

    async def remove(self, endpoint: Endpoint) -> None:
        """Stop an endpoint; then it is gone, even if something of it could not be stopped."""
        try:
            await endpoint.stop()
        except Exception:
            log.exception("endpoint %s could not be stopped", endpoint.definition.name)
        if self._endpoints.get(endpoint.definition.name) is endpoint:
            del self._endpoints[endpoint.definition.name]
            endpoint.events.publish(EndpointDeleted())

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine for which nobody waits. ``stop`` cancels it."""
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._has_ended)

    def _has_ended(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("something failed inside the emulator", exc_info=error)

    async def stop(self) -> None:
        """Stop everything."""
        await cancel(self._work)
        await asyncio.gather(*(endpoint.stop() for endpoint in self))
