"""Faults as calls meet them: what botocore makes of each, what is counted, and what is reported."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.parsers import create_parser

from emulator.aws.asgi import ConnectionCut
from emulator.clock import Clock
from emulator.events import CallEnded, Event, FaultInjected, InvocationEnded, Origin
from emulator.limits import Limits
from emulator.observers.event_entries import event_entry
from emulator.services.runtime.app import RuntimeApp
from emulator.services.runtime.faults import OPTIONS, SCOPES, Faults
from tests.support.asgi_client import Response, call_service
from tests.support.fake_containers import DirectControlPlane, FakeContainers
from tests.support.files import archive

MODEL = boto3.session.Session().client("sagemaker-runtime", region_name="us-east-1").meta.service_model


class Faulty:
    """An endpoint whose calls meet faults."""

    def __init__(self, directory: Path) -> None:
        self.control_plane, self.faults = DirectControlPlane(directory), Faults()
        self.events: list[tuple[Event, Origin]] = []
        endpoints, events = self.control_plane.endpoints, self.control_plane.events
        self.runtime = RuntimeApp(endpoints, Limits(), events, Clock(), self.faults)
        events.subscribe(lambda event, origin: self.events.append((event, origin)))
        archive(directory / "s3" / "bucket" / "a.tar.gz", {"x": "1"})

    async def start(self) -> None:
        await self.control_plane.configure("m")
        await self.control_plane.call("CreateEndpoint", EndpointName="e", EndpointConfigName="m")
        while await self.control_plane.status("e") == "Creating":
            await asyncio.sleep(0.001)

    async def invoke(self, target_model: str = "a.tar.gz", operation: str = "invocations") -> Response:
        headers = {"x-amzn-sagemaker-target-model": target_model} if target_model else {}
        return await call_service(self.runtime, "sagemaker", "POST", f"/endpoints/e/{operation}", headers, b"{}")

    def last(self, kind: type[Event]) -> Any:
        return [event for event, _ in self.events if isinstance(event, kind)][-1]


def run(directory: Path, containers: FakeContainers, scenario: Any) -> None:
    async def main() -> None:
        async with containers.serving():
            faulty = Faulty(directory)
            await faulty.start()
            await scenario(faulty)
            await faulty.control_plane.close()

    asyncio.run(main())


# The status of each, and what is in its message.
ANSWERS: dict[str, tuple[int, str]] = {
    "ThrottlingException": (400, ""),
    "ModelNotReadyException": (429, "a.tar.gz is not ready yet"),
    "ServiceUnavailable": (503, "Try your call again"),
    "InternalFailure": (500, "internal failure"),
    "InternalDependencyException": (530, "internal dependency"),
    "ModelError": (424, "Received server error (500) from primary with message"),
    "AccessDeniedException": (403, "is not authorized to perform: sagemaker:InvokeEndpoint on resource: arn:aws:"),
    "ValidationError": (400, "Inspect your request"),
}


def test_each_fault_is_the_error_that_botocore_knows(tmp_path: Path, containers: FakeContainers) -> None:
    async def scenario(faulty: Faulty) -> None:
        parser, shape = create_parser("rest-json"), MODEL.operation_model("InvokeEndpoint").output_shape
        for name, (status, words) in ANSWERS.items():
            faulty.faults.add({"fault": name, "times": 1})
            response = await faulty.invoke()
            assert (response.status, response.headers["x-amzn-errortype"]) == (status, name)
            raw = {"status_code": status, "headers": response.headers, "body": response.body}
            error = parser.parse(raw, shape)["Error"]
            assert error["Code"] == name and words in (error["Message"] or ""), error
            assert faulty.last(CallEnded).invocation.measurements.fault == f"answered {name}"
            ended: InvocationEnded = faulty.last(InvocationEnded)
            assert ended.error_status == (500 if name == "ModelError" else status)
            assert ended.model_error == (name == "ModelError")
        faulty.faults.add({"fault": "ThrottlingException", "times": 1})
        assert (await faulty.invoke()).body == b'{"message": null}'

    others = {"Latency", "ConnectionCut", "ModelStreamError", "InternalStreamFailure", *SCOPES}
    assert {*OPTIONS} - {*ANSWERS} == others
    run(tmp_path, containers, scenario)


def test_a_fault_says_what_it_has_done(tmp_path: Path, containers: FakeContainers) -> None:
    async def scenario(faulty: Faulty) -> None:
        faulty.faults.add(
            {"fault": "ModelError", "times": 2, "status": 418, "message": "a teapot", "endpoint_name": "e"}
        )
        answer = (await faulty.invoke()).json()
        assert answer["OriginalStatusCode"] == 418 and answer["OriginalMessage"] == "a teapot"
        event, origin = next((event, origin) for event, origin in faulty.events if isinstance(event, FaultInjected))
        entry = event_entry(event, origin, 1, 0.0)
        assert entry["text"] == "answered ModelError, as asked by a fault (1 more)"
        assert (entry["endpoint_name"], entry["variant_name"], entry["target_model"]) == ("e", "A", "a.tar.gz")
        # A request that is invalid is refused for that.
        assert b"is missing a target model header" in (await faulty.invoke("")).body

    run(tmp_path, containers, scenario)


def test_a_connection_is_cut_and_counted_as_no_answer(tmp_path: Path, containers: FakeContainers) -> None:
    async def scenario(faulty: Faulty) -> None:
        faulty.faults.add({"fault": "ConnectionCut", "times": 1})
        with pytest.raises(ConnectionCut):
            await faulty.invoke()
        ended = faulty.last(CallEnded)
        assert (ended.status, ended.error_code) == (0, "ConnectionCut")

    run(tmp_path, containers, scenario)


def test_a_stream_breaks_off_after_so_many_chunks(tmp_path: Path, containers: FakeContainers) -> None:
    async def scenario(faulty: Faulty) -> None:
        stream = "invocations-response-stream"
        faulty.faults.add({"fault": "ModelStreamError", "times": 1, "chunks": 1, "message": "gone"})
        faulty.faults.add({"fault": "InternalStreamFailure", "times": 1})
        first, second = [await faulty.invoke(operation=stream) for _ in range(2)]
        assert b"models" in first.body and b"ModelStreamError" in first.body
        assert b'{"Message": "gone", "ErrorCode": "StreamBroken"}' in first.body
        assert b"models" not in second.body and b"InternalStreamFailure" in second.body
        assert faulty.last(InvocationEnded).mid_stream_error is True
        faulty.faults.add({"fault": "ConnectionCut", "times": 1, "chunks": 1})
        with pytest.raises(ConnectionCut):
            await faulty.invoke(operation=stream)
        assert faulty.last(FaultInjected).effect == "cut the connection after 1 chunks"
        assert b"models" in (await faulty.invoke(operation=stream)).body

    run(tmp_path, containers, scenario)
