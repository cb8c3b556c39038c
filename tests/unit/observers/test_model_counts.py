"""Counts of models: those of all that were ever there, the last failures of other names; each endpoint's its own."""

from __future__ import annotations

import time

from emulator.events import (
    EndpointCreated,
    EndpointDeleted,
    Event,
    Events,
    Invoked,
    LoadFailed,
    ModelDownloaded,
    ModelLoaded,
    ModelUnloaded,
    Origin,
)
from emulator.observers.model_counts import KEPT_FAILURES, CountsByEndpoint, CountsByModel


def happened(*events: Event) -> CountsByModel:
    history, stream = CountsByModel(time.time), Events(Origin("E", "V"))
    history.listen_to(stream)
    for event in events:
        stream.publish(event)
    return history


def test_names_of_no_model_are_forgotten_but_for_the_last() -> None:
    names = [f"mistyped-{n}" for n in range(3 * KEPT_FAILURES)]
    history = happened(*(LoadFailed(name, "no such archive") for name in names))
    assert list(history.models) == names[-KEPT_FAILURES:]


def test_a_name_that_is_tried_again_counts_as_the_last() -> None:
    names = [f"mistyped-{n}" for n in range(KEPT_FAILURES)]
    history = happened(*(LoadFailed(name, "no such archive") for name in [*names, names[0], "another"]))
    assert names[0] in history.models and names[1] not in history.models
    assert history.models[names[0]].failed_loads == 2


def test_models_that_were_there_stay_however_many_there_are_and_however_they_fail() -> None:
    models = [f"model-{n}" for n in range(3 * KEPT_FAILURES)]
    came = [ModelDownloaded(name, 0.1, 1) for name in models]
    failed = [LoadFailed(name, "the handler is wrong") for name in models]
    uploaded_later = [LoadFailed("late", "no such archive"), ModelDownloaded("late", 0.1, 1)]
    mistyped = [LoadFailed(f"mistyped-{n}", "no such archive") for n in range(2 * KEPT_FAILURES)]
    history = happened(*came, *failed, *uploaded_later, *mistyped)
    assert {*models, "late"} <= set(history.models)
    assert len(history.models) == len(models) + 1 + KEPT_FAILURES


def test_loads_failures_evictions_and_times_are_kept_for_each_model() -> None:
    times = iter((10.0, 20.0, 30.0, 40.0))
    history, stream = CountsByModel(lambda: next(times)), Events(Origin("E", "V"))
    history.listen_to(stream)
    for event in (
        LoadFailed("a", "not compressed with gzip"),
        ModelLoaded("a", 0.1),
        Invoked("a", 200, False, 1, 2),
        Invoked("a", 500, True, 1, 2),
        Invoked("a", 200, False, 4, 2),
        ModelUnloaded("a", "memory pressure", 0.1),
        LoadFailed("b", "its container ended"),
    ):
        stream.publish(event)
    a, b = history.models["a"], history.models["b"]
    assert (a.loads, a.failed_loads, a.unloads, a.invocations, a.model_errors) == (1, 1, 1, 3, 1)
    assert (a.last_loaded, a.last_used) == (10.0, 40.0)
    assert (a.load_wait_us, a.mean_load_wait_us, b.mean_load_wait_us) == (4, 2, 0)  # 1 and 4, rounded down
    assert (b.loads, b.failed_loads, b.last_loaded, b.last_used) == (0, 1, None, None)


def endpoint(stream: Events) -> Events:
    """A new endpoint of this name, whose first event has happened."""
    events = stream.within(endpoint_name="E")
    events.publish(EndpointCreated(events))
    return events


def test_what_an_endpoint_reports_after_its_end_does_not_count_for_the_next_one_of_its_name() -> None:
    counts, stream = CountsByEndpoint(time.time), Events()
    counts.listen_to(stream)
    first = endpoint(stream)
    first.within(variant_name="V").publish(ModelLoaded("a", 0.1))
    assert counts.models("E")["a"].loads == 1
    first.publish(EndpointDeleted())
    first.publish(ModelUnloaded("a", "its container ended", 0.1))
    assert not counts.models("E")
    second = endpoint(stream)
    first.publish(Invoked("a", 0, True, 1, 2))
    assert not counts.models("E")
    second.publish(ModelLoaded("a", 0.1))
    assert (counts.models("E")["a"].loads, counts.models("E")["a"].unloads) == (1, 0)
