"""What an emulator's stream of events says, put together, and the grid of it."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest

from localmme import grid, tables
from localmme.live_state import KEPT_EVENTS, LiveState
from tests.support import live_states as live


def shown(*endpoints: dict[str, Any]) -> LiveState:
    state = LiveState()
    state.apply("hello", live.hello())
    state.apply("state", live.state(*endpoints))
    return state


def places(state: LiveState, name: str = "E") -> dict[str, Any]:
    return {model: {**where} for model, where in state.endpoints[name].places.items()}


def test_where_each_model_is_comes_from_the_whole_state() -> None:
    busy = live.instance("i-1", live.loaded("a"), live.loaded("b", in_flight=2), live.loaded("c"))
    busy["volume"]["models"].append({"target_model": "d", "size_bytes": 1})
    busy["volume"]["downloading"] = ["e"]
    busy["memory"].update(loading=["d"], unloading=["c"])
    state = shown(live.endpoint("E", [], busy, live.instance("i-2", live.loaded("a"))))
    assert places(state) == {
        "a": {"i-1": "in_memory", "i-2": "in_memory"},
        "b": {"i-1": "pinned"},
        "c": {"i-1": "unloading"},
        "d": {"i-1": "loading"},
        "e": {"i-1": "downloading"},
    }
    assert [state.endpoints["E"].loaded(name) for name in ("i-1", "i-2")] == [3, 1]


def test_instances_of_several_variants_have_their_variants_names() -> None:
    one, other = live.instance("i-1", live.loaded("a")), live.instance("i-1")
    state = shown(live.endpoint("E", [live.model("a")], first=[one], second=[other]))
    assert [*state.endpoints["E"].instances] == ["first/i-1", "second/i-1"]
    assert places(state) == {"a": {"first/i-1": "in_memory"}}


def test_an_update_changes_what_it_names_and_nothing_else() -> None:
    models = [live.model(name) for name in ("a", "b", "c")]
    state = shown(live.endpoint("E", models, live.instance("i-1", live.loaded("a"), live.loaded("b"))))
    moved = {**live.model("b", invocations=7), "locations": {"i-1": "failed"}}
    state.apply("models", live.update("E", live.instance("i-1", in_flight=3), models=[moved], removed=["c", "unknown"]))
    assert places(state) == {"a": {"i-1": "in_memory"}, "b": {"i-1": "failed"}}
    there = state.endpoints["E"]
    assert [*there.models] == ["a", "b"] and there.models["b"]["invocations"] == 7
    assert there.instances["i-1"]["in_flight"] == 3
    state.apply("models", live.update("deleted", models=[], removed=[]))


def test_events_are_kept_in_order_once_and_not_beyond_a_run() -> None:
    state = shown()
    first, second = live.event(1, "first"), live.event(3, "second")
    state.apply("entries", {"entries": [first, {"type": "call", "sequence": 2}], "left_out": 0})
    state.apply("entries", {"entries": [first, second], "left_out": 0})
    assert [each["text"] for each in state.events] == ["first", "second"]
    state.apply("hello", live.hello())  # the same run
    assert len(state.events) == 2
    state.apply("hello", live.hello("another"))
    assert not state.events
    state.tell(live.event(number, "x") for number in range(1, KEPT_EVENTS + 10))
    assert len(state.events) == KEPT_EVENTS


def names(state: LiveState, *arguments: Any) -> list[str]:
    return grid.names(state.endpoints["E"], *arguments)


def test_rows_are_sorted_filtered_and_limited_to_those_that_an_instance_has() -> None:
    models = [
        live.model("asia/b", invocations=1, last_used=9.0, memory_bytes=1),
        live.model("asia/a", invocations=5, cache_hits=5, last_used=1.0, model_errors=3),
        live.model("europe/c", invocations=3, memory_bytes=9),
        live.model("tpyo", in_s3=False),  # nowhere: a mistyped name
    ]
    state = shown(live.endpoint("E", models, live.instance("i-1", live.loaded("europe/c"))))
    assert names(state) == ["asia/a", "asia/b", "europe/c"]
    assert {order: names(state, order)[0] for order in grid.ORDERS} == {
        "name": "asia/a",
        "last use": "asia/b",
        "calls": "asia/a",
        "memory": "europe/c",
        "cold starts": "europe/c",
        "failures": "asia/a",
    }
    assert names(state, "name", "ASIA") == ["asia/a", "asia/b"]
    assert names(state, "name", "", True) == ["europe/c"]


def test_the_grid_says_where_each_model_is_and_which_goes_next() -> None:
    models = [
        live.model("a", invocations=4, cache_hits=3, mean_load_wait_us=1_500_000),
        live.model("b"),
        live.model("c"),
    ]
    first = live.instance("i-1", live.loaded("a"), live.loaded("b"), next_victim="a")
    state = shown(live.endpoint("E", models, first, live.instance("i-2", live.loaded("a"))))
    table = grid.table(state.endpoints["E"], "name")
    assert table.columns == ("target model", "i-1", "i-2", "memory", "calls", "hits", "cold", "used")
    assert table.rows == [
        ["a", "goes next", "memory", "-", "4", "75%", "1,500 ms", "-"],
        ["b", "memory", "·", "-", "0", "-", "-", "-"],
        ["c", "·", "·", "-", "0", "-", "-", "-"],
    ]
    many = [live.instance(f"i-{number}", live.loaded("a", in_flight=number)) for number in range(grid.MOST_NAMED + 1)]
    state = shown(live.endpoint("E", models, *many))
    table = grid.table(state.endpoints["E"], "name")
    assert table.rows[0][1:3] == ["■", "◆"] and "■ memory" in table.title and "◆ in use" in table.title


@pytest.mark.parametrize("form", [str, tables.Shown._repr_html_], ids=["text", "html"])
def test_the_picture_has_no_name_that_is_obeyed(form: Any) -> None:
    bad = "<img src=x onerror=alert(1)>[red]\x1b[2J"
    state = shown(live.endpoint(bad, [live.model(bad)], live.instance("i-1", live.loaded(bad))))
    state.tell([live.event(1, bad, bad)])
    text = form(grid.picture(state, 10, time.time()))
    assert "\x1b" not in text and "\\x1b[2J" in text and "[red]" in text
    assert ("<img" not in text) == (form is not str)
    assert cast(str, form(grid.picture(shown(), 10, time.time()))).count("without an endpoint") == 1
