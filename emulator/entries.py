"""The entries of the emulator's story: what happened, each call, each line of a log. JSON, one object an entry.

The page's stream (``/_localmme/events``), ``localmme why`` and ``top``, and the recordings of ``serve --record`` have
the same entries; docs/events.md describes them. Sizes are in bytes, times in seconds since 1970; ``_us`` is
microseconds. A name that does not apply is empty.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

Severity = Literal["info", "warning", "error"]


class EventEntry(TypedDict):
    """Something that happened to a model, a container, an instance, an endpoint or the emulator, but no call."""

    type: Literal["event"]
    sequence: int  # of this run of the emulator, over all types of entries; from 1, and it only grows
    time: float
    kind: str  # such as model_unloaded: the name of its class in events.py
    endpoint_name: str
    variant_name: str
    instance_id: str
    container: str
    target_model: str
    severity: Severity
    text: str  # what happened and why, in a sentence
    details: dict[str, Any]  # the event's own values, by the names that they have in events.py


class CallStep(TypedDict):
    """A part of a call's time. Steps do not overlap; what no step takes is the emulator's own time."""

    name: str  # see Step in invocation.py
    container: str
    start_us: int  # since the call was received
    duration_us: int


class CallEntry(TypedDict):
    """One call of SageMaker Runtime, answered or refused."""

    type: Literal["call"]
    sequence: int
    time: float  # when it was received
    request_id: str
    operation: str  # as in its path: invocations, invocations-response-stream, async-invocations
    endpoint_name: str
    variant_name: str
    instance_id: str
    target_model: str
    status: int  # of the answer to the caller
    error_code: str  # such as ModelError; empty = it went well
    error: str
    fault: str  # what a fault did to it, in words; empty = there was none
    duration_us: int
    cold: bool | None  # whether it waited for its model; None = it came to no container of many models
    steps: list[CallStep]
    request_bytes: int
    response_bytes: int
    request_headers: dict[str, str]  # that reached the container, but Host and the length


class LogEntry(TypedDict):
    """A line of a container's output."""

    type: Literal["log"]
    sequence: int
    time: float
    endpoint_name: str
    variant_name: str
    instance_id: str
    container: str
    line: str


Entry = EventEntry | CallEntry | LogEntry
