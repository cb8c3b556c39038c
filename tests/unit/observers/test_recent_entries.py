"""The ring of entries: numbered, in order, bounded; and each event with a sentence."""

from __future__ import annotations

import pytest

import emulator.events
from emulator.clock import Clock
from emulator.entries import EventEntry
from emulator.events import CallEnded, Event, Events, LogLine, ModelLoaded, ModelUnloaded
from emulator.invocation import Invocation
from emulator.observers import recent_entries
from emulator.observers.event_entries import SENTENCES
from emulator.observers.recent_entries import KEPT_CALLS, RecentEntries

# What is no entry of its own: calls and logs have others, and what only measures is in the metrics.
NO_SENTENCE = {
    "CallEnded",
    "InstanceObserved",
    "InvocationCaptured",
    "InvocationEnded",
    "Invoked",
    "JobMetric",
    "LogLine",
    "NotAnswered",
}


def listening() -> tuple[Events, RecentEntries]:
    events, entries = Events(), RecentEntries(Clock(now=lambda: 1000.0, elapsed=lambda: 10.0))
    entries.listen_to(events)
    return events.within(endpoint_name="e", region="r", variant_name="v", instance_id="i-1", container="c"), entries


def call(body: bytes = b"body", target_model: str = "m") -> CallEnded:
    invocation = Invocation("e", body, 10.0, "id", target_model, content_type=b"text/csv")
    invocation.measurements.cache_hit = False
    invocation.measurements.steps = (("load", "c", 10.1, 10.3), ("container", "c", 10.3, 10.35))
    return CallEnded(invocation, 10.4, 200, len(body), 7)


def test_every_kind_of_event_has_a_sentence_or_is_an_entry_of_another_type() -> None:
    kinds = {kind for kind in vars(emulator.events).values() if isinstance(kind, type) and issubclass(kind, Event)}
    assert {kind.__name__ for kind in kinds - {Event} - set(SENTENCES)} == NO_SENTENCE


def test_entries_of_all_types_are_in_order() -> None:
    events, entries = listening()
    events.publish(ModelLoaded("m", 0.2, 0.5, 2**20, 3 * 2**20))
    events.publish(call())
    events.publish(LogLine("hello"))
    events.publish(ModelUnloaded("m", "memory pressure", 0.1, "n", 41.2))
    got = entries.since(0)
    assert [entry["type"] for entry in got] == ["event", "call", "log", "event"]
    assert [entry["sequence"] for entry in got] == [1, 2, 3, 4] == [*range(1, entries.sequence + 1)]
    assert entries.since(2) == got[2:] and entries.since(4) == []


def test_an_eviction_says_for_whom_and_why() -> None:
    events, entries = listening()
    events.publish(ModelUnloaded("asia/tokyo", "memory pressure", 0.1, "asia/osaka", 41.2))
    [entry] = entries.since(0)
    assert entry["type"] == "event" and entry["kind"] == "model_unloaded" and entry["target_model"] == "asia/tokyo"
    assert "evicted for asia/osaka" in entry["text"] and "idle for 41 s" in entry["text"]
    assert entry["details"]["made_room_for"] == "asia/osaka"


def test_a_call_has_its_steps_and_what_reached_the_container() -> None:
    events, entries = listening()
    events.publish(call())
    [entry] = entries.calls()
    assert entry["time"] == 1000.0 and entry["duration_us"] == 400_000 and entry["cold"] is True
    assert [(step["name"], step["start_us"], step["duration_us"]) for step in entry["steps"]] == [
        ("load", 100_000, 200_000),
        ("container", 300_000, 50_000),
    ]
    assert entry["request_headers"] == {"Content-Type": "text/csv", "X-Amzn-SageMaker-Target-Model": "m"}
    assert entries.body(entry["sequence"]) == b"body"


def test_calls_and_bodies_are_bounded() -> None:
    events, entries = listening()
    for _ in range(KEPT_CALLS + 10):
        events.publish(call())
    assert len(entries.calls()) == KEPT_CALLS
    events.publish(call(bytes(recent_entries.KEPT_BODY_BYTES)))
    assert entries.calls()[-1]["request_bytes"] == recent_entries.KEPT_BODY_BYTES
    assert entries.body(entries.sequence) is None
    events.publish(call(b"small"))
    assert entries.body(entries.sequence) == b"small"


def test_lines_are_bounded_by_their_number_and_their_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_entries, "KEPT_LINES", 3)
    monkeypatch.setattr(recent_entries, "KEPT_LINE_CHARACTERS", 10)
    events, entries = listening()
    for line in ("1", "2", "3", "4", "x" * 8, "y" * 9):
        events.publish(LogLine(line))
        kept = [entry["line"] for entry in entries.since(0) if entry["type"] == "log"]
        assert kept[-1] == line
        assert len(kept) <= 3 and sum(map(len, kept)) <= 10
    assert kept == ["y" * 9]


def test_a_follower_gets_each_event_and_call_with_its_body_however_few_are_kept() -> None:
    events, entries = listening()
    got: list[tuple[int, bytes]] = []

    def follow(entry: EventEntry | CallEnded) -> None:
        if isinstance(entry, CallEnded):
            got.append((entry.sequence, entry.invocation.body))
        else:
            got.append((entry["sequence"], b""))

    entries.followers.append(follow)
    big = bytes(recent_entries.KEPT_BODY_BYTES + 1)
    events.publish(call(big))
    events.publish(LogLine("hello"))
    events.publish(ModelLoaded("m", 0.2))
    entries.followers.remove(follow)
    events.publish(call())
    assert got == [(1, big), (3, b"")]
