"""An emulator whose endpoints are a stub's, and faults as its callers see them."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError, EventStreamError

from tests.support.aws_clients import refused
from tests.support.emulator_in_process import InProcessEmulator, in_process_emulators

STUB = """
Endpoints:
  - EndpointName: prices
    Answers:
      - {TargetModel: europe/*, BodyMembers: {rooms: 3}, Json: {model: "${TargetModel}", price: 210000}}
      - {TargetModel: teapot, Status: 418, Text: short and stout}
      - {TargetModel: slow, DelaySeconds: 60, Text: never}
  - EndpointName: words
    Mode: SingleModel
    Answers:
      - {BodyMatches: "^hello", Chunks: [a, b, c], CustomAttributes: "n=3"}
"""


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessEmulator]:
    directory = tmp_path_factory.mktemp("stub")
    (directory / "stub.yaml").write_text(STUB)
    with in_process_emulators(directory) as start:
        yield start("--stub", str(directory / "stub.yaml"), "--limit", "invocation_seconds=1").wait_in_service()


def invoke(emulator: InProcessEmulator, target_model: str, body: bytes = b'{"rooms": 3}') -> Any:
    return emulator.client().invoke_endpoint(EndpointName="prices", TargetModel=target_model, Body=body)


def act(emulator: InProcessEmulator, action: str, **members: Any) -> dict[str, Any]:
    """Take an action, with the token that is in the state directory."""
    connection = http.client.HTTPConnection(emulator.url.removeprefix("http://"), timeout=60)
    token = (emulator.state_directory / "console-token").read_text()
    connection.request("POST", f"/_localmme/actions/{action}", json.dumps(members), {"X-Localmme-Token": token})
    answer = connection.getresponse()
    said = json.load(answer)
    connection.close()
    assert answer.status == 200, said
    return said


def test_its_endpoints_are_described_and_listed(emulator: InProcessEmulator) -> None:
    sagemaker = emulator.client_of("sagemaker")
    described = sagemaker.describe_endpoint(EndpointName="prices")
    assert described["EndpointStatus"] == "InService"
    assert described["ProductionVariants"][0]["VariantName"] == "AllTraffic"
    listed = sagemaker.list_endpoints(SortBy="Name", SortOrder="Ascending")["Endpoints"]
    assert [each["EndpointName"] for each in listed] == ["prices", "words"]
    container = sagemaker.describe_model(ModelName="prices")["PrimaryContainer"]
    assert container["Image"].startswith("stub:/") and container["Mode"] == "MultiModel"


def test_it_answers_as_its_file_says_and_refuses_as_sagemaker_does(emulator: InProcessEmulator) -> None:
    answer = invoke(emulator, "europe/lisbon")
    assert json.load(answer["Body"]) == {"model": "europe/lisbon", "price": 210000}
    assert (answer["ContentType"], answer["InvokedProductionVariant"]) == ("application/json", "AllTraffic")
    client = emulator.client()
    assert refused(invoke, emulator, "teapot").from_the_container == ("ModelError", 418)
    assert "timed out" in refused(invoke, emulator, "slow").message
    message = refused(invoke, emulator, "asia/osaka").message
    assert message.startswith("Failed to download model data(bucket: stub, key: asia/osaka)")
    assert "missing a target model" in refused(client.invoke_endpoint, EndpointName="prices", Body=b"{}").message
    assert refused(client.invoke_endpoint, EndpointName="words", TargetModel="m", Body=b"hello").message.endswith(
        "does not support target model header."
    )
    emulator.wait_until_logged("TargetModel asia/osaka of endpoint prices: line 5: TargetModel is not europe/*")


def test_it_streams_its_chunks(emulator: InProcessEmulator) -> None:
    answer = emulator.client().invoke_endpoint_with_response_stream(EndpointName="words", Body=b"hello")
    assert [event["PayloadPart"]["Bytes"] for event in answer["Body"]] == [b"a", b"b", b"c"]
    assert emulator.client().invoke_endpoint(EndpointName="words", Body=b"hello")["CustomAttributes"] == "n=3"


def test_faults_are_answers_of_aws_on_the_wire(emulator: InProcessEmulator) -> None:
    act(emulator, "fault", fault="ThrottlingException", times=1, endpoint_name="prices", target_model="europe/*")
    assert refused(invoke, emulator, "europe/lisbon").code == "ThrottlingException"
    act(emulator, "fault", fault="ConnectionCut", times=1)
    with pytest.raises(ConnectionClosedError):
        invoke(emulator, "europe/lisbon")
    act(emulator, "fault", fault="Latency", seconds=0.001, times=1)
    assert invoke(emulator, "europe/lisbon")["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert act(emulator, "faults")["faults"] == []


def test_faults_break_streams_on_the_wire(emulator: InProcessEmulator) -> None:
    stream = emulator.client().invoke_endpoint_with_response_stream
    act(emulator, "fault", fault="ModelStreamError", times=1, chunks=2)
    act(emulator, "fault", fault="ConnectionCut", times=1, chunks=1)
    coming = iter(stream(EndpointName="words", Body=b"hello")["Body"])
    assert [next(coming)["PayloadPart"]["Bytes"] for _ in range(2)] == [b"a", b"b"]
    with pytest.raises(EventStreamError, match="ModelStreamError"):
        next(coming)
    coming = iter(stream(EndpointName="words", Body=b"hello")["Body"])
    assert next(coming)["PayloadPart"]["Bytes"] == b"a"
    with pytest.raises(Exception, match="IncompleteRead|Connection broken|ended prematurely"):
        next(coming)
