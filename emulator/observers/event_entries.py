"""Events as entries of the emulator's story: each with what happened, and why, in a sentence."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

from emulator.entries import EventEntry, Severity
from emulator.events import (
    ActionTaken,
    ArchiveChanged,
    ContainerStarted,
    ContainerStarting,
    ContainerStopped,
    EndpointCreated,
    EndpointDeleted,
    EndpointStatus,
    Event,
    FaultInjected,
    ImagePulling,
    InstanceLost,
    InstanceReplaced,
    InvocationRetried,
    JobStatus,
    LoadFailed,
    LoadRetried,
    LoadStarted,
    MemoryExceeded,
    ModelDeleted,
    ModelDownloaded,
    ModelLoaded,
    ModelLost,
    ModelNotReady,
    ModelUnloaded,
    Origin,
    Ready,
    Warned,
)
from emulator.sizes import format_size

Sentence = tuple[Severity, str]


def _endpoint_status(event: EndpointStatus) -> Sentence:
    reason = f": {event.reason}" if event.reason else ""
    return "error" if event.status == "Failed" else "info", f"the endpoint is {event.status}{reason}"


def _image_pulling(event: ImagePulling) -> Sentence:
    return "info", f"pulling {event.image}: {event.fraction:.0%}"


def _container_started(event: ContainerStarted) -> Sentence:
    memory = f"; its memory is limited to {event.memory_limit}" if event.memory_limit else ""
    return "info", f"the container is healthy after {event.seconds:.1f} s{memory}"


def _model_downloaded(event: ModelDownloaded) -> Sentence:
    return "info", f"downloaded and extracted: {format_size(event.size_bytes)} in {_ms(event.seconds)}"


def _model_deleted(event: ModelDeleted) -> Sentence:
    return "info", f"deleted from the storage volume{for_model(event.made_room_for)}: {event.reason}"


def _model_loaded(event: ModelLoaded) -> Sentence:
    return "info", f"loaded in {load_times(event)}"


def load_times(event: ModelLoaded) -> str:
    """How long a load took, and what it changed, as a list of words."""
    before, after, takes = event.used_before_bytes, event.used_after_bytes, event.memory_bytes
    words = [_ms(event.seconds), f"{_ms(event.total_seconds)} since it was wanted"]
    if after is not None:
        words.append(f"memory {format_size(before)} -> {format_size(after)}")
    elif takes is not None:
        words.append(f"memory {format_size(before)} and {format_size(takes)} for it")
    return ", ".join(words)


def _model_unloaded(event: ModelUnloaded) -> Sentence:
    verb = "evicted" if event.made_room_for else "unloaded"
    severity: Severity = "warning" if event.leaked_bytes else "info"
    return severity, f"{verb}{for_model(event.made_room_for)}: {unload_causes(event)}"


def unload_causes(event: ModelUnloaded) -> str:
    """Why a model was unloaded, and what that gave back, as a list of words."""
    words = [event.reason]
    if event.idle_seconds is not None:
        words += [*(["least recently used"] if event.made_room_for else []), f"idle for {event.idle_seconds:.0f} s"]
    if event.used_before_bytes is not None and event.used_after_bytes is not None:
        words.append(f"memory {format_size(event.used_before_bytes)} -> {format_size(event.used_after_bytes)}")
    if event.leaked_bytes:
        words.append(f"a leak: {format_size(event.leaked_bytes)} more are left in use than after its unload before")
    return ", ".join(words)


def _invocation_retried(event: InvocationRetried) -> Sentence:
    return "warning", f"a call goes to another instance than {event.instance_id}: {event.reason}"


def _archive_changed(event: ArchiveChanged) -> Sentence:
    then = "it is loaded anew" if event.reloaded else "the version first loaded is served on"
    return "warning", f"its archive in S3 has changed: {then}"


def _job_status(event: JobStatus) -> Sentence:
    reason = f": {event.reason}" if event.reason else ""
    return "error" if event.reason else "info", f"the job is {event.status}: {event.message}{reason}"


def _memory_exceeded(event: MemoryExceeded) -> Sentence:
    used, has = format_size(event.used_bytes), format_size(event.memory_bytes)
    return "warning", f"the containers use {used} together, and the instance has {has}"


# Each kind of events that is told, with what it says. What is not here is no entry: calls have entries of their own.
SENTENCES: dict[type[Event], Callable[[Any], Sentence]] = {
    Ready: lambda event: ("info", "the emulator is ready"),
    EndpointCreated: lambda event: ("info", "the endpoint was created"),
    EndpointDeleted: lambda event: ("info", "the endpoint is deleted"),
    EndpointStatus: _endpoint_status,
    ActionTaken: lambda event: ("warning", f"asked for by an operator: {event.text}"),
    Warned: lambda event: ("warning", event.text),
    ImagePulling: _image_pulling,
    ContainerStarting: lambda event: ("info", "the container is being started"),
    ContainerStarted: _container_started,
    ContainerStopped: lambda event: ("error", f"the container is replaced: {event.reason}"),
    InstanceLost: lambda event: ("error", f"the instance is lost: {event.reason}; {event.replaced_by} takes its place"),
    InstanceReplaced: lambda event: ("info", f"it takes the place of {event.lost}, after {event.seconds:.1f} s"),
    ModelDownloaded: _model_downloaded,
    ModelDeleted: _model_deleted,
    LoadStarted: lambda event: ("info", "it is on its way into memory"),
    ModelLoaded: _model_loaded,
    ModelUnloaded: _model_unloaded,
    LoadRetried: lambda event: ("warning", f"its load is tried again: {event.reason}"),
    LoadFailed: lambda event: ("error", f"it failed to load: {event.reason}"),
    ModelNotReady: lambda event: ("warning", f"not ready for a call after {event.seconds:.1f} s: it {event.reason}"),
    ModelLost: lambda event: ("warning", f"it is loaded again at its next use: {event.reason}"),
    InvocationRetried: _invocation_retried,
    ArchiveChanged: _archive_changed,
    JobStatus: _job_status,
    MemoryExceeded: _memory_exceeded,
    FaultInjected: lambda event: ("warning", f"{event.effect}, as asked by a fault ({event.left})"),
}


def event_entry(event: Event, origin: Origin, sequence: int, time: float) -> EventEntry:
    """The entry of an event that has a sentence (SENTENCES)."""
    severity, text = SENTENCES[type(event)](event)
    return {
        "type": "event",
        "sequence": sequence,
        "time": time,
        "kind": _kind(type(event)),
        "endpoint_name": origin.endpoint_name,
        "variant_name": origin.variant_name,
        "instance_id": origin.instance_id,
        "container": origin.container,
        "target_model": getattr(event, "target_model", ""),
        "severity": severity,
        "text": text,
        "details": {
            field.name: value
            for field in dataclasses.fields(event)  # type: ignore[arg-type] # all events are dataclasses
            if isinstance(value := getattr(event, field.name), (str, int, float, bool, type(None)))
        },
    }


def _kind(event: type[Event]) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", event.__name__).lower()


def for_model(target_model: str) -> str:
    """For which model another one had to go, as the end of a phrase; empty if for none."""
    return f" for {target_model}" if target_model else ""


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
