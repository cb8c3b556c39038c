"""Application Auto Scaling, for which moto answers: what is registered for variants is kept, and nothing is scaled."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from moto.applicationautoscaling.models import applicationautoscaling_backends

from emulator.aws.arn import ACCOUNT_ID
from emulator.aws.sessions import Sessions
from emulator.observers.cloudwatch_metrics import CloudWatchMetrics
from emulator.observers.recent_log_lines import RecentLogLines
from emulator.services.moto_services.app import MotoServicesApp
from tests.support.asgi_client import call_service

TARGET = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/cities/variant/AllTraffic",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
POLICY = {
    "PolicyName": "InvocationsPerInstance",
    "PolicyType": "TargetTrackingScaling",
    "TargetTrackingScalingPolicyConfiguration": {
        "TargetValue": 70.0,
        "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
    },
}
ACTION = {"ScheduledActionName": "nightly", "Schedule": "cron(0 22 * * ? *)"}


class AutoScaling:
    """The service, and the endpoints that there are."""

    def __init__(self, region: str = "us-east-1") -> None:
        self.endpoints = {"cities": ["AllTraffic"]}
        unused: Any = None  # only ECR asks the Docker Engine
        self._app = MotoServicesApp(
            CloudWatchMetrics(), RecentLogLines(), unused, region, Sessions(time.time),
            lambda name: self.endpoints.get(name, ()),
        )  # fmt: skip
        self._loop = asyncio.new_event_loop()

    def call(self, operation: str, **members: Any) -> Any:
        signed_for = "placeholder/20260101/eu-west-1/application-autoscaling/aws4_request"
        headers = {
            "authorization": f"AWS4-HMAC-SHA256 Credential={signed_for}, SignedHeaders=host, Signature=0",
            "x-amz-target": f"AnyScaleFrontendService.{operation}",
            "content-type": "application/x-amz-json-1.1",
        }
        body = json.dumps({"ServiceNamespace": "sagemaker", **members}).encode()
        answer = self._loop.run_until_complete(
            call_service(self._app, "application-autoscaling", "POST", "/", headers, body)
        )
        return answer.json() if answer.status == 200 else (answer.status, answer.json()["__type"])

    def close(self) -> None:
        self._loop.close()


@pytest.fixture
def scaling() -> Iterator[AutoScaling]:
    scaling = AutoScaling()
    yield scaling
    scaling.close()
    for backend in applicationautoscaling_backends[ACCOUNT_ID].values():
        backend.reset()


def test_the_calls_of_a_notebook_are_accepted_with_one_warning(
    scaling: AutoScaling, caplog: pytest.LogCaptureFixture
) -> None:
    for most in (2, 4):
        registered = scaling.call("RegisterScalableTarget", **TARGET, MinCapacity=1, MaxCapacity=most)
        assert registered["ScalableTargetARN"].startswith("arn:aws:application-autoscaling:us-east-1:")
    assert scaling.call("PutScalingPolicy", **TARGET, **POLICY)["PolicyARN"]
    assert scaling.call("PutScheduledAction", **TARGET, **ACTION) == {}
    assert [record.message for record in caplog.records if "does not scale yet" in record.message] == [
        "Application Auto Scaling keeps what is set for endpoint/cities/variant/AllTraffic, but localmme does not "
        "scale yet: the number of instances stays."
    ]
    (target,) = scaling.call("DescribeScalableTargets")["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 4)
    assert target["RoleARN"].endswith("/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint")
    assert target["SuspendedState"]["DynamicScalingInSuspended"] is False
    (policy,) = scaling.call("DescribeScalingPolicies")["ScalingPolicies"]
    assert policy["TargetTrackingScalingPolicyConfiguration"] == POLICY["TargetTrackingScalingPolicyConfiguration"]
    assert scaling.call("DescribeScheduledActions")["ScheduledActions"][0]["ScheduledActionName"] == "nightly"
    assert scaling.call("DescribeScalingActivities") == {"ScalingActivities": []}
    assert scaling.call("DeleteScalingPolicy", **TARGET, PolicyName=POLICY["PolicyName"]) == {}
    assert scaling.call("DeregisterScalableTarget", **TARGET) == {}
    assert scaling.call("DescribeScheduledActions")["ScheduledActions"] == []
    assert scaling.call("DescribeScalableTargets")["ScalableTargets"] == []


@pytest.mark.parametrize(
    ("operation", "members", "code"),
    [
        ("RegisterScalableTarget", {"ResourceId": "endpoint/none/variant/AllTraffic"}, "ValidationException"),
        ("RegisterScalableTarget", {"ResourceId": "endpoint/cities/variant/none"}, "ValidationException"),
        ("RegisterScalableTarget", {"ResourceId": "cities"}, "ValidationException"),
        ("RegisterScalableTarget", {"MaxCapacity": None}, "ValidationException"),
        ("RegisterScalableTarget", {"ScalableDimension": "sagemaker:variant:Other"}, "ValidationException"),
        ("PutScalingPolicy", POLICY, "ObjectNotFoundException"),
        ("PutScheduledAction", ACTION, "ObjectNotFoundException"),
        ("DeleteScalingPolicy", {"PolicyName": "none"}, "ObjectNotFoundException"),
        ("DeregisterScalableTarget", {}, "ObjectNotFoundException"),
        ("RegisterScalableTarget", {"MinCapacity": 3}, "ValidationException"),
        ("DeleteScheduledAction", {"ScheduledActionName": "none"}, "ObjectNotFoundException"),
        ("ListTagsForResource", {"ResourceARN": "arn:aws:application-autoscaling:none"}, "ResourceNotFoundException"),
    ],
)
def test_what_aws_refuses_is_refused(scaling: AutoScaling, operation: str, members: dict[str, Any], code: str) -> None:
    capacity = {"MinCapacity": 1, "MaxCapacity": 2} if operation == "RegisterScalableTarget" else {}
    given = {name: value for name, value in {**TARGET, **capacity, **members}.items() if value is not None}
    assert scaling.call(operation, **given) == (400, code)
    assert scaling.call("DescribeScalableTargets")["ScalableTargets"] == []


def test_a_target_goes_with_its_endpoint(scaling: AutoScaling) -> None:
    scaling.call("RegisterScalableTarget", **TARGET, MinCapacity=1, MaxCapacity=2)
    scaling.call("PutScalingPolicy", **TARGET, **POLICY)
    scaling.endpoints.clear()
    assert scaling.call("DescribeScalableTargets")["ScalableTargets"] == []
    assert scaling.call("DescribeScalingPolicies")["ScalingPolicies"] == []


def test_the_region_may_be_of_any_name() -> None:
    scaling = AutoScaling("mars-north-1")
    registered = scaling.call("RegisterScalableTarget", **TARGET, MinCapacity=1, MaxCapacity=2)
    scaling.close()
    assert ":mars-north-1:" in registered["ScalableTargetARN"]


STEP = {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": [{"ScalingAdjustment": 1}]}
TRACKING = POLICY["TargetTrackingScalingPolicyConfiguration"]


@pytest.mark.parametrize(
    ("operation", "members", "code"),
    [
        ("RegisterScalableTarget", {"MinCapacity": 3}, "ValidationException"),
        ("RegisterScalableTarget", {"MaxCapacity": 0}, "ValidationException"),
        ("PutScalingPolicy", {"PolicyName": "new"}, "ValidationException"),
        ("PutScalingPolicy", {"PolicyName": "new", "PolicyType": "StepScaling"}, "ValidationException"),
        ("PutScalingPolicy", {"PolicyName": "new", "PolicyType": "TargetTrackingScaling"}, "ValidationException"),
        ("PutScalingPolicy", {"PolicyName": "new", "PolicyType": "PredictiveScaling"}, "ValidationException"),
        ("PutScalingPolicy", {**POLICY, "PolicyType": "StepScaling"}, "ValidationException"),
        ("PutScalingPolicy", {"PolicyName": "new", "StepScalingPolicyConfiguration": STEP}, "ValidationException"),
        ("PutScheduledAction", {**ACTION, "ScalableTargetAction": {"MinCapacity": 2, "MaxCapacity": 1}},
         "ValidationException"),
        ("DeleteScalingPolicy", {"PolicyName": "none"}, "ObjectNotFoundException"),
        ("DeleteScheduledAction", {"ScheduledActionName": "none"}, "ObjectNotFoundException"),
    ],
)  # fmt: skip
def test_what_aws_refuses_of_a_target_that_exists_changes_nothing(
    scaling: AutoScaling, operation: str, members: dict[str, Any], code: str
) -> None:
    def state() -> list[Any]:
        return [scaling.call(f"Describe{kind}") for kind in ("ScalableTargets", "ScalingPolicies", "ScheduledActions")]

    scaling.call("RegisterScalableTarget", **TARGET, MinCapacity=1, MaxCapacity=2)
    scaling.call("PutScalingPolicy", **TARGET, **POLICY)
    scaling.call("PutScheduledAction", **TARGET, **ACTION)
    before = state()
    assert scaling.call(operation, **TARGET, **members) == (400, code)
    assert state() == before


def test_policies_are_described_by_name(scaling: AutoScaling) -> None:
    scaling.endpoints["cities"].append("All")
    both = [TARGET, {**TARGET, "ResourceId": "endpoint/cities/variant/All"}]
    for target in both:
        scaling.call("RegisterScalableTarget", **target, MinCapacity=1, MaxCapacity=2)
        step = {"PolicyType": "StepScaling", "StepScalingPolicyConfiguration": STEP}
        assert "PolicyARN" in scaling.call("PutScalingPolicy", **target, PolicyName="step", **step)
        assert "PolicyARN" in scaling.call("PutScalingPolicy", **target, **POLICY)
        assert "PolicyARN" in scaling.call("PutScalingPolicy", **target, PolicyName="step")  # changes nothing

    def names(**members: Any) -> list[tuple[str, str]]:
        found = scaling.call("DescribeScalingPolicies", **members)
        described = [
            (policy["ResourceId"].rpartition("/")[2], policy["PolicyName"]) for policy in found["ScalingPolicies"]
        ]
        return described + (names(**{**members, "NextToken": found["NextToken"]}) if "NextToken" in found else [])

    assert names(PolicyNames=["step", "none"]) == [("AllTraffic", "step"), ("All", "step")]
    assert names(PolicyNames=["step", POLICY["PolicyName"]], MaxResults=1, **TARGET) == [
        ("AllTraffic", "step"), ("AllTraffic", POLICY["PolicyName"]),
    ]  # fmt: skip
    assert len(names(MaxResults=3)) == 4


def test_targets_have_tags(scaling: AutoScaling) -> None:
    capacity = {"MinCapacity": 1, "MaxCapacity": 2}
    arn = scaling.call("RegisterScalableTarget", **TARGET, **capacity, Tags={"a": "1", "b": "2"})["ScalableTargetARN"]
    assert scaling.call("RegisterScalableTarget", **TARGET, MaxCapacity=3)["ScalableTargetARN"] == arn
    assert scaling.call("TagResource", ResourceARN=arn, Tags={"c": "3"}) == {}
    assert scaling.call("UntagResource", ResourceARN=arn, TagKeys=["a", "none"]) == {}
    assert scaling.call("ListTagsForResource", ResourceARN=arn) == {"Tags": {"b": "2", "c": "3"}}


@pytest.mark.parametrize(
    ("namespace", "dimension"),
    [
        ("sagemaker", "sagemaker:inference-component:DesiredCopyCount"),
        ("sagemaker", "sagemaker:variant:DesiredProvisionedConcurrency"),
        ("elasticache", "elasticache:replication-group:NodeGroups"),
    ],
)
def test_of_every_dimension_there_are_targets_or_none(scaling: AutoScaling, namespace: str, dimension: str) -> None:
    of_kind = {"ServiceNamespace": namespace, "ScalableDimension": dimension}
    assert scaling.call("DescribeScalableTargets", **of_kind)["ScalableTargets"] == []
    wrong = {**of_kind, "ScalableDimension": "sagemaker:variant:Other"}
    assert scaling.call("DescribeScalableTargets", **wrong) == (400, "ValidationException")
