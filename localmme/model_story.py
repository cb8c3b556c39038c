"""The story of one model, made of the emulator's entries: what became of it, and why it was where at a time."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from emulator.entries import CallEntry, Entry, EventEntry
from emulator.errors import SetupError
from emulator.observers.recent_entries import KEPT_CALLS, KEPT_EVENTS
from emulator.printable import printable
from localmme import emulator_client, tables
from localmme.moments import Moment, shown_time

# By kinds of events, which are named as their classes in emulator/events.py.
LOADED, LOAD_STARTED, LOAD_FAILED = "model_loaded", "load_started", "load_failed"
UNLOADED, MODEL_LOST, LOST = "model_unloaded", "model_lost", "instance_lost"
STOPPED, DELETED = "container_stopped", "endpoint_deleted"  # with all their models
MOVES = (LOAD_STARTED, LOADED, UNLOADED, MODEL_LOST, LOAD_FAILED, STOPPED, LOST, DELETED)  # into memory, and out of it
IN_CONTAINER = "container"  # the step of a call that is no waiting
OWN_LOAD_SECONDS = 0.05  # [ours] by which a call's load may seem to begin before it: two clocks measure them
MOST_LINES = 100  # [ours] that are shown


class Line(NamedTuple):
    """Something that happened."""

    time: float  # seconds since 1970
    instance: str  # empty = not on a single one
    text: str


class Place(NamedTuple):
    """A container's memory."""

    variant_name: str
    instance_id: str
    container: str


