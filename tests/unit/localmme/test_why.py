"""``localmme why``: a model's story from the emulator's entries, and why it was cold, or not in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
from click.testing import CliRunner

from emulator.clock import Clock
from emulator.errors import SetupError
from emulator.events import (
    CallEnded,
    ContainerStopped,
    EndpointDeleted,
    Event,
    Events,
    InstanceLost,
    LoadFailed,
    LoadStarted,
    LogLine,
    ModelDownloaded,
    ModelLoaded,
    ModelLost,
    ModelUnloaded,
)
from emulator.invocation import Invocation, Step
from emulator.observers.recent_entries import KEPT_EVENTS, RecentEntries
from localmme import emulator_client
from localmme.cli.main import main
from localmme.model_story import Story
from localmme.moments import Moment, parse_moment, shown_time

OSAKA, TOKYO = "asia/osaka.tar.gz", "asia/tokyo.tar.gz"
NOON = datetime(2026, 3, 4, 12).timestamp()  # in this machine's time zone, as people write times


class Happening:
    """An emulator's entries, of events at seconds after noon."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self.entries = RecentEntries(Clock(now=lambda: NOON + self._seconds, elapsed=lambda: self._seconds))
        self._events = Events()
        self.entries.listen_to(self._events)

    def at(self, seconds: float, event: Event, instance: str = "i-1", endpoint: str = "E") -> None:
        self._seconds = seconds
        names = {"variant_name": "A", "instance_id": instance, "container": "primary"} if instance else {}
        self._events.within(endpoint_name=endpoint, region="r", **names).publish(event)

    def call(
        self,
        seconds: float,
        *steps: Step,
        cold: bool = False,
        status: int = 200,
        error: str = "",
        instance: str = "i-1",
        model: str = OSAKA,
    ) -> None:
        ended = max([seconds + 0.02, *(step[3] for step in steps)])
        invocation = Invocation("E", b"?", seconds, "id", model)
        measured = invocation.measurements
        measured.variant_name, measured.instance_id = "A", instance
        measured.cache_hit, measured.steps = not cold, steps
        self.at(ended, CallEnded(invocation, ended, status, 1, 2, "ModelError" if error else "", error), instance)

    def loaded(self, seconds: float, model: str = OSAKA, instance: str = "i-1") -> None:
        self.at(seconds, LoadStarted(model), instance)
        self.at(seconds + 0.5, ModelDownloaded(model, 0.5, 2**20), instance)
        self.at(seconds + 1, ModelLoaded(model, 0.5), instance)

    def evicted(self, seconds: float, model: str = OSAKA, wanted: str = TOKYO) -> None:
        self.at(seconds, ModelUnloaded(model, "memory pressure", 0.1, wanted, 41.0))

    def story(
        self,
        seconds: float,
        model: str = OSAKA,
        now_on: Sequence[str] = (),
        is_whole: bool = True,
        calls_since: float = 0.0,
    ) -> Story:
        entries: list[Any] = self.entries.since(0)
        events = [entry for entry in entries if entry["type"] == "event"]
        calls = [entry for entry in entries if entry["type"] == "call" and entry["target_model"] == model]
        since = calls_since and NOON + calls_since
        return Story("E", model, events, calls, is_whole, since, now_on, NOON + seconds)


def minute(number: int) -> Moment:
    return Moment(NOON + 60 * number, NOON + 60 * (number + 1))


