"""Calls as entries of the emulator's story: each with what its time was spent on."""

from __future__ import annotations

from emulator.entries import CallEntry, CallStep
from emulator.events import CallEnded
from emulator.invocation import Invocation


def call_entry(event: CallEnded, epoch: float) -> CallEntry:
    """The entry of a call. ``epoch`` is when the clock's ``elapsed`` was 0, in seconds since 1970."""
    invocation = event.invocation
    measurements, received = invocation.measurements, invocation.received
    steps: list[CallStep] = []
    for name, container, began, ended in measurements.steps:
        start_us, duration_us = _us(began - received), _us(ended - began)
        steps.append({"name": name, "container": container, "start_us": start_us, "duration_us": duration_us})
    return {
        "type": "call",
        "sequence": event.sequence,
        "time": epoch + received,
        "request_id": invocation.request_id,
        "operation": invocation.operation,
        "endpoint_name": invocation.endpoint_name,
        "variant_name": measurements.variant_name,
        "instance_id": measurements.instance_id,
        "target_model": invocation.target_model,
        "status": event.status,
        "error_code": event.error_code,
        "error": event.error,
        "fault": measurements.fault,
        "duration_us": _us(event.ended - received),
        "cold": None if measurements.cache_hit is None else not measurements.cache_hit,
        "steps": steps,
        "request_bytes": event.request_bytes,
        "response_bytes": event.answer_bytes,
        "request_headers": _headers_that_reached_the_container(invocation),
    }


def _us(seconds: float) -> int:
    return max(0, round(seconds * 1e6))


def _headers_that_reached_the_container(invocation: Invocation) -> dict[str, str]:
    sent = {
        "Content-Type": invocation.content_type,
        "Accept": invocation.accept,
        "X-Amzn-SageMaker-Custom-Attributes": invocation.custom_attributes,
        "X-Amzn-SageMaker-Session-Id": invocation.session_id,
        "X-Amzn-SageMaker-Target-Model": invocation.target_model.encode() or None,
    }
    lines = invocation.trace.headers.decode("latin-1").splitlines() if invocation.trace is not None else []
    of_trace = dict(line.split(": ", 1) for line in lines)
    return {name: value.decode("latin-1") for name, value in sent.items() if value is not None} | of_trace
