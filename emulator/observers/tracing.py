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
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
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


class Tracing:
    """Begins the trace of each call, and makes its spans when it has ended, in a thread.

    Nothing of it slows a call by more than beginning it, or fails one.
    """

    def __init__(self, exporter: SpanExporter, version: str, clock: Clock, pass_on: bool) -> None:
        """``pass_on``: containers get the trace's headers, which SageMaker does not do."""
        about = {"service.version": version}
        attributes = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        if "OTEL_SERVICE_NAME" not in os.environ and "service.name=" not in attributes:
            about["service.name"] = "localmme"
        self._exporter = exporter
        self._provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("localmme", version)
        self._propagator = TraceContextTextMapPropagator()
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
        """Begin the span of a call: in the trace that its headers name, or in a new one."""
        parent = NOWHERE
        if W3C[0] in headers:
            sent = {name.decode(): headers[name].decode("latin-1") for name in W3C if name in headers}
            parent = self._propagator.extract(sent, context=NOWHERE)
        route = f"/endpoints/{{EndpointName}}/{invocation.operation}"
        span = self._tracer.start_span(
            f"POST {route}", parent, SpanKind.SERVER, start_time=self._ns(invocation.received)
        )
        invocation.trace = Trace(span)
        if self._pass_on:
            lines: dict[str, str] = {}
            self._propagator.inject(lines, set_span_in_context(span, NOWHERE))
            invocation.trace.headers = "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode(
                "latin-1"
            )

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
        invocation = event.invocation
        if invocation.trace is None or not invocation.trace.span.is_recording():
            return
        span = invocation.trace.span
        span.set_attributes(_attributes(event))
        if event.status >= 500 or event.error_code == "ModelError" or invocation.measurements.broke_off:
            span.set_status(Status(StatusCode.ERROR, event.error))
        context = set_span_in_context(span, NOWHERE)
        for name, container, began, ended in invocation.measurements.steps:
            kind = SpanKind.CLIENT if name == "container" else SpanKind.INTERNAL
            about = {"localmme.container": container}
            step = self._tracer.start_span(name, context, kind, about, start_time=self._ns(began))
            step.end(self._ns(ended))
        span.end(self._ns(event.ended))

    def _ns(self, elapsed: float) -> int:
        return self._epoch_ns + int(elapsed * 1e9)


def _attributes(event: CallEnded) -> dict[str, str | int | bool]:
    """By OpenTelemetry's semantic conventions where they have a name for it."""
    invocation, measurements = event.invocation, event.invocation.measurements
    attributes: dict[str, str | int | bool] = {
        "http.request.method": "POST",
        "http.route": f"/endpoints/{{EndpointName}}/{invocation.operation}",
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
