"""A span of OpenTelemetry for each call, and one below it for each step of its time, sent by OTLP.

The SDK reads the standard variables, ``OTEL_EXPORTER_OTLP_ENDPOINT`` and so on, and sends spans in a thread of its own.
This module is imported only where calls are traced.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import SpanKind, Status, StatusCode, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from emulator.aws.asgi import HeadersByName
from emulator.clock import Clock
from emulator.events import CallEnded, Events, Origin
from emulator.invocation import Invocation, Trace

TYPE_OF_OPERATION = {
    "invocations": "InvokeEndpoint",
    "invocations-response-stream": "InvokeEndpointWithResponseStream",
    "async-invocations": "InvokeEndpointAsync",
}
WAITING_CALLS = 2_048  # [ours] that have ended, and have no spans yet; the oldest give way. The SDK keeps as many spans
WAKE_SECONDS = 0.5  # [ours] between two looks at them
FLUSH_SECONDS = 2.0  # [ours] at the end, for the collector to take the last ones
NOWHERE = Context()  # not the current one: the event loop's thread has none of a call
PROPAGATOR, RANDOM = TraceContextTextMapPropagator(), RandomIdGenerator()
W3C = (b"traceparent", b"tracestate")

log = logging.getLogger("localmme")


class Reported(SpanExporter):
    """An exporter that says once when nobody takes the spans, and again after they were taken."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._fails = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        fails = result is not SpanExportResult.SUCCESS
        if fails and not self._fails:
            log.warning(
                "Traces are lost: the collector does not take them. OTEL_EXPORTER_OTLP_ENDPOINT names one that speaks "
                "OTLP over HTTP; without it, it is http://localhost:4318."
            )
        self._fails = fails
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class Ids(IdGenerator):
    """Those that a call has been given already, for its next span; else random ones. Only one thread makes spans."""

    def __init__(self) -> None:
        self.trace_id = self.span_id = 0

    def generate_span_id(self) -> int:
        chosen, self.span_id = self.span_id, 0
        return chosen or RANDOM.generate_span_id()

    def generate_trace_id(self) -> int:
        chosen, self.trace_id = self.trace_id, 0
        return chosen or RANDOM.generate_trace_id()