def test_a_cold_call_says_for_whom_its_model_was_evicted_and_what_it_waited_for() -> None:
    happening = Happening()
    happening.loaded(10)
    happening.loaded(60, TOKYO)
    happening.evicted(59)
    happening.at(190, LoadStarted(OSAKA))
    happening.at(190.4, ModelLoaded(OSAKA, 0.4))
    happening.call(190, ("make room", "primary", 190, 190.1), ("load", "primary", 190.1, 190.4), cold=True)
    happening.call(200)
    story = happening.story(300, now_on=["i-1"])
    assert story.answer(minute(3)) == (
        "A cold call came at 12:03:10: at 12:00:59 on i-1 it was evicted for asia/tokyo.tar.gz: memory pressure, least "
        "recently used, idle for 41 s. It waited 400 ms (make room 100 ms, load 300 ms) and was answered with 200 "
        "after 400 ms."
    )
    assert story.answer().startswith(
        "It is in memory on i-1, since 12:03:10. Its last cold call came at 12:03:10: at 12:00:59 on i-1"
    )
    assert story.answer(minute(2)) == (
        "At 12:02:00 it was not in memory: at 12:00:59 on i-1 it was evicted for asia/tokyo.tar.gz: memory pressure, "
        "least recently used, idle for 41 s. No call came for it then."
    )
    assert story.answer(minute(4)) == "At 12:04:00 it was in memory on i-1, since 12:03:10. No call came for it then."


def test_a_model_that_was_never_wanted_and_one_whose_first_call_it_was() -> None:
    happening = Happening()
    happening.call(5, ("load", "primary", 5, 6), cold=True)
    happening.loaded(5)
    assert (
        happening.story(60)
        .answer(minute(0))
        .startswith("A cold call came at 12:00:05: no call had come for it before.")
    )
    assert happening.story(60, TOKYO).answer() == "It is not in memory: no call had come for it before."
    assert happening.story(60, TOKYO).lines() == []


