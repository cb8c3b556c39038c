"""Events as entries: each kind has a sentence, and is documented with what it says."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from emulator.events import (
    ContainerStarted,
    EndpointStatus,
    Event,
    InstanceLost,
    LoadRetried,
    ModelDeleted,
    ModelLoaded,
    ModelLost,
    ModelNotReady,
    ModelUnloaded,
    Origin,
)
from emulator.observers.event_entries import SENTENCES, event_entry
from tests.support.repository import REPOSITORY

MIB = 2**20
ORIGIN = Origin("e", "us-east-1", "A", "i-1", "primary")


@pytest.mark.parametrize(
    "event, severity, text",
    [
        (
            ModelUnloaded("a", "memory pressure", 0.1, "asia/osaka", 41.2, 1800 * MIB, 1200 * MIB),
            "info",
            "evicted for asia/osaka: memory pressure, least recently used, idle for 41 s, memory 1.8 GiB -> 1.2 GiB",
        ),
        (ModelUnloaded("a", "its archive has changed", 0.1), "info", "unloaded: its archive has changed"),
        (
            ModelUnloaded("a", "memory pressure", 0.1, "b", None, None, None, 5 * MIB),
            "warning",
            "evicted for b: memory pressure, a leak: 5 MiB more are left in use than after its unload before",
        ),
        (
            ModelDeleted("a", "storage volume full", "b"),
            "info",
            "deleted from the storage volume for b: storage volume full",
        ),
        (ModelLoaded("a", 0.1, 0.5), "info", "loaded in 100 ms, 500 ms since it was wanted"),
        (LoadRetried("a", "container answered 507"), "warning", "its load is tried again: container answered 507"),
        (
            ModelNotReady("a", "is being downloaded", 60.04),
            "warning",
            "not ready for a call after 60.0 s: it is being downloaded",
        ),
        (ModelLost("a", "why"), "warning", "it is loaded again at its next use: why"),
        (InstanceLost("why", "i-2"), "error", "the instance is lost: why; i-2 takes its place"),
        (
            ContainerStarted(1.25, "1 GiB"),
            "info",
            "the container is healthy after 1.2 s; its memory is limited to 1 GiB",
        ),
        (EndpointStatus("Failed", "why"), "error", "the endpoint is Failed: why"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Event) else "",
)
def test_what_happened_and_why_is_a_sentence(event: Any, severity: str, text: str) -> None:
    entry = event_entry(event, ORIGIN, 7, 1.5)
    assert (entry["severity"], entry["text"], entry["sequence"], entry["time"]) == (severity, text, 7, 1.5)
    assert entry["target_model"] == getattr(event, "target_model", "")
    assert (entry["endpoint_name"], entry["instance_id"], entry["container"]) == ("e", "i-1", "primary")


@pytest.mark.parametrize("kind", SENTENCES, ids=lambda kind: kind.__name__)
def test_each_kind_is_documented_with_its_details(kind: type[Event]) -> None:
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
    rows = (REPOSITORY / "docs" / "events.md").read_text().split("### Kinds of events")[1].split("\n### ")[0]
    [row] = [line for line in rows.splitlines() if line.startswith("| ") and f"`{name}`" in line.split(" | ")[0]]
    details = {field.name for field in dataclasses.fields(kind)} - {"target_model", "events"}  # type: ignore[arg-type]
    assert details <= set(re.findall(r"`(\w+)`", row))
