"""Several containers on one instance: serial pipelines, direct invocation, and containers of a single model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.aws_clients import invalid, refused
from tests.support.emulator_in_process import InProcessEmulator, in_process_emulators
from tests.support.endpoint_files import described, many, scripted_container, variant
from tests.support.files import archive, files_below
from tests.support.scripted_models import Journal, scripted_model
from tests.support.waiting import eventually

Serve = Callable[..., InProcessEmulator]


def invoked(journal: Journal) -> list[dict[str, Any]]:
    """What each container was asked, in order; header names in lower case."""
    calls = journal.entries("invoke")
    return [{**call, "headers": {name.lower(): value for name, value in call["headers"].items()}} for call in calls]


def call(emulator: InProcessEmulator, body: bytes | str = b"{}", **request: Any) -> dict[str, Any]:
    return emulator.client().invoke_endpoint(EndpointName="local", Body=body, **request)


def environment(emulator: InProcessEmulator, **request: Any) -> dict[str, str]:
    """That of the container that answers."""
    return json.loads(call(emulator, **request)["Body"].read())["environment"]


@pytest.fixture
def three(serve: Serve, bucket: Path, journal: Journal, tmp_path: Path) -> Callable[..., InProcessEmulator]:
    """An endpoint of three containers in sequence, the one in the middle with many models; arguments are the cues of
    the three."""

    def three(
        first: Mapping = {}, middle: Mapping = {}, last: Mapping = {}, *arguments: str, names: bool = True
    ) -> InProcessEmulator:
        containers = [
            scripted_container(journal, **first),
            many(scripted_container(journal, **middle), bucket),
            scripted_container(journal, **last),
        ]
        # The second name is also that of the directory with many models; no container may take it for its own.
        for name, container in zip(("before", "models", "after"), containers):
            if names:
                container["ContainerHostname"] = name
        return serve(described(tmp_path / "endpoint.yaml", {"pipe": containers}), *arguments)

    return three


# Serial


def test_an_answer_is_the_next_request_with_its_content_type(three, bucket: Path, journal: Journal) -> None:
    scripted_model(bucket / "a.tar.gz", "I am a")
    emulator = three(
        {"invoke": {"body": "from the first", "content_type": "text/x-first"}},
        {"invoke": {"body": "from the middle", "content_type": "text/x-middle"}},
        {"invoke": {"echo": True}},
    )
    response = call(emulator, "from the caller", TargetModel="a.tar.gz", ContentType="text/x-caller", Accept="text/x")
    assert response["Body"].read() == b"from the middle"
    assert response["ContentType"] == "text/x-middle"
    first, middle, last = invoked(journal)
    assert [c["headers"].get("content-type") for c in (first, middle, last)] == [
        "text/x-caller",
        "text/x-first",
        "text/x-middle",
    ]
    assert [c["body_length"] for c in (first, middle, last)] == [15, 14, 15]
    assert first["path"] == last["path"] == "/invocations"
    assert middle["path"].startswith("/models/") and middle["path"].endswith("/invoke")
    # What the caller accepts is for the last container to know.
    assert [c["headers"].get("accept") for c in (first, middle, last)] == [None, None, "text/x"]
    assert {c["headers"]["x-amzn-sagemaker-target-model"] for c in (first, middle, last)} == {"a.tar.gz"}


def test_custom_attributes_are_carried_along_until_a_container_sets_its_own(
    three, bucket: Path, journal: Journal
) -> None:
    scripted_model(bucket / "a.tar.gz")
    emulator = three({}, {"invoke": {"headers": {"X-Amzn-SageMaker-Custom-Attributes": "from=middle"}}}, {})
    call(emulator, TargetModel="a.tar.gz", CustomAttributes="from=caller")
    seen = [c["headers"].get("x-amzn-sagemaker-custom-attributes") for c in invoked(journal)]
    assert seen == ["from=caller", "from=caller", "from=middle"]


def test_each_container_has_its_own_port_and_range_of_ports(serve: Serve, journal: Journal, tmp_path: Path) -> None:
    containers = [
        {**scripted_container(journal, invoke={"environment": True}), "ContainerHostname": name} for name in "abc"
    ]
    emulator = serve(described(tmp_path / "endpoint.yaml", {"m": containers}, mode="Direct"))
    seen = [environment(emulator, TargetContainerHostname=name) for name in "abc"]
    taken: set[int] = set()
    for variables in seen:
        assert "SAGEMAKER_MULTI_MODEL" not in variables
        low, high = map(int, variables["SAGEMAKER_SAFE_PORT_RANGE"].split("-"))
        ports = {int(variables["SAGEMAKER_BIND_TO_PORT"]), *range(low, high + 1)}
        assert len(ports) == high - low + 2 > 2
        assert not taken & ports
        taken |= ports


@pytest.mark.parametrize("names, blamed", [(True, "models"), (False, "container-2")])
def test_an_error_names_its_container_and_ends_the_pipeline(
    three, bucket: Path, journal: Journal, names: bool, blamed: str
) -> None:
    scripted_model(bucket / "a.tar.gz", invoke={"status": 500})
    response = refused(call, three(names=names), TargetModel="a.tar.gz")
    assert response.code == "ModelError" and response.response["OriginalStatusCode"] == 500
    assert f"Received server error (500) from {blamed} with message" in response.message
    assert len(invoked(journal)) == 2


def test_all_containers_together_have_the_time_of_one_invocation(three, bucket: Path) -> None:
    scripted_model(bucket / "a.tar.gz")
    emulator = three({"invoke": {"delay": 0.5}}, {}, {"invoke": {"hang": True}}, "--limit", "invocation_seconds=3")
    response = refused(call, emulator, TargetModel="a.tar.gz")
    assert "timed out while waiting for a response from container after" in response.message


def test_a_pipeline_streams_what_its_last_container_streams(three, bucket: Path) -> None:
    scripted_model(bucket / "a.tar.gz")
    emulator = three({}, {}, {"invoke": {"chunks": ["one", "two"], "chunk_delay": 0.2}})
    client = emulator.client(parameter_validation=False)
    client.meta.events.register(
        "before-call.sagemaker-runtime.InvokeEndpointWithResponseStream",
        lambda params, **_: params["headers"].update({"X-Amzn-SageMaker-Target-Model": "a.tar.gz"}),
    )
    response = client.invoke_endpoint_with_response_stream(EndpointName="local", Body=b"{}")
    assert [event["PayloadPart"]["Bytes"] for event in response["Body"]] == [b"one", b"two"]


def test_a_container_that_dies_is_replaced_and_the_others_stay(three, bucket: Path) -> None:
    scripted_model(bucket / "a.tar.gz", invoke={"times": 1, "die": "kill"})
    emulator = three()
    response = refused(call, emulator, TargetModel="a.tar.gz")
    assert response.response["OriginalStatusCode"] == 0
    assert "could not get a response from the local endpoint" in response.response["OriginalMessage"]
    eventually(lambda: [c["restarts"] for c in emulator.instance()["containers"]] == [0, 1, 0])
    eventually(lambda: emulator.instance()["healthy"])
    call(emulator, TargetModel="a.tar.gz")


def test_the_log_says_which_container_speaks(three) -> None:
    emulator = three({"start": {"lines": ["hello"]}}, {"start": {"lines": ["hello"]}})
    said = {"  before | hello", "  models | hello"}
    eventually(lambda: {line for line in list(emulator.errors) if "hello" in line} == said)
    logs = emulator.state_directory / "logs" / "local" / "pipe" / "i-1"
    eventually(lambda: {path.name for path in files_below(logs)} == {"before.log", "models.log", "after.log"})


def test_memory_is_what_all_containers_of_the_instance_take(three) -> None:
    """They share it: what one of them takes is not there for the models of another."""
    emulator = three()
    containers = [process for process in emulator.processes() if "scripted_container" in " ".join(process.cmdline())]
    taken = sum(process.memory_full_info().pss for process in containers if "keeper" not in " ".join(process.cmdline()))
    assert emulator.instance()["memory"]["used_bytes"] == pytest.approx(taken, rel=0.3)
    assert taken > 2 * max(process.memory_full_info().pss for process in containers)


# Which headers go with which models


def test_a_pipeline_with_many_models_needs_a_target_model_and_takes_no_container_name(three, bucket: Path) -> None:
    scripted_model(bucket / "a.tar.gz")
    emulator = three()
    assert "is missing a target model header." in invalid(call, emulator)
    named = invalid(call, emulator, TargetModel="a.tar.gz", TargetContainerHostname="models")
    assert "not configured for direct invocation" in named


def test_a_pipeline_without_many_models_takes_no_target_model(serve: Serve, journal: Journal, tmp_path: Path) -> None:
    containers = [scripted_container(journal), scripted_container(journal)]
    emulator = serve(described(tmp_path / "endpoint.yaml", {"m": containers}))
    response = refused(call, emulator, TargetModel="a.tar.gz")
    assert response.code == "ValidationError"
    assert "does not support target model header" in response.message
    assert call(emulator)["InvokedProductionVariant"] == "m"


# Direct


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessEmulator]:
    directory = tmp_path_factory.mktemp("direct")
    journal = Journal(directory / "journal.jsonl")
    scripted_model(directory / "s3" / "a.tar.gz", "I am a")
    one = {**scripted_container(journal, invoke={"body": "one"}), "ContainerHostname": "one"}
    two = {**scripted_container(journal, invoke={"body": "two"}), "ContainerHostname": "two"}
    several = {**many(scripted_container(journal), directory / "s3"), "ContainerHostname": "several"}
    file = described(directory / "endpoint.yaml", {"m": [one, two, several]}, mode="Direct")
    with in_process_emulators(directory) as start:
        yield start(file).wait_in_service()


def test_a_direct_invocation_goes_to_the_container_that_is_named(direct: InProcessEmulator) -> None:
    assert call(direct, TargetContainerHostname="two")["Body"].read() == b"two"
    assert call(direct, TargetContainerHostname="one")["Body"].read() == b"one"
    answer = call(direct, TargetContainerHostname="several", TargetModel="a.tar.gz")["Body"].read()
    assert json.loads(answer)["answer"] == "I am a"
    listed = direct.client_of("cloudwatch").list_metrics(MetricName="ContainerLatency")["Metrics"]
    dimensions = [{each["Name"]: each["Value"] for each in metric["Dimensions"]} for metric in listed]
    assert {each["ContainerName"] for each in dimensions} == {"one", "two", "several"}
    assert {each["EndpointName"] for each in dimensions} == {"local"}


@pytest.mark.parametrize(
    "request_, words",
    [
        ({}, "specify a target container hostname"),
        ({"TargetContainerHostname": "three"}, "three not found"),
        ({"TargetContainerHostname": "several"}, "missing a target model header"),
        ({"TargetContainerHostname": "one", "TargetModel": "a"}, "does not support target model header"),
    ],
    ids=["missing", "unknown", "no-model", "model"],
)
def test_a_direct_invocation_is_validated(direct: InProcessEmulator, request_: dict[str, str], words: str) -> None:
    response = refused(call, direct, **request_)
    assert response.code == "ValidationError" and words in response.message


# One model


def test_a_single_model_is_there_before_its_container_starts(serve: Serve, journal: Journal, tmp_path: Path) -> None:
    model = archive(tmp_path / "model.tar.gz", {"answer.txt": "I am the model"})
    container = {**scripted_container(journal, invoke={"environment": True}), "ModelDataUrl": str(model)}
    emulator = serve(described(tmp_path / "endpoint.yaml", {"m": [container]}))
    answer = json.loads(call(emulator, ContentType="text/plain")["Body"].read())
    assert answer["answer"] == "I am the model"
    assert answer["target_model"] is None
    assert answer["environment"]["SM_MODEL_DIR"].startswith(answer["environment"]["SAGEMAKER_BASE_DIR"] + "/")
    assert "SAGEMAKER_MULTI_MODEL" not in answer["environment"]
    assert emulator.state()["models"] == []
    assert emulator.stop() == 0
    assert not files_below(emulator.state_directory / "instances")


def test_a_single_model_survives_its_container(serve: Serve, journal: Journal, tmp_path: Path) -> None:
    model = archive(tmp_path / "model.tar.gz", {"answer.txt": "I am the model"})
    container = scripted_container(journal, invoke={"times": 1, "die": 1})
    emulator = serve(described(tmp_path / "endpoint.yaml", {"m": [{**container, "ModelDataUrl": str(model)}]}))
    assert refused(call, emulator).response["OriginalStatusCode"] == 0
    eventually(lambda: emulator.container()["restarts"] == 1 and emulator.container()["healthy"])
    assert json.loads(call(emulator)["Body"].read())["answer"] == "I am the model"


def test_an_endpoint_whose_model_cannot_be_extracted_fails(start: Serve, journal: Journal, tmp_path: Path) -> None:
    model = tmp_path / "model.tar.gz"
    model.write_bytes(b"no archive")
    container = {**scripted_container(journal), "ModelDataUrl": str(model)}
    emulator = start(described(tmp_path / "endpoint.yaml", {"m": [container, scripted_container(journal)]}))
    assert emulator.wait() == 3
    said = f'Failed to extract model data archive for container "container-1" from URL "{model}".'
    assert said in emulator.log
    assert not files_below(emulator.state_directory / "instances")


def test_one_container_that_cannot_start_stops_the_others(start: Serve, journal: Journal, tmp_path: Path) -> None:
    containers = [scripted_container(journal), scripted_container(journal, start={"exit": 7, "lines": ["no luck"]})]
    emulator = start(described(tmp_path / "endpoint.yaml", {"m": containers}))
    assert emulator.wait() == 3
    assert "The container-2 container for production variant " in emulator.log
    assert "It ended with exit code 7 before it was healthy." in emulator.log
    assert "no luck" in emulator.log


def test_a_startup_time_of_the_variant_is_kept(start: Serve, journal: Journal, tmp_path: Path) -> None:
    container = scripted_container(journal, start={"listen": False})
    timed = variant("m", ContainerStartupHealthCheckTimeoutInSeconds=60)
    arguments = [described(tmp_path / "endpoint.yaml", {"m": [container]}, [timed]), "--limit", "startup_seconds=0.3"]
    emulator = start(*arguments)
    with pytest.raises(AssertionError):
        eventually(lambda: emulator.errors, 2)
    emulator.stop()
