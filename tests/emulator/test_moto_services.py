"""STS, IAM, ECR, CloudWatch Logs beside the endpoints; services that are not there; moto that is not installed."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.support.aws_cli import aws, aws_json
from tests.support.aws_clients import ACCOUNT, REGION
from tests.support.emulator_in_process import InProcessEmulator
from tests.support.emulator_process import Emulator, RunningEmulator
from tests.support.real_servers.images import Images
from tests.support.scripted_models import SCRIPTED_CONTAINER, Journal, scripted_arguments, scripted_model
from tests.support.waiting import eventually

ROLE = f"arn:aws:iam::{ACCOUNT}:role/service-role/AmazonSageMaker-ExecutionRole-localmme"
LINES = "/aws/sagemaker/Endpoints/local"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEmulator]:
    """One for all tests that leave it as they found it."""
    directory = tmp_path_factory.mktemp("neighbours")
    bucket, journal = directory / "s3", Journal(directory / "journal.jsonl")
    scripted_model(bucket / "a.tar.gz")
    emulator = InProcessEmulator(*scripted_arguments(bucket, journal, {}), state=directory / "state")
    yield emulator.wait_in_service()
    emulator.stop()


def refused(call: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]


# Application Auto Scaling


def test_autoscaling_is_accepted_of_boto3_and_the_cli(emulator: RunningEmulator) -> None:
    scaling = emulator.client_of("application-autoscaling")
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "endpoint/local/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=2)
    listed = aws_json(emulator, "application-autoscaling", "describe-scalable-targets", "--service-namespace=sagemaker")
    assert [one["ResourceId"] for one in listed["ScalableTargets"]] == [target["ResourceId"]]
    scaling.deregister_scalable_target(**target)
    error = refused(scaling.deregister_scalable_target, **target)
    assert error["Code"] == "ObjectNotFoundException"
    unknown = {**target, "ResourceId": "endpoint/none/variant/AllTraffic", "MinCapacity": 1, "MaxCapacity": 2}
    assert refused(scaling.register_scalable_target, **unknown)["Code"] == "ValidationException"


# STS and IAM


def test_a_caller_with_placeholder_keys_is_in_the_execution_role(emulator: RunningEmulator) -> None:
    for key in ("placeholder", "AKIAIOSFODNN7EXAMPLF", "AKIAIOSFODNN7EXAMPLE"):
        identity = emulator.client_of("sts", access_key=key).get_caller_identity()
        assert identity["Arn"] == (
            f"arn:aws:sts::{ACCOUNT}:assumed-role/AmazonSageMaker-ExecutionRole-localmme/SageMaker"
        )
        assert identity["Account"] == ACCOUNT


def test_the_caller_s_role_is_in_iam_as_the_sdk_s_get_execution_role_looks_it_up(emulator: RunningEmulator) -> None:
    # Its steps: the identity's ARN made into a role's, then the role's path asked of IAM.
    arn = emulator.client_of("sts").get_caller_identity()["Arn"]
    name = re.sub(r"^(.+)sts::(\d+):assumed-role/(.+?)/.*$", r"\1iam::\2:role/\3", arn).rpartition("/")[2]
    assert emulator.client_of("iam").get_role(RoleName=name)["Role"]["Arn"] == ROLE


def test_the_role_is_one_that_sagemaker_may_assume(emulator: RunningEmulator) -> None:
    iam = emulator.client_of("iam")
    role = iam.get_role(RoleName=ROLE.rpartition("/")[2])["Role"]
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    attached = iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"]
    assert [policy["PolicyName"] for policy in attached] == ["AmazonSageMakerFullAccess"]


def test_the_role_is_enough_as_the_sdk_3_asks_before_it_trains(emulator: RunningEmulator) -> None:
    asked = {"PolicySourceArn": ROLE, "ActionNames": ["sagemaker:CreateTrainingJob", "logs:PutLogEvents"]}
    pages = emulator.client_of("iam").get_paginator("simulate_principal_policy").paginate(**asked)
    assert [each["EvalDecision"] for page in pages for each in page["EvaluationResults"]] == ["allowed", "allowed"]


def test_a_role_that_was_not_created_is_not_there(emulator: RunningEmulator) -> None:
    iam = emulator.client_of("iam")
    assert refused(iam.get_role, RoleName="mine")["Code"] == "NoSuchEntity"
    iam.create_role(RoleName="mine", AssumeRolePolicyDocument="{}")
    assert iam.get_role(RoleName="mine")["Role"]["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/mine"
    iam.delete_role(RoleName="mine")


def test_who_assumes_a_role_is_in_that_one(emulator: RunningEmulator) -> None:
    keys = emulator.client_of("sts").assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/other", RoleSessionName="me")
    identity = emulator.client_of("sts", access_key=keys["Credentials"]["AccessKeyId"]).get_caller_identity()
    assert identity["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/other/me"


def test_a_user_with_keys_of_its_own_is_that_user(emulator: RunningEmulator) -> None:
    iam = emulator.client_of("iam")
    iam.create_user(UserName="ann")
    key = iam.create_access_key(UserName="ann")["AccessKey"]["AccessKeyId"]
    assert emulator.client_of("sts", access_key=key).get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/ann"


def test_the_command_line_tool_has_sts_and_iam(emulator: RunningEmulator) -> None:
    assert aws_json(emulator, "sts", "get-caller-identity")["Account"] == ACCOUNT
    assert aws_json(emulator, "iam", "get-role", "--role-name", ROLE.rpartition("/")[2])["Role"]["Arn"] == ROLE


def test_a_session_can_be_led_to_the_emulator_s_sts_past_an_address_that_its_caller_gives(
    emulator: RunningEmulator,
) -> None:
    # As docs/aws-services.md says; version 2 of SageMaker's Python SDK names STS's own address.
    session = boto3.Session("placeholder", "placeholder", region_name=REGION)

    def lead(request: Any, **_: Any) -> None:
        request.url = emulator.url + "/"

    session.events.register("before-sign.sts", lead)
    sts = session.client("sts", endpoint_url=f"https://sts.{REGION}.amazonaws.com")
    assert sts.get_caller_identity()["Account"] == ACCOUNT


# ECR


def test_a_repository_can_be_created_and_logged_in_to(emulator: RunningEmulator) -> None:
    ecr = emulator.client_of("ecr")
    uri = ecr.create_repository(repositoryName="team/server")["repository"]["repositoryUri"]
    assert uri == f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/team/server"
    token = ecr.get_authorization_token()["authorizationData"][0]
    lasts = token["expiresAt"] - datetime.now(timezone.utc)
    assert timedelta(hours=11, minutes=55) < lasts <= timedelta(hours=12)
    assert base64.b64decode(token["authorizationToken"]).startswith(b"AWS:")
    listed = aws_json(emulator, "ecr", "describe-repositories")["repositories"]
    assert "team/server" in [repository["repositoryName"] for repository in listed]
    assert ecr.list_images(repositoryName="team/server")["imageIds"] == []
    assert refused(ecr.list_images, repositoryName="none")["Code"] == "RepositoryNotFoundException"


@pytest.mark.docker
def test_an_image_of_the_local_engine_counts_as_pushed(emulator: RunningEmulator, images: Images) -> None:
    ecr, docker = emulator.client_of("ecr"), images.engine
    image = docker.images.get(images.base())
    name = f"localmme-test/served-{uuid.uuid4().hex}"  # another run of the tests has another one
    uri = ecr.create_repository(repositoryName=name)["repository"]["repositoryUri"]
    try:
        image.tag(uri, "one")
        image.tag(name, "two")
        image.tag(elsewhere := uri.replace(REGION, "us-west-2"), "three")
        (described,) = ecr.describe_images(repositoryName=name)["imageDetails"]
        assert sorted(described["imageTags"]) == ["one", "three", "two"]
        assert described["imageSizeInBytes"] == image.attrs["Size"]
        found = ecr.batch_get_image(repositoryName=name, imageIds=[{"imageTag": "two"}])
        assert [each["imageId"]["imageTag"] for each in found["images"]] == ["two"]
    finally:
        for tag in (f"{uri}:one", f"{name}:two", f"{elsewhere}:three"):
            docker.images.remove(tag, noprune=True)
    assert ecr.list_images(repositoryName=name)["imageIds"] == []


# CloudWatch Logs


def messages(emulator: RunningEmulator, stream: str = "AllTraffic/i-1", group: str = LINES) -> list[str]:
    events = emulator.client_of("logs").get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)
    return [event["message"] for event in events["events"]]


def described(lines: dict[str, list[str]], journals: Path) -> dict[str, Any]:
    """A file for serve: an endpoint of each name, with a container for each line, which it writes at its start."""
    models, configs, endpoints = [], [], []
    for name, of_containers in lines.items():
        containers = []
        for line in of_containers:
            script = {"SCRIPT": json.dumps({"start": {"lines": [line]}}), "SCRIPT_JOURNAL": str(journals / line)}
            containers.append({"Image": f"command:{SCRIPTED_CONTAINER}", "Environment": script})
        variant = {"VariantName": "AllTraffic", "ModelName": name, "InitialInstanceCount": 1}
        models.append({"ModelName": name, "Containers": containers})
        configs.append({"EndpointConfigName": name, "ProductionVariants": [variant]})
        endpoints.append({"EndpointName": name, "EndpointConfigName": name})
    return {"Models": models, "EndpointConfigs": configs, "Endpoints": endpoints}


def test_what_containers_write_is_in_their_endpoint_s_log_group_and_moto_is_imported_when_it_is_first_asked(
    serve: Callable[..., Emulator], tmp_path: Path
) -> None:
    note, shim = tmp_path / "imported", tmp_path / "shim"
    shim.mkdir()
    # Notes the import of moto, and goes on to the real one.
    (shim / "sitecustomize.py").write_text(
        "import sys\n"
        "class Noting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'moto':\n"
        f"            open({str(note)!r}, 'a').close()\n"
        "sys.meta_path.insert(0, Noting())\n"
    )
    file = tmp_path / "endpoint.yaml"
    file.write_text(
        json.dumps(described({"local": ["the model server is up"], "both": ["I am 1", "I am 2"]}, tmp_path))
    )
    before = int(time.time() * 1000)
    emulator = serve(str(file), environment=first_on_path(shim))
    eventually(lambda: len(emulator.output) == 2, what="both endpoints are InService")
    emulator.client().invoke_endpoint(EndpointName="local", Body=b"{}")
    assert not note.exists()

    eventually(lambda: "the model server is up" in messages(emulator), what="the line has come")
    assert note.exists()
    logs = emulator.client_of("logs")
    (stream,) = logs.describe_log_streams(logGroupName=LINES)["logStreams"]
    assert stream["logStreamName"] == "AllTraffic/i-1"
    (event,) = logs.filter_log_events(logGroupName=LINES, filterPattern='"server is up"')["events"]
    assert before <= event["timestamp"] <= int(time.time() * 1000)
    # Containers that share an instance have a stream each.
    group = "/aws/sagemaker/Endpoints/both"
    for n in (1, 2):
        eventually(lambda n=n: messages(emulator, f"AllTraffic/i-1/container-{n}", group) == [f"I am {n}"], what="line")
    assert [each["logGroupName"] for each in logs.describe_log_groups()["logGroups"]] == [group, LINES]
    listed = aws_json(emulator, "logs", "filter-log-events", "--log-group-name", LINES, "--interleaved")["events"]
    assert "the model server is up" in [event["message"] for event in listed]
    # They come once, however often they are asked for.
    assert messages(emulator).count("the model server is up") == 1


# What is not there


def test_a_service_that_is_not_emulated_is_named(emulator: RunningEmulator) -> None:
    for service, call in (("dynamodb", "list_tables"), ("sqs", "list_queues"), ("ec2", "describe_instances")):
        error = refused(getattr(emulator.client_of(service), call))
        assert service in error["Message"] and "not emulated" in error["Message"], error


@pytest.mark.parametrize("action, status", [("ListUsers", 200), ("CreateUser", 405)])
def test_what_a_get_would_change_is_refused(emulator: RunningEmulator, action: str, status: int) -> None:
    """A page can send one without saying where it is from."""
    query = f"Action={action}&Version=2010-05-08&UserName=got&X-Amz-Credential=x/20260101/us-east-1/iam/aws4_request"
    connection = http.client.HTTPConnection(emulator.url.removeprefix("http://"), timeout=60)
    connection.request("GET", f"/?{query}")
    answer = connection.getresponse()
    assert (answer.status, b"is called with the method POST" in answer.read()) == (status, status == 405)
    connection.close()
    assert "got" not in [user["UserName"] for user in emulator.client_of("iam").list_users()["Users"]]


def test_what_moto_lacks_is_an_aws_error(emulator: RunningEmulator) -> None:
    error = refused(emulator.client_of("cloudwatch").list_managed_insight_rules, ResourceARN="arn:aws:ec2:x:1:y")
    assert error["Code"] == "NotImplemented" and "list_managed_insight_rules" in error["Message"]


@pytest.mark.parametrize(
    ("service", "call", "arguments", "told"),
    [
        ("logs", "create_log_group", {}, "logGroupName is missing"),
        ("ecr", "list_images", {"repositoryName": []}, "repositoryName must be a string, not a list"),
        ("sts", "assume_role", {"RoleArn": ROLE, "RoleSessionName": "me", "DurationSeconds": "x"}, "a whole number"),
        ("iam", "list_roles", {"Marker": "x"}, "Marker is not a token that it returned"),
    ],
)
def test_a_call_that_the_api_would_not_take_is_the_caller_s_fault(
    emulator: RunningEmulator, service: str, call: str, arguments: dict[str, Any], told: str
) -> None:
    # moto fails in the middle of these.
    unchecked = Config(parameter_validation=False, retries={"total_max_attempts": 1})
    keys = {"aws_access_key_id": "placeholder", "aws_secret_access_key": "placeholder", "region_name": REGION}
    error = refused(
        getattr(boto3.client(service, endpoint_url=emulator.url, config=unchecked, **keys), call), **arguments
    )
    assert (error["Code"].startswith("Validation"), told in error["Message"]) == (True, True), error
    assert not any("Traceback" in line for line in emulator.errors)


def test_a_region_that_is_none_has_no_repositories(emulator: RunningEmulator) -> None:
    error = refused(emulator.client_of("ecr", region="nowhere-1").describe_repositories)
    assert error["Message"] == "Credential should be scoped to a valid region."
    query = "Action=ListUsers&Version=2010-05-08&X-Amz-Credential=x/20260101/%E2%82%AC/iam/aws4_request"
    with urllib.request.urlopen(f"{emulator.url}/?{query}") as answer:  # which IAM has no use for
        assert answer.status == 200


def test_the_region_is_the_one_that_is_signed_whatever_the_host(emulator: RunningEmulator) -> None:
    signed = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/sts/aws4_request, SignedHeaders=host, Signature=x"
    headers = {"Host": "sts.cn-north-1.amazonaws.com.cn", "Authorization": signed}
    query = "Action=GetCallerIdentity&Version=2011-06-15"
    with urllib.request.urlopen(urllib.request.Request(f"{emulator.url}/?{query}", headers=headers)) as answer:
        assert b"arn:aws:sts::" in answer.read()


def test_the_emulator_s_own_region_is_one_for_moto() -> None:
    from moto.logs.models import logs_backends

    from emulator.services.moto_services.backends import introduce_region

    with pytest.raises(KeyError):
        logs_backends[ACCOUNT]["made-up-1"]
    introduce_region("made-up-1")
    assert logs_backends[ACCOUNT]["made-up-1"].region_name == "made-up-1"


def test_a_protocol_that_moto_lacks_is_refused_in_that_protocol(emulator: RunningEmulator) -> None:
    request = urllib.request.Request(
        emulator.url + "/service/GraniteServiceVersion20100801/operation/ListMetrics",
        data=b"\xa0",
        headers={"smithy-protocol": "rpc-v2-cbor", "content-type": "application/cbor"},
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    from botocore.parsers import create_parser

    answer = {"status_code": 501, "headers": dict(caught.value.headers), "body": caught.value.read()}
    error = create_parser("smithy-rpc-v2-cbor").parse(answer, None)["Error"]
    assert error["Code"] == "NotImplemented" and "rpc-v2-cbor" in error["Message"]


def test_without_moto_the_error_says_what_to_install(
    serve: Callable[..., Emulator], bucket: Path, journal: Journal, tmp_path: Path
) -> None:
    shim = tmp_path / "shim"
    shim.mkdir()
    (shim / "moto.py").write_text('raise ModuleNotFoundError("No module named \'moto\'", name="moto")\n')
    scripted_model(bucket / "a.tar.gz")
    emulator = serve(*scripted_arguments(bucket, journal, {}), environment=first_on_path(shim))
    for service, call in (
        ("sts", "get_caller_identity"), ("iam", "list_roles"), ("ecr", "describe_repositories"),
        ("cloudwatch", "list_metrics"), ("logs", "describe_log_groups"),
    ):  # fmt: skip
        assert 'pip install "localmme[aws]"' in refused(getattr(emulator.client_of(service), call))["Message"]
    assert emulator.invoke("a.tar.gz")
    assert 'pip install "localmme[aws]"' in aws(emulator, "sts", "get-caller-identity").stderr


def first_on_path(directory: Path) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(directory), os.environ.get("PYTHONPATH"))))}


# Many calls


def test_calls_on_one_connection_follow_each_other(emulator: RunningEmulator) -> None:
    sts = emulator.client_of("sts")
    connection = http.client.HTTPConnection(emulator.url.removeprefix("http://"), timeout=60)
    for _ in range(100):
        assert sts.get_caller_identity()["Account"] == ACCOUNT
        connection.request("GET", "/_localmme/health")
        assert connection.getresponse().read()
    connection.close()
