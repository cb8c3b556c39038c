"""Traces as a collector gets them: by OTLP, over HTTP, from an emulator that its users call."""

from __future__ import annotations

import gzip
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.support.emulator_in_process import InProcessEmulator
from tests.support.scripted_models import scripted_model

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(BaseHTTPRequestHandler):
    """Takes what OpenTelemetry's collector takes at this path."""

    spans: ClassVar[list[Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        assert (self.path, self.headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
            assert attributes["service.name"] == "localmme"
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Collector]]:
    class OfThisTest(Collector):
        spans: ClassVar[list[Any]] = []

    with ThreadingHTTPServer(("127.0.0.1", 0), OfThisTest) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        yield OfThisTest
        server.shutdown()


def invoke(emulator: InProcessEmulator, **headers: str) -> dict[str, str]:
    """The headers that a model's container got."""
    connection = http.client.HTTPConnection(emulator.url.removeprefix("http://"))
    sent = {"X-Amzn-SageMaker-Target-Model": "a.tar.gz", **headers}
    connection.request("POST", "/endpoints/local/invocations", b"1", sent)
    got = json.loads(connection.getresponse().read())["headers"]
    connection.close()
    return {name.lower(): value for name, value in got.items()}


@pytest.mark.parametrize("options", [(), ("--otel",)], ids=["by the variables", "by the option"])
def test_a_collector_gets_each_call_with_its_steps(
    options: tuple[str, ...], collector: type[Collector], scripted: Callable[..., InProcessEmulator], bucket: Path
) -> None:
    scripted_model(bucket / "a.tar.gz")
    emulator = scripted(*options)
    seen = invoke(emulator, traceparent=f"00-{TRACE}-{CALLER}-01", tracestate="vendor=1")
    invoke(emulator)
    emulator.stop()
    calls = [span for span in collector.spans if span.name == "POST /endpoints/{EndpointName}/invocations"]
    first, second = sorted(calls, key=lambda span: span.start_time_unix_nano)
    assert (first.trace_id.hex(), first.parent_span_id.hex(), first.trace_state) == (TRACE, CALLER, "vendor=1")
    assert second.trace_id != first.trace_id and not second.parent_span_id
    steps = [span for span in collector.spans if span.parent_span_id == first.span_id]
    assert "container" in {step.name for step in steps}
    for step in steps:
        assert first.start_time_unix_nano <= step.start_time_unix_nano <= step.end_time_unix_nano
        assert step.end_time_unix_nano <= first.end_time_unix_nano
    handed_on = {"traceparent": f"00-{TRACE}-{first.span_id.hex()}-01", "tracestate": "vendor=1"} if options else {}
    assert {name: value for name, value in seen.items() if name.startswith("trace")} == handed_on
