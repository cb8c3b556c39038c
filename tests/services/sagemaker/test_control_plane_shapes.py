"""Every operation of the control plane against botocore's model of it: what it answers, and what it refuses.

No test has a list of operations: one that is added is tested as well, or fails here because it cannot be called.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.model import Shape
from botocore.parsers import create_parser
from botocore.session import Session

from emulator.aws.service_models import problems
from emulator.services.sagemaker import empty_lists
from emulator.services.sagemaker.app import OPERATIONS, REQUEST_BYTES
from emulator.services.sagemaker.supported_members import MEMBERS
from tests.support.control_plane import ARN, ROLE, ControlPlane, RawClient, running_control_plane
from tests.support.generated_requests import Generator, Takes, Wrong, lacking, mistyped, outside, parts
from tests.support.waiting import eventually

API = Session().get_service_model("sagemaker")
NAMED = {
    "ModelName": "shapes",
    "EndpointConfigName": "shapes",
    "EndpointName": "shapes",
    "NameContains": "shape",
    "VariantName": "shapes",
    "ResourceArn": f"{ARN}:model/shapes",
    "ExecutionRoleArn": ROLE,
    "Image": "handler:handler.py",
    "ContainerMode": "MultiModel",
    "ModelDataUrl": "s3://bucket/models/",
    "InstanceType": "ml.m5.large",
    "MetricPublishFrequencyInSeconds": 60,
    "EndpointStatus": "InService",
    "TrainingRepositoryCredentialsProviderArn": "arn:aws:lambda:us-east-1:123456789012:function:f",
    "TrainingPlanArn": f"{ARN}:training-plan/plan",
    "FileSystemId": "fs-01234567",
    "HubDataSetArn": "arn:aws:sagemaker:us-east-1:123456789012:hub-content/hub/DataSet/data",
    "ServerlessJobBaseModelArn": "arn:aws:sagemaker:us-east-1:123456789012:hub-content/hub/Model/model",
    "SequenceLength": "4K",
    "MlFlowResourceArn": f"{ARN}:mlflow-tracking-server/server",
    "ModelPackageGroupArn": f"{ARN}:model-package-group/group",
    "ModelPackageArn": f"{ARN}:model-package/package",
    "CreationTimeAfter": 0,
    "LastModifiedTimeAfter": 0,
}
# Their answers are compared with the model where there are jobs: tests/in_process/jobs.
JOBS = {name for name in OPERATIONS if "Job" in name}
# Optional members that hosting cannot do without, although the API can.
LEAST = {"PrimaryContainer", "Image", "ModelDataUrl", "Mode", "ModelName"}
# Members that no request has that is to be accepted: of an earlier answer, of what is not emulated, or one too many.
NEVER = {"ModelDataSource", "NextToken", "ServerlessUpdateConfig", "Containers"}
CHANGES, READS, DELETIONS = ("Create", "Update", "Add"), ("Describe", "List"), ("Delete",)

BEGAN = int(time.time())  # before the control plane that these tests share, and all that they make in it


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with running_control_plane(tmp_path_factory.mktemp("shapes")) as control_plane:
        yield control_plane


@pytest.fixture(scope="module")
def client(control_plane: ControlPlane) -> Iterator[RawClient]:
    client = RawClient(control_plane.emulator.url)
    yield client
    client.close()


def input_of(operation: str) -> Shape:
    return API.operation_model(operation).input_shape


# Answers


class Judge:
    """Calls operations, and holds each answer against the model."""

    def __init__(self, client: RawClient, generator: Generator) -> None:
        self._client = client
        self._generator = generator
        self.called: set[str] = set()

    def call(self, operation: str) -> dict[str, Any]:
        asked = self._generator.value(input_of(operation))
        status, headers, body = self._client.post(f"SageMaker.{operation}", json.dumps(asked).encode())
        assert status == 200, (operation, asked, body)
        assert headers["content-type"] == "application/x-amz-json-1.1" and headers["x-amzn-requestid"]
        self.called.add(operation)
        return self._judged(operation, headers, body)

    def survey(self) -> None:
        """Everything of what there is now that can be read."""
        for operation in operations(*READS):
            name = operation.removeprefix("Describe")
            if operation.startswith("List") or f"Create{name}" in self.called:
                self.call(operation)

    def _judged(self, operation: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        answer = json.loads(body)
        output = API.operation_model(operation).output_shape
        parsed = create_parser("json").parse({"status_code": 200, "headers": headers, "body": body}, output)
        del parsed["ResponseMetadata"]
        assert set(parsed) == set(answer)
        if output is not None:
            assert list(problems(output, answer)) == []
            for part, value, place in parts(output, answer):
                if part.type_name == "timestamp":
                    assert type(value) in (int, float) and BEGAN <= value <= time.time(), (place, value)
        return answer


def operations(*verbs: str) -> list[str]:
    """Those that do this, in an order that works."""
    found = [name for verb in verbs for name in OPERATIONS if name.startswith(verb) and name not in JOBS]
    return found[::-1] if verbs == DELETIONS else found


def least(of: Shape, name: str) -> bool:
    return name in LEAST


def all_accepted(of: Shape, name: str) -> bool:
    known = MEMBERS.get(of.name)
    return name not in NEVER and (known is None or name in known.used or name in known.ignored)


@pytest.mark.parametrize("takes", [least, all_accepted])
def test_every_answer_is_of_its_shape(client: RawClient, takes: Takes) -> None:
    judge = Judge(client, Generator(NAMED, takes))
    seen = set()

    def in_service() -> bool:
        judge.survey()
        if "CreateEndpoint" not in judge.called:
            return True
        seen.add(status := judge.call("DescribeEndpoint")["EndpointStatus"])
        return status == "InService"

    for operation in operations(*CHANGES):
        judge.call(operation)
        eventually(in_service, what="the endpoint is InService")
    for operation in operations(*DELETIONS):
        judge.call(operation)
    assert judge.called == OPERATIONS.keys() - JOBS
    assert seen == {"Creating", "Updating", "InService"}
    eventually(lambda: not judge.call("ListEndpoints")["Endpoints"], what="the endpoint is gone")
    assert all(
        list(judge.call(operation).values()) == [[]] for operation in operations("List") if "Tags" not in operation
    )


# Refusals. What is asked for is checked before anything is done.


def everything(of: Shape, name: str) -> bool:
    return True


def complete_request(operation: str) -> Any:
    asked = Generator(NAMED, everything).value(input_of(operation))
    assert list(problems(input_of(operation), asked)) == []
    return asked


def refused(client: RawClient, operation: str, wrong: Wrong, code: str) -> None:
    status, answer = client.call(operation, wrong.asked)
    assert (status, answer["__type"]) == (400, code), (wrong, answer)
    assert wrong.says in answer["message"], (wrong, answer)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_is_required_has_to_be_there(client: RawClient, operation: str) -> None:
    for wrong in lacking(input_of(operation), complete_request(operation)):
        refused(client, operation, wrong, "ValidationException")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_the_model_does_not_allow_is_refused(client: RawClient, operation: str) -> None:
    for wrong in outside(input_of(operation), complete_request(operation)):
        is_image = not {"Image", "TrainingImage"}.isdisjoint(wrong.place)
        if not is_image or "pattern" not in wrong.says:  # which may be a command
            refused(client, operation, wrong, "ValidationException")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_is_of_another_type_is_refused(client: RawClient, operation: str) -> None:
    for wrong in mistyped(input_of(operation), complete_request(operation)):
        refused(client, operation, wrong, "SerializationException")


def test_all_that_is_wrong_is_said_at_once(client: RawClient) -> None:
    status, answer = client.call("ListModels", {"MaxResults": 101, "SortBy": "Age", "NameContains": "_"})
    assert (status, answer) == (
        400,
        {
            "__type": "ValidationException",
            "message": "3 validation errors detected: "
            "Value 'Age' at 'sortBy' failed to satisfy constraint: "
            "Member must satisfy enum value set: [Name, CreationTime]; "
            "Value '101' at 'maxResults' failed to satisfy constraint: "
            "Member must have value less than or equal to 100; "
            "Value '_' at 'nameContains' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: [a-zA-Z0-9-]+",
        },
    )


def test_a_member_that_the_api_does_not_know_is_passed_over(client: RawClient) -> None:
    assert client.call("ListModels", {"Invented": {"a": [1]}}) == client.call("ListModels", {})


def test_null_is_as_if_it_were_not_there(client: RawClient) -> None:
    asked = {"NameContains": None, "SortBy": None, "NextToken": None, "CreationTimeAfter": None}
    assert client.call("ListModels", asked) == client.call("ListModels", {})


# Other operations, and what is no call at all


def test_other_operations_are_said_not_to_be_emulated(client: RawClient) -> None:
    others = [name for name in API.operation_names if name not in OPERATIONS and not empty_lists.operation(name)]
    assert len(others) > 100
    for operation in others:
        status, headers, body = client.post(f"SageMaker.{operation}", b"{}")
        error = json.loads(body)
        assert (status, error["__type"]) == (400, "UnknownOperationException"), operation
        assert headers["x-amzn-errortype"] == "UnknownOperationException"
        assert error["message"].startswith(f"{operation} is an operation of SageMaker that localmme does not emulate.")


@pytest.mark.parametrize(
    "name, words", [("CreateModels", "CreateModels"), ("createModel", "createModel"), ("", "This")]
)
def test_what_is_no_operation_is_said_to_be_none(client: RawClient, name: str, words: str) -> None:
    status, answer = client.call(name, {})
    assert (status, answer["__type"]) == (400, "UnknownOperationException")
    assert answer["message"] == f"{words} is not an operation of SageMaker."


@pytest.mark.parametrize("target", [None, "", "CreateModel", "DynamoDB_20120810.ListTables"])
def test_a_call_to_no_service_that_is_here_is_a_clients_error(control_plane: ControlPlane, target: str | None) -> None:
    client = RawClient(control_plane.emulator.url)
    status, _, _ = client.post(target, b"{}")
    client.close()
    assert 400 <= status < 500


@pytest.mark.parametrize(
    "body, words",
    [
        (b"{", "The request is not JSON"),
        (b"\xff\xfe", "The request is not JSON"),
        (b"<CreateModel/>", "The request is not JSON"),
        (b"[" * 100_000, "The request is not JSON"),
        (b'{"NameContains": "\\ud800"}', "The request is not JSON"),
        (b"[]", "Expected a JSON object"),
        (b"5", "Expected a JSON object"),
        (b"null", "Expected a JSON object"),
        (b'{"MaxResults": NaN}', "maxResults must be a whole number"),
        (b'{"CreationTimeAfter": Infinity}', "creationTimeAfter must be a time"),
        (
            b" " * (REQUEST_BYTES + 1),
            f"{REQUEST_BYTES + 1} bytes, and at most {REQUEST_BYTES} are allowed",
        ),
        (b'{"NameContains": "' + b"a" * (5 << 20) + b'"}', f"at most {REQUEST_BYTES} are allowed"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_a_body_that_is_no_request_is_refused(client: RawClient, body: bytes, words: str) -> None:
    status, headers, answer = client.post("SageMaker.ListModels", body)
    error = json.loads(answer)
    assert (status, error["__type"]) == (400, "SerializationException")
    assert headers["x-amzn-errortype"] == "SerializationException"
    assert words in error["message"]
    assert client.call("ListModels", {})[0] == 200


def test_an_empty_body_is_a_request_without_members(client: RawClient) -> None:
    status, _, body = client.post("SageMaker.ListModels", b"")
    assert (status, set(json.loads(body))) == (200, {"Models"})
    status, _, body = client.post("SageMaker.DescribeModel", b"")
    assert status == 400 and b"Value null at 'modelName'" in body


def test_a_body_of_many_megabytes_of_what_the_api_does_not_know_is_taken_up_to_the_limit(client: RawClient) -> None:
    body = b'{"Invented": "' + b"a" * (REQUEST_BYTES - 16) + b'"}'
    assert len(body) == REQUEST_BYTES
    assert client.post("SageMaker.ListModels", body)[0] == 200