@pytest.mark.parametrize(
    ("event", "instance", "why"),
    [
        (ContainerStopped("exit code 137"), "i-1", "at 12:01:00 on i-1 the container is replaced: exit code 137"),
        (ModelLost(OSAKA, "404"), "i-1", "at 12:01:00 on i-1 it is loaded again at its next use: 404"),
        (EndpointDeleted(), "", "at 12:01:00 the endpoint is deleted"),
        (
            LoadFailed(OSAKA, "no module named torch"),
            "i-1",
            "at 12:01:00 on i-1 it failed to load: no module named torch",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Event) else "",
)
def test_what_else_takes_a_model_out_of_memory(event: Event, instance: str, why: str) -> None:
    happening = Happening()
    happening.loaded(10)
    if isinstance(event, LoadFailed):
        happening.at(30, ModelUnloaded(OSAKA, "reloaded", 0.1))
    happening.at(60, event, instance)
    story = happening.story(120)
    assert story.answer() == f"It is not in memory: {why}."
    assert story.lines()[-1].text == why.split("i-1 ")[-1].split("12:01:00 ")[-1]


def test_a_lost_instance_takes_along_only_what_it_had() -> None:
    happening = Happening()
    happening.loaded(10)
    happening.loaded(20, instance="i-2")
    happening.at(60, InstanceLost("it was ended", "i-3"), "i-2")
    story = happening.story(120, now_on=["i-1"])
    assert story.answer() == "It is in memory on i-1, since 12:00:11."
    assert [line.instance for line in story.lines()][-1] == "i-2"
    happening.at(70, InstanceLost("it was ended", "i-4"), "i-5")  # which never had it
    assert len(happening.story(120).lines()) == len(story.lines())


def test_of_several_instances_the_one_that_had_not_loaded_it_is_named() -> None:
    happening = Happening()
    happening.loaded(10)
    happening.call(70, ("load", "primary", 70, 71), cold=True, instance="i-2")
    answer = happening.story(120, now_on=["i-1"]).answer(minute(1))
    assert answer.startswith(
        "A cold call came at 12:01:10: it was routed to i-2, which had not loaded the model; it was in memory on i-1, "
        "since 12:00:11. It waited 1,000 ms (load 1,000 ms)"
    )


def test_a_call_that_came_while_the_model_was_on_its_way() -> None:
    happening = Happening()
    happening.at(10, LoadStarted(OSAKA))
    happening.call(12, ("wait", "primary", 12, 15), cold=True)
    assert "came at 12:00:12: it was on its way into memory since 12:00:10. It waited 3,000 ms (wait 3,000 ms)" in (
        happening.story(60).answer(minute(0))
    )


def test_a_failed_call_has_the_words_of_its_container() -> None:
    happening = Happening()
    happening.loaded(10)
    happening.call(70, status=400, error="ValueError: no column rooms")
    happening.call(71)
    assert happening.story(120, now_on=["i-1"]).answer(minute(1)) == (
        "The call at 12:01:10 failed after 20 ms with 400 ModelError: ValueError: no column rooms; the model was in "
        "memory on i-1, since 12:00:11."
    )


def test_what_is_no_longer_kept_is_not_made_up() -> None:
    happening = Happening()
    happening.at(60, ModelLoaded(TOKYO, 0.5))
    happening.call(70, ("load", "primary", 70, 71), cold=True)
    story = happening.story(120, now_on=["i-1"], is_whole=False)
    assert "A cold call came at 12:01:10: what happened before 12:01:00 is no longer kept." in story.answer(minute(1))
    assert story.answer().startswith("It is in memory on i-1. Its last cold call")
    assert story.answer(minute(0)) == "What happened before 12:01:00 is no longer kept."


def test_a_time_of_which_calls_are_no_longer_kept_is_not_said_to_have_had_none() -> None:
    happening = Happening()
    happening.loaded(10)
    answer = happening.story(300, now_on=["i-1"], calls_since=120.0).answer(minute(1))
    assert answer == "At 12:01:00 it was in memory on i-1, since 12:00:11. Calls of that time are no longer kept."


def test_an_instance_that_was_taken_out_of_service_is_not_said_to_have_it() -> None:
    happening = Happening()
    happening.loaded(10)
    why = "It is not in memory: i-1, which had it since 12:00:11, was taken out of service."
    assert happening.story(120, now_on=[]).answer() == why


def test_the_lines_are_in_order_and_calls_that_waited_for_nothing_are_one() -> None:
    happening = Happening()
    happening.call(10, ("load", "primary", 10, 11), cold=True)
    happening.loaded(10)
    for number in range(5):
        happening.call(20 + number)
    happening.call(26, status=500, error="out of memory")
    happening.call(27)
    happening.evicted(30, "other", wanted=OSAKA)  # for this one
    happening.evicted(31, "third", wanted=TOKYO)  # no concern of this one
    happening.at(32, LogLine("hello"))
    lines = [
        (shown_time(line.time, NOON), re.sub(r"^(loaded in 500 ms).*", r"\1", line.text))
        for line in happening.story(60).lines()
    ]
    assert lines == [
        ("12:00:10", "a cold call waited 1,000 ms (load 1,000 ms) and was answered with 200 after 1,000 ms"),
        ("12:00:10", "it is on its way into memory"),
        ("12:00:10", "downloaded and extracted: 1 MiB in 500 ms"),
        ("12:00:11", "loaded in 500 ms"),
        ("12:00:20", "5 calls until 12:00:24, answered after 20 ms (median)"),
        ("12:00:26", "a call failed after 20 ms with 500 ModelError: out of memory"),
        ("12:00:27", "a call was answered with 200 after 20 ms"),
        ("12:00:30", "other is evicted for asia/osaka.tar.gz: memory pressure, least recently used, idle for 41 s"),
    ]


# The command


@pytest.fixture
def happening(monkeypatch: pytest.MonkeyPatch) -> Happening:
    """What the emulator's pages say."""
    happening = Happening()

    def page(_: str, name: str) -> dict[str, Any]:
        if name == "state":
            models = [{"target_model": name, "instances": []} for name in (OSAKA, TOKYO, "never.tar.gz")]
            return {"url": "", "endpoints": [{"endpoint_name": "E", "models": models}]}
        entries: list[Any] = happening.entries.since(0)
        [kind] = [kind for kind in ("event", "call") if f"type={kind}" in name]
        return {"run": "r", "sequence": 0, "entries": [entry for entry in entries if entry["type"] == kind]}

    monkeypatch.setattr(emulator_client, "page", page)
    return happening


def why(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["why", *words, "--url", "http://127.0.0.1:9"])
    return result.exit_code, result.output


def test_it_prints_the_lines_and_the_answer_and_nothing_that_a_terminal_obeys(happening: Happening) -> None:
    happening.at(10, LoadFailed(OSAKA, "[red]\x1b[2Jno\nmodule"))
    status, output = why(OSAKA)
    assert status == 0 and "\x1b" not in output
    assert "it failed to load: [red]\\x1b[2Jno\\nmodule" in output
    assert output.rstrip().splitlines()[-1].startswith("It is not in memory: at ")


def test_as_json_it_has_the_entries(happening: Happening) -> None:
    happening.loaded(10)
    status, output = why(OSAKA, "--json", "--at", "2026-03-04T12:00:12")
    document = json.loads(output)
    assert status == 0 and document["at"] == [NOON + 12, NOON + 13] and document["is_whole"] is True
    assert (document["endpoint_name"], document["target_model"]) == ("E", OSAKA)
    assert [entry["kind"] for entry in document["entries"]] == ["load_started", "model_downloaded", "model_loaded"]
    assert document["answer"].endswith("it was in memory on i-1, since 2026-03-04 12:00:11. No call came for it then.")


def test_when_more_has_happened_than_is_kept_it_says_so(happening: Happening) -> None:
    for number in range(KEPT_EVENTS + 1):
        happening.at(number, LoadStarted(TOKYO))
    status, output = why("never.tar.gz")
    assert status == 0 and "no longer keeps all that happened before" in output
    assert output.rstrip().endswith("is no longer kept.")


def test_an_unknown_name_is_refused_with_similar_ones(happening: Happening) -> None:
    assert why("asia/osaka") == (
        1, f"Error: There is no model asia/osaka, and nothing is known of one. Did you mean {OSAKA}?\n"
    )  # fmt: skip
    assert why(OSAKA, "--endpoint-name", "F")[1].endswith("has no endpoint F. It has: E.\n")
    happening.at(10, ModelLoaded(OSAKA, 0.1), endpoint="deleted")
    assert "say which, with --endpoint-name: deleted, E." in why(OSAKA)[1]
    assert "At 2026-03-04" not in why(OSAKA, "--endpoint-name", "deleted")[1]


# Times


@pytest.mark.parametrize(
    ("text", "start", "length"),
    [
        ("11:03", -3420, 60),
        ("11:03:20", -3400, 1),
        ("2026-03-04T11:03", -3420, 60),
        ("2026-03-04 11:03:20", -3400, 1),
        ("2026-03-04T11:03:20.5", -3399.5, 1),
    ],
)
def test_a_time_is_one_of_today_or_of_iso_8601(text: str, start: float, length: float) -> None:
    assert parse_moment(text, NOON) == Moment(NOON + start, NOON + start + length)


def test_a_time_may_say_its_zone() -> None:
    at = datetime(2026, 3, 4, 12).timestamp()
    utc = datetime.fromtimestamp(at).astimezone().astimezone(tz=None)
    assert parse_moment(utc.isoformat(), NOON) == Moment(NOON, NOON + 1)
    assert parse_moment("2020-01-01T00:00:00Z", NOON).start == 1577836800.0
    assert parse_moment("2020-01-01T00:00+01:00", NOON) == Moment(1577833200.0, 1577833260.0)


@pytest.mark.parametrize("text", ["", "noon", "25:00", "2026-03-04", "12", "12:01"])
def test_what_is_no_time_or_is_still_to_come_is_refused(text: str) -> None:
    with pytest.raises(SetupError, match="is not a time|is still to come"):
        parse_moment(text, NOON)
