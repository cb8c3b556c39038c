"""What an emulator's stream of events says, put together: where each model is, and what has happened lately."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from emulator.entries import EventEntry
from emulator.state import (
    EmulatorState,
    EndpointState,
    EndpointUpdate,
    InstanceFigures,
    InstanceState,
    ModelState,
    Place,
)

KEPT_EVENTS = 500  # [ours]
IN_MEMORY = ("in_memory", "pinned", "unloading")


@dataclass
class LiveEndpoint:
    """An endpoint, as the latest messages have it. Instances are named as in ``ModelState.instances``."""

    name: str
    status: str
    failure_reason: str
    has_variants: bool  # more than one
    models: dict[str, ModelState]  # by target model
    places: dict[str, Mapping[str, Place]]  # by target model, the instances that have it
    instances: dict[str, InstanceFigures | InstanceState]

    @classmethod
    def of(cls, state: EndpointState) -> LiveEndpoint:
        """One as it is in the emulator's state."""
        has_variants = len(state["variants"]) > 1
        endpoint = cls(state["endpoint_name"], state["status"], state["failure_reason"], has_variants, {}, {}, {})
        places: dict[str, dict[str, Place]] = {}
        for variant in state["variants"]:
            for instance in variant["instances"]:
                name = endpoint._name(variant["variant_name"], instance["instance_id"])
                endpoint.instances[name] = instance
                for target_model, place in _places(instance).items():
                    places.setdefault(target_model, {})[name] = place
        endpoint.models = {model["target_model"]: model for model in state["models"]}
        endpoint.places = {**places}
        return endpoint

    def update(self, update: EndpointUpdate) -> None:
        """Take over what has changed."""
        self.instances = {self._name(each["variant_name"], each["instance_id"]): each for each in update["instances"]}
        for model in update["models"]:
            self.models[model["target_model"]] = model
            self.places[model["target_model"]] = model["locations"]
        for target_model in update["removed"]:
            self.models.pop(target_model, None)
            self.places.pop(target_model, None)

    def loaded(self, instance: str) -> int:
        """How many models an instance has in memory."""
        return sum(places.get(instance) in IN_MEMORY for places in self.places.values())

    def _name(self, variant_name: str, instance_id: str) -> str:
        return f"{variant_name}/{instance_id}" if self.has_variants else instance_id


class LiveState:
    """An emulator, as the messages of its stream make it out."""

    def __init__(self) -> None:
        self.run = ""  # of the emulator: another one begins anew
        self.url = ""
        self.endpoints: dict[str, LiveEndpoint] = {}
        self.events: deque[EventEntry] = deque(maxlen=KEPT_EVENTS)

    def apply(self, kind: str, data: Any) -> None:
        """Take over a message of ``/_localmme/events``."""
        if kind == "hello":
            if data["run"] != self.run:
                self.events.clear()
            self.run, self.url = data["run"], data["url"]
        elif kind == "state":
            self.show(data)
        elif kind == "models":
            if endpoint := self.endpoints.get(data["endpoint_name"]):
                endpoint.update(data)
        elif kind == "entries":
            self.tell(data["entries"])

    def show(self, state: EmulatorState) -> None:
        """Take over the whole state."""
        self.url = state["url"]
        self.endpoints = {each["endpoint_name"]: LiveEndpoint.of(each) for each in state["endpoints"]}

    def tell(self, entries: Iterable[Any]) -> None:
        """Take over what has happened since."""
        known = self.events[-1]["sequence"] if self.events else 0
        self.events.extend(each for each in entries if each["type"] == "event" and each["sequence"] > known)


def _places(instance: InstanceState) -> dict[str, Place]:
    """Where an instance has which model; the last that is said of one holds."""
    memory, volume = instance["memory"], instance["volume"]
    places: dict[str, Place] = {stored["target_model"]: "on_disk" for stored in volume["models"]}
    places.update(dict.fromkeys(volume["downloading"], "downloading"))
    for model in memory["models"]:
        places[model["target_model"]] = "pinned" if model["in_flight"] else "in_memory"
    places.update(dict.fromkeys(memory["loading"], "loading"))
    places.update(dict.fromkeys(memory["unloading"], "unloading"))
    return places
