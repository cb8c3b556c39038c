"""What traces say of a call: its spans, their times, and whose trace it is."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from emulator.clock import Clock
from emulator.events import CallEnded, Events
from emulator.invocation import Invocation
from emulator.observers import tracing
from emulator.observers.tracing import Reported, Tracing

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = {b"traceparent": f"00-{TRACE}-{CALLER}-01".encode(), b"tracestate": b"vendor=a:b,other=1"}
CLOCK = Clock(now=lambda: 1_000_010.0, elapsed=lambda: 10.0)
STEPS = ("download", "c", 10.5, 11.0), ("load", "c", 11.0, 12.0), ("container", "c", 12.0, 12.25)


def invocation(**more: Any) -> Invocation:
    return Invocation("e", b"", 10.0, "r-1", **more)


def spans_of(
    *calls: tuple[Invocation, dict[bytes, bytes], CallEnded], pass_on: bool = True
) -> tuple[ReadableSpan, ...]:
    exporter, events = InMemorySpanExporter(), Events()
    traced = Tracing(exporter, "1.2.3", CLOCK, pass_on)
    traced.listen_to(events)
    for call, headers, event in calls:
        traced.begin(call, headers)
        events.publish(event)
    traced.end()
    return exporter.get_finished_spans()


def test_a_call_has_a_span_and_each_step_one_below_it() -> None:
    call = invocation(target_model="m.tar.gz")
    measurements = call.measurements
    measurements.variant_name, measurements.instance_id, measurements.cache_hit = "v", "i-1", False
    measurements.steps = STEPS
    *steps, whole = spans_of((call, {}, CallEnded(call, 12.5, 200, 7, 9)))
    assert (whole.name, whole.kind, whole.parent) == (
        "POST /endpoints/{EndpointName}/invocations",
        SpanKind.SERVER,
        None,
    )
    assert (whole.start_time, whole.end_time) == (1_000_010_000_000_000, 1_000_012_500_000_000)
    assert whole.status.status_code is StatusCode.UNSET
    assert dict(whole.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/endpoints/{EndpointName}/invocations",
        "url.path": "/endpoints/e/invocations",
        "http.response.status_code": 200,
        "http.request.body.size": 7,
        "http.response.body.size": 9,
        "rpc.system": "aws-api",
        "rpc.service": "SageMaker Runtime",
        "rpc.method": "InvokeEndpoint",
        "aws.request_id": "r-1",
        "localmme.endpoint_name": "e",
        "localmme.variant_name": "v",
        "localmme.instance_id": "i-1",
        "localmme.target_model": "m.tar.gz",
        "localmme.cold": True,
    }
    assert [(step.name, step.start_time, step.end_time) for step in steps] == [
        (name, int((1_000_000 + began) * 1e9), int((1_000_000 + ended) * 1e9)) for name, _, began, ended in STEPS
    ]
    assert {step.parent and step.parent.span_id for step in steps} == {whole.context and whole.context.span_id}
    assert [step.kind for step in steps] == [SpanKind.INTERNAL, SpanKind.INTERNAL, SpanKind.CLIENT]
    assert whole.resource.attributes["service.name"] == "localmme"
    assert whole.resource.attributes["service.version"] == "1.2.3"


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (500, "InternalFailure", StatusCode.ERROR),
        (424, "ModelError", StatusCode.ERROR),
        (400, "ValidationError", StatusCode.UNSET),  # the caller's own fault, by the conventions for servers
    ],
)
def test_a_failed_call_says_why(status: int, code: str, outcome: StatusCode) -> None:
    call = invocation()
    (span,) = spans_of((call, {}, CallEnded(call, 11.0, status, 0, 0, code, "because")))
    assert span.status.status_code is outcome
    assert (span.attributes or {})["error.type"] == code


def test_a_call_goes_on_with_its_caller_s_trace_and_hands_it_on() -> None:
    call = invocation()
    (span,) = spans_of((call, SAMPLED, CallEnded(call, 11.0, 200, 0, 0)))
    assert span.context is not None and span.parent is not None and call.trace is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, CALLER)
    own = f"{span.context.span_id:016x}"
    lines = call.trace.headers.decode().splitlines()
    assert lines == [f"traceparent: 00-{TRACE}-{own}-01", "tracestate: vendor=a:b,other=1"]


def test_containers_get_nothing_of_a_trace_unless_that_is_wanted() -> None:
    call = invocation()
    spans_of((call, SAMPLED, CallEnded(call, 11.0, 200, 0, 0)), pass_on=False)
    assert call.trace is not None and call.trace.headers == b""


def test_what_the_caller_does_not_sample_has_no_span_but_is_handed_on() -> None:
    call = invocation()
    unsampled = {b"traceparent": SAMPLED[b"traceparent"].replace(b"-01", b"-00")}
    assert spans_of((call, unsampled, CallEnded(call, 11.0, 200, 0, 0))) == ()
    assert call.trace is not None and TRACE.encode() in call.trace.headers and b"-00\r\n" in call.trace.headers


@pytest.mark.parametrize(
    "traceparent",
    [b"", b"00", b"ff-" + b"0" * 32, b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01", b"\xff\xfe", b"x" * 9000],
)
def test_an_invalid_header_begins_a_new_trace(traceparent: bytes) -> None:
    call = invocation()
    (span,) = spans_of((call, {b"traceparent": traceparent, b"tracestate": b"a=b"}, CallEnded(call, 11.0, 200, 0, 0)))
    assert span.parent is None and call.trace is not None
    assert call.trace.headers.count(b"\r\n") == 1, "the state of a trace that is not there goes no further"


def test_a_collector_that_is_down_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    results = [SpanExportResult.FAILURE] * 3

    class Down(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            return results.pop()

    reported = Reported(Down())
    while results:
        reported.export(())
    assert [record.message.partition(":")[0] for record in caplog.records] == ["Traces are lost"]


def test_the_end_does_not_wait_for_a_collector_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "FLUSH_SECONDS", 0.05)
    never = threading.Event()

    class Hanging(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            never.wait()
            return SpanExportResult.FAILURE

        def shutdown(self) -> None:
            never.set()

    events, call = Events(), invocation()
    traced = Tracing(Hanging(), "", CLOCK, pass_on=False)
    traced.listen_to(events)
    traced.begin(call, {})
    events.publish(CallEnded(call, 11.0, 200, 0, 0))
    traced.end()
    assert never.is_set()
