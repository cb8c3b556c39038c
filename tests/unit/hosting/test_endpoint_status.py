"""An endpoint's status: nobody but the endpoint changes it, and each change is an event."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from emulator.errors import SetupError
from emulator.events import EndpointStatus, Event, Origin
from emulator.hosting.definition import EndpointDefinition
from emulator.hosting.endpoint import Endpoint
from tests.support.fake_containers import workspace

DEFINITION = EndpointDefinition("e", ())


def endpoint_and_statuses(tmp_path: Path) -> tuple[Endpoint, list[tuple[str, str]]]:
    """An endpoint without variants, and what its events say."""
    place, statuses = workspace(tmp_path), []

    def listen(event: Event, origin: Origin) -> None:
        if isinstance(event, EndpointStatus):
            statuses.append((event.status, event.reason))

    place.events.subscribe(listen)
    endpoint = Endpoint(DEFINITION, place)
    return endpoint, statuses


def test_each_change_of_the_status_is_one_event(tmp_path: Path) -> None:
    async def scenario() -> None:
        endpoint, statuses = endpoint_and_statuses(tmp_path)
        await endpoint.start()
        endpoint.begin_update()
        await endpoint.update(EndpointDefinition("e", ()))
        await endpoint.finish_update()
        endpoint.begin_update()
        await endpoint.update_weights_and_capacities({}, {})
        await endpoint.finish_update("no room")
        endpoint.begin_deletion()
        await endpoint.stop()
        assert statuses == [
            ("Creating", ""),
            ("InService", ""),
            ("Updating", ""),
            ("InService", ""),
            ("Updating", ""),
            ("InService", "no room"),
            ("Deleting", ""),
        ]

    asyncio.run(scenario())


def test_an_endpoint_that_cannot_be_started_is_failed_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: Any) -> None:
        raise SetupError("no container")

    async def scenario() -> None:
        endpoint, statuses = endpoint_and_statuses(tmp_path)
        monkeypatch.setattr("emulator.hosting.endpoint.gather_or_cancel", fails)
        with pytest.raises(SetupError):
            await endpoint.start()
        assert statuses == [("Creating", ""), ("Failed", "no container")]
        assert (endpoint.status, endpoint.failure_reason) == ("Failed", "no container")

    asyncio.run(scenario())


def test_nobody_else_sets_it(tmp_path: Path) -> None:
    endpoint, _ = endpoint_and_statuses(tmp_path)
    for name in ("status", "failure_reason"):
        with pytest.raises(AttributeError):
            setattr(endpoint, name, "InService")