@dataclass
class Story:
    """What became of a model of an endpoint, as far as the emulator's entries reach."""

    endpoint_name: str
    target_model: str
    events: Sequence[EventEntry]  # of the endpoint, all that are kept, in order
    calls: Sequence[CallEntry]  # of the model
    is_whole: bool  # nothing that happened before is no longer kept
    calls_since: float  # when the first call came that is still kept, of whatever model; 0 = all are
    now_on: Sequence[str]  # instances that have it in memory now
    now: float  # seconds since 1970
    _own: list[EventEntry] = field(init=False)

    def __post_init__(self) -> None:
        self._own = list(self._concerning())

    @property
    def entries(self) -> list[Entry]:
        """All that concerns the model, in order."""
        entries: list[EventEntry | CallEntry] = [*self._own, *self.calls]
        return [*sorted(entries, key=lambda entry: entry["sequence"])]

    def lines(self) -> list[Line]:
        """The same in words; calls that had nothing to wait for are one line until something else happens."""
        told: list[EventEntry | CallEntry] = [*self._own, *self.calls]
        told.sort(key=lambda entry: (entry["time"], entry["sequence"]))
        lines: list[Line] = []
        quiet: list[CallEntry] = []
        for entry in told:
            if entry["type"] == "call" and not entry["cold"] and not entry["error_code"]:
                if quiet and _instance(quiet[-1]) != _instance(entry):
                    lines += _in_one_line(quiet, self.now)
                    quiet = []
                quiet.append(entry)
                continue
            lines += _in_one_line(quiet, self.now)
            quiet = []
            if entry["type"] == "call":
                what = "a cold call" if entry["cold"] else "a call"
                lines.append(Line(entry["time"], _instance(entry), f"{what} {_outcome(entry)}"))
            elif entry["type"] == "event":
                other = "" if entry["target_model"] in ("", self.target_model) else f"{entry['target_model']} is "
                lines.append(Line(entry["time"], _instance(entry), other + entry["text"]))
        return [*lines, *_in_one_line(quiet, self.now)]

    def answer(self, at: Moment | None = None) -> str:
        """In a sentence or two: where it was at that time, or is now; and why it was not in memory."""
        if at is None:
            on = self._where(self._in_memory(self.now)) or f"on {' and '.join(self.now_on)}"
            now = f"in memory {on}" if self.now_on else f"not in memory: {self._absence(self.now)}"
            cold = next((call for call in reversed(self.calls) if call["cold"]), None)
            return f"It is {now}." + (f" Its last cold call came {self._of_cold(cold)}" if cold else "")
        calls = [call for call in self.calls if call["time"] in at]
        if calls:
            return self._of_call(max(calls, key=lambda call: (bool(call["cold"]), bool(call["error_code"]))))
        calls_kept = at.start >= self.calls_since
        then = "No call came for it then." if calls_kept else "Calls of that time are no longer kept."
        if not self.is_whole and at.start < self._kept_since():
            return f"What happened before {self._time(self._kept_since())} is no longer kept."
        if there := self._in_memory(at.start):
            return f"At {self._time(at.start)} it was in memory {self._where(there)}. {then}"
        return f"At {self._time(at.start)} it was not in memory: {self._absence(at.start)}. {then}"

    def _of_cold(self, call: CallEntry) -> str:
        return f"at {self._time(call['time'])}: {self._absence(call['time'], call)}. It {_outcome(call)}."

    def _of_call(self, call: CallEntry) -> str:
        when, there = self._time(call["time"]), self._in_memory(call["time"])
        if call["cold"]:
            return f"A cold call came {self._of_cold(call)}"
        where = f"; the model was in memory {self._where(there)}" if there else ""
        return f"The call at {when} {_outcome(call)}{where}."

    def _concerning(self) -> Iterator[EventEntry]:
        """The events of the model, and those that took it out of memory with others."""
        there: set[Place] = set()
        for event in self.events:
            if event["target_model"] == self.target_model:
                if event["kind"] == LOADED:
                    there.add(_place(event))
                elif event["kind"] in (UNLOADED, MODEL_LOST):
                    there.discard(_place(event))
                yield event
            elif event["details"].get("made_room_for") == self.target_model:
                yield event
            elif gone := {place for place in there if _takes_along(event, place)}:
                there -= gone
                yield event

    def _in_memory(self, time: float) -> dict[Place, float]:
        """The containers that had it in memory, and since when."""
        there: dict[Place, float] = {}
        for event in self._before(time):
            if event["kind"] == LOADED:
                there[_place(event)] = event["time"]
            elif event["kind"] in (UNLOADED, MODEL_LOST) and event["target_model"] == self.target_model:
                there.pop(_place(event), None)
            else:
                for place in [place for place in there if _takes_along(event, place)]:
                    del there[place]
        return there

    def _absence(self, time: float, call: CallEntry | None = None) -> str:
        """Why it was not in memory; of a call: not on the instance to which that was routed."""
        there = _instance(call) if call is not None else ""
        before = time if call is None else time - OWN_LOAD_SECONDS
        moves = [event for event in self._before(before) if event["kind"] in MOVES and self._is_of(event, there)]
        if moves and moves[-1]["kind"] == LOAD_STARTED:
            coming = f"it was on its way into memory since {self._time(moves[-1]['time'])}"
            return "; ".join(filter(None, [self._why_it_left(moves), coming]))
        if moves:
            return self._why_it_left(moves)
        if not self.is_whole:
            return f"what happened before {self._time(self._kept_since())} is no longer kept"
        if call is not None and (elsewhere := self._in_memory(before)):
            return (
                f"it was routed to {there}, which had not loaded the model; it was in memory {self._where(elsewhere)}"
            )
        return "no call had come for it before"

    def _is_of(self, event: EventEntry, instance: str) -> bool:
        """Whether it is about this model, and that instance or all of them."""
        is_there = not instance or _instance(event) in ("", instance)
        return is_there and event["target_model"] in ("", self.target_model)

    def _why_it_left(self, moves: Sequence[EventEntry]) -> str:
        """Of its ways into memory and out of it, the last one out; empty if there is none."""
        last = next((event for event in reversed(moves) if event["kind"] != LOAD_STARTED), None)
        if last is None:
            return ""
        if last["kind"] == LOADED:
            return f"{_instance(last)}, which had it since {self._time(last['time'])}, was taken out of service"
        return self._what(last)

    def _what(self, event: EventEntry) -> str:
        is_verb = event["kind"] == UNLOADED
        on = f" on {_instance(event)}" if event["instance_id"] else ""
        return f"at {self._time(event['time'])}{on} {'it was ' if is_verb else ''}{event['text']}"

    def _where(self, there: dict[Place, float]) -> str:
        instances = {place.instance_id: since for place, since in there.items()}
        return " and ".join(f"on {name}, since {self._time(since)}" for name, since in instances.items())

    def _before(self, time: float) -> Iterator[EventEntry]:
        return (event for event in self._own if event["time"] <= time)

    def _kept_since(self) -> float:
        return min((event["time"] for event in self.events[:1]), default=self.now)

    def _time(self, time: float) -> str:
        return shown_time(time, self.now)


