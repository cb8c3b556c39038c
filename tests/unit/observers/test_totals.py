"""What is counted of calls and models since an endpoint was created."""

from __future__ import annotations

import pytest

from emulator.events import (
    CallEnded,
    EndpointCreated,
    EndpointDeleted,
    Events,
    LoadFailed,
    ModelDownloaded,
    ModelLoaded,
    ModelUnloaded,
)
from emulator.invocation import Invocation
from emulator.observers.cloudwatch_metrics import COUNTED_TOGETHER
from emulator.observers.totals import BOUNDS, InstanceKey, Totals, cause

KEY = InstanceKey("e", "v", "i-1")


def called(
    seconds: float, status: int = 200, hit: bool | None = True, wait_us: int = 0, instance_id: str = "i-1"
) -> CallEnded:
    invocation = Invocation("e", b"", 10.0)
    measurements = invocation.measurements
    measurements.variant_name, measurements.instance_id, measurements.cache_hit = "v", instance_id, hit
    measurements.load_wait_us, measurements.model_latency_us = wait_us, 500
    if wait_us:
        measurements.steps = ("download", "c", 10.0, 11.0), ("load", "c", 11.0, 13.0), ("load", "c", 13.0, 14.0)
    return CallEnded(invocation, 10.0 + seconds, status, 0, 0)


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def totals(events: Events) -> Totals:
    totals = Totals()
    totals.listen_to(events)
    events.within(endpoint_name="e").publish(EndpointCreated(events))
    return totals


@pytest.mark.parametrize("number", [1, COUNTED_TOGETHER - 1, COUNTED_TOGETHER, 2 * COUNTED_TOGETHER + 1])
def test_every_call_is_counted_once(events: Events, totals: Totals, number: int) -> None:
    for n in range(number):
        events.publish(called(0.002, instance_id=f"i-{n % 3}"))
    counted = totals.copied([InstanceKey("e", "v", f"i-{n}") for n in range(3)])
    assert sum(each.calls[200, True] for each in counted.values()) == number
    assert sum(each.call_times.buckets[BOUNDS.index(0.0025)] for each in counted.values()) == number
    assert sum(each.call_times.total for each in counted.values()) == pytest.approx(0.002 * number)
    assert sum(each.container_seconds for each in counted.values()) == pytest.approx(500e-6 * number)


def test_calls_are_told_apart_by_what_came_of_them(events: Events, totals: Totals) -> None:
    for event in (called(0.001), called(7, hit=False, wait_us=4_000_000), called(1000, 424), called(1, hit=None)):
        events.publish(event)
    counted = totals.copied([KEY])[KEY]
    assert counted.calls == {(200, True): 1, (200, False): 1, (424, True): 1, (200, None): 1}
    assert counted.call_times.buckets == {0: 1, BOUNDS.index(10.0): 1, len(BOUNDS): 1, BOUNDS.index(1.0): 1}
    assert (counted.waits.buckets, counted.waits.total) == ({BOUNDS.index(5.0): 1}, 4)
    assert counted.step_seconds == {"download": 1, "load": 3}


def test_refused_calls_are_counted_but_names_of_endpoints_that_do_not_exist_are_not_kept(
    events: Events, totals: Totals
) -> None:
    for name in ("e", "mistyped", "mistaken"):
        events.publish(CallEnded(Invocation(name, b"", 1.0), 1.0, 400, 0, 0, "ValidationError"))
    counted = totals.copied([])
    assert {key: each.calls for key, each in counted.items()} == {
        InstanceKey("e", "", ""): {(400, None): 1},
        InstanceKey("", "", ""): {(400, None): 2},
    }


def test_models_are_counted_where_they_are(events: Events, totals: Totals) -> None:
    stream = events.within(endpoint_name="e", variant_name="v", instance_id="i-1")
    for event in (
        ModelDownloaded("m", 2.0, 1000),
        ModelDownloaded("n", 0.5, 10),
        LoadFailed("n", "why"),
        ModelLoaded("m", 3.0),
        ModelUnloaded("m", "memory pressure", 0.1),
        ModelUnloaded("m", "its archive has changed; the container did not confirm it", 0.1),
    ):
        stream.publish(event)
    counted = totals.copied([KEY])[KEY]
    assert (counted.downloads.total, counted.downloaded_bytes, counted.failed_loads) == (2.5, 1010, 1)
    assert counted.loads.buckets == {BOUNDS.index(5.0): 1}
    assert counted.unloads == {"memory_pressure": 1, "archive_changed": 1}


def test_a_reason_has_one_of_a_few_labels() -> None:
    assert cause("3 models are loaded, the most that are allowed") == "max_loaded_models"
    assert cause("container answered 507 to an invocation") == "insufficient_memory"
    assert {cause(f"reason {number}") for number in range(100)} == {"other"}


def test_what_is_gone_is_forgotten(events: Events, totals: Totals) -> None:
    for instance_id in ("i-1", "i-2"):
        events.publish(called(0.1, instance_id=instance_id))
    assert totals.copied([KEY]).keys() == {KEY}
    events.publish(called(0.1))
    events.within(endpoint_name="e").publish(EndpointDeleted())
    events.publish(called(0.1))  # was still under way
    assert totals.copied([KEY]).keys() == {InstanceKey("", "", "")}
    events.within(endpoint_name="e").publish(EndpointCreated(events))
    events.publish(called(0.1))
    assert totals.copied([KEY])[KEY].calls == {(200, True): 1}


def test_what_was_handed_out_does_not_change(events: Events, totals: Totals) -> None:
    events.publish(called(0.1, hit=False, wait_us=1))
    before = totals.copied([KEY])[KEY]
    events.publish(called(0.1, hit=False, wait_us=1))
    assert (before.calls.total(), before.waits.buckets.total(), before.step_seconds["download"]) == (1, 1, 1)
