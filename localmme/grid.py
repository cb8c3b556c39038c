"""The grid of an endpoint: its models, and in which of its instances each is on disk, in memory, or on its way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from emulator.sizes import format_size
from emulator.state import ModelState, Place
from localmme.live_state import LiveEndpoint, LiveState
from localmme.moments import shown_time
from localmme.tables import GOES_NEXT, RESOURCE_COLUMNS, Cell, Shown, Table, ago, exists, resources

MOST_NAMED = 4  # instances whose cells have words; of more, there are signs
Where = Place | Literal["goes_next"]  # in memory, from which it is the first to go
WORDS: dict[Where, str] = {
    "on_disk": "disk",
    "downloading": "download",
    "loading": "load",
    "in_memory": "memory",
    "goes_next": GOES_NEXT,
    "pinned": "in use",
    "unloading": "unload",
    "failed": "failed",
}
SIGNS: dict[Where, str] = {
    "on_disk": "_",
    "downloading": "v",
    "loading": "^",
    "in_memory": "■",
    "goes_next": "□",
    "pinned": "◆",
    "unloading": "x",
    "failed": "!",
}
LEGEND = ", ".join(f"{SIGNS[place]} {word}" for place, word in WORDS.items())
STYLES: dict[Where, str] = {
    "on_disk": "faint",
    "downloading": "busy",
    "loading": "busy",
    "in_memory": "good",
    "goes_next": "next",
    "pinned": "used",
    "unloading": "busy",
    "failed": "bad",
}
NOWHERE = Cell("·", "faint")
# What the rows may be in the order of, and by which key.
ORDERS: dict[str, Callable[[ModelState], Any]] = {
    "name": lambda model: model["target_model"],
    "last use": lambda model: -(model["last_used"] or 0),
    "calls": lambda model: -model["invocations"],
    "memory": lambda model: -(model["memory_bytes"] or 0),
    "cold starts": lambda model: model["cache_hits"] - model["invocations"],
    "failures": lambda model: -(model["failed_loads"] + model["model_errors"]),
}
EVENT_COLUMNS = ("time", "instance", "model", "what happened")


class Row(NamedTuple):
    """A model."""

    target_model: str
    places: Sequence[Where | None]  # for each instance
    others: Sequence[str]  # the columns after the instances, see COLUMNS

    def cells(self, signs: bool) -> list[str]:
        """The texts of the row."""
        texts = SIGNS if signs else WORDS
        places = [NOWHERE if place is None else Cell(texts[place], STYLES[place]) for place in self.places]
        return [self.target_model, *places, *self.others]


COLUMNS = ("memory", "calls", "hits", "cold", "used")


def names(endpoint: LiveEndpoint, order: str = "name", wanted: str = "", active_only: bool = False) -> list[str]:
    """The models whose names contain ``wanted``, in one of ``ORDERS``; or only those that an instance has."""
    there = [
        model
        for name, model in endpoint.models.items()
        if wanted.lower() in name.lower() and exists(model) and (endpoint.places.get(name) or not active_only)
    ]
    there.sort(key=lambda model: (ORDERS[order](model), model["target_model"]))
    return [model["target_model"] for model in there]


def row(endpoint: LiveEndpoint, target_model: str) -> Row:
    """A model that the endpoint has."""
    model = endpoint.models[target_model]
    calls, waited = model["invocations"], model["mean_load_wait_us"]
    others = [
        "-" if model["memory_bytes"] is None else format_size(model["memory_bytes"]),
        str(calls),
        f"{model['cache_hits'] / calls:.0%}" if calls else "-",
        f"{waited / 1000:,.0f} ms" if waited else "-",
        ago(model["last_used"]),
    ]
    return Row(target_model, [_where(endpoint, target_model, instance) for instance in endpoint.instances], others)


def _where(endpoint: LiveEndpoint, target_model: str, instance: str) -> Where | None:
    place = endpoint.places.get(target_model, {}).get(instance)
    is_next = place == "in_memory" and endpoint.instances[instance]["memory"]["next_victim"] == target_model
    return "goes_next" if is_next else place


def table(endpoint: LiveEndpoint, order: str) -> Table:
    """The grid as a table."""
    shown = [row(endpoint, name) for name in names(endpoint, order)]
    signs = len(endpoint.instances) > MOST_NAMED
    columns = ("target model", *endpoint.instances, *COLUMNS)
    title = f"Models ({LEGEND})" if signs else "Models"
    return Table(title, columns, [each.cells(signs) for each in shown], endpoint.instances)


def picture(state: LiveState, events: int, now: float, order: str = "name") -> Shown:
    """All endpoints with their instances and their grids, and the latest events."""
    tables: list[Table] = []
    for endpoint in state.endpoints.values():
        reason = f": {endpoint.failure_reason}" if endpoint.failure_reason else ""
        title = f"Endpoint {endpoint.name}, {endpoint.status}{reason}"
        tables.append(
            Table(
                title,
                RESOURCE_COLUMNS,
                [resources(name, instance, endpoint.loaded(name)) for name, instance in endpoint.instances.items()],
            )
        )
        if (grid := table(endpoint, order)).rows:
            tables.append(grid)
    if latest := list(state.events)[-events:]:
        told = [
            [shown_time(each["time"], now), each["instance_id"], each["target_model"], each["text"]] for each in latest
        ]
        tables.append(Table("What happened lately", EVENT_COLUMNS, told, EVENT_COLUMNS))
    return Shown(f"localmme at {state.url}" + ("" if state.endpoints else ", without an endpoint"), tables)