class Tracing:
    """Notes whose trace each call belongs to, and makes its spans when it has ended, in a thread.

    Nothing else of it is on the way of a call, and nothing fails one.
    """

    def __init__(self, exporter: SpanExporter, version: str, clock: Clock, pass_on: bool) -> None:
        """``pass_on``: containers get the trace's headers, which SageMaker does not do."""
        about = {"service.version": version}
        attributes = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        if "OTEL_SERVICE_NAME" not in os.environ and "service.name=" not in attributes:
            about["service.name"] = "localmme"
        self._exporter = exporter
        self._ids = Ids()
        self._provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False, id_generator=self._ids)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("localmme", version)
        self._pass_on = pass_on
        self._epoch_ns = int((clock.now() - clock.elapsed()) * 1e9)  # when the clock's ``elapsed`` was 0
        self._ended: deque[CallEnded] = deque(maxlen=WAITING_CALLS)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="traces", daemon=True)
        self._thread.start()

    @classmethod
    def by_otlp(cls, version: str, clock: Clock, pass_on: bool) -> Tracing:
        """As the standard variables say, over HTTP."""
        for name in ("opentelemetry.exporter", "opentelemetry.sdk"):  # they would repeat themselves with each batch
            logging.getLogger(name).propagate = False
            logging.getLogger(name).addHandler(logging.NullHandler())
        return cls(Reported(OTLPSpanExporter()), version, clock, pass_on)

    def listen_to(self, events: Events) -> None:
        events.subscribe(self._call_ended, CallEnded)

    def begin(self, invocation: Invocation, headers: HeadersByName) -> None:
        """Note whose trace a call belongs to; its span is made when it has ended."""
        parent: dict[str, str] = {}
        if W3C[0] in headers:
            parent = {name.decode(): headers[name].decode("latin-1") for name in W3C if name in headers}
        invocation.trace = Trace(parent)
        if self._pass_on:
            self._choose_ids(invocation.trace, invocation.operation)

    def _choose_ids(self, trace: Trace, operation: str) -> None:
        parent = PROPAGATOR.extract(trace.parent, context=NOWHERE) if trace.parent else NOWHERE
        caller = get_current_span(parent).get_span_context()
        trace.trace_id = caller.trace_id or RANDOM.generate_trace_id()
        trace.span_id = RANDOM.generate_span_id()
        # As the tracer decides when it makes the span: by the caller, or by the trace's id.
        sampled = self._provider.sampler.should_sample(parent, trace.trace_id, _name(operation), SpanKind.SERVER)
        state = sampled.trace_state.to_header() if sampled.trace_state else ""
        flags = int(sampled.decision is Decision.RECORD_AND_SAMPLE)
        lines = f"traceparent: 00-{trace.trace_id:032x}-{trace.span_id:016x}-{flags:02x}\r\n"
        trace.headers = (lines + (f"tracestate: {state}\r\n" if state else "")).encode("latin-1")

    def end(self) -> None:
        """Send what there is. Blocks, but for no longer than FLUSH_SECONDS, even if nobody takes it."""
        self._ending.set()
        self._thread.join(FLUSH_SECONDS)
        flushing = threading.Thread(target=self._provider.shutdown, daemon=True)
        flushing.start()
        flushing.join(FLUSH_SECONDS)
        if flushing.is_alive():
            self._exporter.shutdown()  # it would try again and again

    def _call_ended(self, event: CallEnded, _: Origin) -> None:
        self._ended.append(event)

    def _work(self) -> None:
        last = False
        while not last:
            last = self._ending.wait(WAKE_SECONDS)
            while self._ended:
                try:
                    self._make_spans(self._ended.popleft())
                except Exception:
                    log.exception("a call could not be traced")

    def _make_spans(self, event: CallEnded) -> None:
        invocation, trace = event.invocation, event.invocation.trace
        if trace is None:
            return
        parent = PROPAGATOR.extract(trace.parent, context=NOWHERE)
        self._ids.trace_id, self._ids.span_id = trace.trace_id, trace.span_id
        began = self._ns(invocation.received)
        name, attributes = _name(invocation.operation), _attributes(event)
        span = self._tracer.start_span(name, parent, SpanKind.SERVER, attributes, start_time=began)
        if not span.is_recording():
            return
        if event.status >= 500 or event.error_code == "ModelError" or invocation.measurements.broke_off:
            span.set_status(Status(StatusCode.ERROR, event.error))
        context = set_span_in_context(span, NOWHERE)
        for step, container, step_began, step_ended in invocation.measurements.steps:
            kind = SpanKind.CLIENT if step == "container" else SpanKind.INTERNAL
            about = {"localmme.container": container}
            child = self._tracer.start_span(step, context, kind, about, start_time=self._ns(step_began))
            child.end(self._ns(step_ended))
        span.end(self._ns(event.ended))

    def _ns(self, elapsed: float) -> int:
        return self._epoch_ns + int(elapsed * 1e9)


def _name(operation: str) -> str:
    return f"POST {_route(operation)}"


def _route(operation: str) -> str:
    return f"/endpoints/{{EndpointName}}/{operation}"


def _attributes(event: CallEnded) -> dict[str, str | int | bool]:
    """By OpenTelemetry's semantic conventions where they have a name for it."""
    invocation, measurements = event.invocation, event.invocation.measurements
    attributes: dict[str, str | int | bool] = {
        "http.request.method": "POST",
        "http.route": _route(invocation.operation),
        "url.path": f"/endpoints/{invocation.endpoint_name}/{invocation.operation}",
        "http.response.status_code": event.status,
        "http.request.body.size": event.request_bytes,
        "http.response.body.size": event.answer_bytes,
        "rpc.system": "aws-api",
        "rpc.service": "SageMaker Runtime",
        "rpc.method": TYPE_OF_OPERATION.get(invocation.operation, invocation.operation),
        "aws.request_id": invocation.request_id,
        "localmme.endpoint_name": invocation.endpoint_name,
    }
    for name, value in (
        ("error.type", event.error_code),
        ("localmme.variant_name", measurements.variant_name),
        ("localmme.instance_id", measurements.instance_id),
        ("localmme.target_model", invocation.target_model),
    ):
        if value:
            attributes[name] = value
    if measurements.cache_hit is not None:
        attributes["localmme.cold"] = not measurements.cache_hit
    return attributes