def read(url: str, target_model: str, endpoint_name: str | None, now: float) -> Story:
    """A model's story from a running emulator; None = of the endpoint that has such a model.

    Raises SetupError when no emulator answers, or there is no such model or endpoint, or several endpoints have one.
    """
    events = emulator_client.kept_entries(url, type="event").entries
    calls = emulator_client.kept_entries(url, type="call").entries  # of all models: to know how far they reach
    endpoints = emulator_client.state(url)["endpoints"]
    names: defaultdict[str, dict[str, Sequence[str]]] = defaultdict(dict)  # by endpoint, the models, and where they are
    for entry in events:
        if entry["endpoint_name"] and entry["target_model"]:
            names[entry["endpoint_name"]][entry["target_model"]] = ()
    for endpoint in endpoints:
        names[endpoint["endpoint_name"]] |= {each["target_model"]: each["instances"] for each in endpoint["models"]}
    if endpoint_name is not None and endpoint_name not in names:
        raise SetupError(
            f"The emulator at {url} has no endpoint {endpoint_name}. It has: {', '.join(names) or 'none'}."
        )
    having = [name for name in names if target_model in names[name] and endpoint_name in (None, name)]
    if not having:
        known = [model for name in names if endpoint_name in (None, name) for model in names[name]]
        advice = emulator_client.similar_models(target_model, known)
        raise SetupError(f"There is no model {target_model}, and nothing is known of one.{advice}")
    if len(having) > 1:
        raise SetupError(
            f"Several endpoints have {target_model}: say which, with --endpoint-name: {', '.join(having)}."
        )
    [name] = having
    return Story(
        name,
        target_model,
        [entry for entry in events if entry["endpoint_name"] == name],
        [entry for entry in calls if (entry["endpoint_name"], entry["target_model"]) == (name, target_model)],
        is_whole=len(events) < KEPT_EVENTS,
        calls_since=calls[0]["time"] if len(calls) >= KEPT_CALLS else 0.0,
        now_on=names[name][target_model],
        now=now,
    )


def show(story: Story, answer: str) -> None:
    """Print it, for people; plain text in a pipe."""
    lines, console = story.lines(), tables.console()
    rows = [[shown_time(line.time, story.now), line.instance, line.text] for line in lines[-MOST_LINES:]]
    if len(lines) > len(rows):
        console.print(f"{len(lines) - len(rows)} earlier lines are not shown; --json has all of it.")
    if not story.is_whole:
        console.print("The emulator no longer keeps all that happened before.")
    if rows:
        columns = ("time", "instance", "what happened")
        title = f"{story.target_model} of endpoint {story.endpoint_name}"
        console.print(tables.rich_table(tables.Table(title, columns, rows, columns[1:])))
    console.print(printable(answer), markup=False, highlight=False)


def _place(event: EventEntry) -> Place:
    return Place(event["variant_name"], event["instance_id"], event["container"])


def _takes_along(event: EventEntry, place: Place) -> bool:
    """Whether what was in that memory is gone with the event."""
    if event["kind"] == STOPPED:
        return place == _place(event)
    if event["kind"] == LOST:
        return place[:2] == _place(event)[:2]
    return event["kind"] == DELETED


def _instance(entry: EventEntry | CallEntry) -> str:
    return entry["instance_id"]


def _in_one_line(calls: Sequence[CallEntry], now: float) -> Iterator[Line]:
    if not calls:
        return
    first, last = calls[0], calls[-1]
    if len(calls) == 1:
        yield Line(first["time"], _instance(first), f"a call {_outcome(first)}")
        return
    median = statistics.median(call["duration_us"] for call in calls)
    until = shown_time(last["time"], now)
    yield Line(
        first["time"], _instance(first), f"{len(calls)} calls until {until}, answered after {_ms(median)} (median)"
    )


def _outcome(call: CallEntry) -> str:
    """What came of a call, as the end of a sentence."""
    waits = [step for step in call["steps"] if step["name"] != IN_CONTAINER]
    waited = ""
    if call["cold"] and waits:
        parts = ", ".join(f"{step['name']} {_ms(step['duration_us'])}" for step in waits)
        waited = f"waited {_ms(sum(step['duration_us'] for step in waits))} ({parts}) and "
    after = _ms(call["duration_us"])
    if call["error_code"]:
        return f"{waited}failed after {after} with {call['status']} {call['error_code']}: {call['error']}"
    return f"{waited}was answered with {call['status']} after {after}"


def _ms(microseconds: float) -> str:
    return f"{microseconds / 1000:,.0f} ms" if microseconds >= 10_000 else f"{microseconds / 1000:.1f} ms"
