"""IAM's SimulatePrincipalPolicy, read as SDKs read it."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.parsers import create_parser
from botocore.session import Session

from emulator.aws.errors import AwsError
from emulator.aws.permissions import RequiredPermission
from emulator.services.moto_services.simulate_principal_policy import everything_is_allowed, respond

ROLE = "arn:aws:iam::123456789012:role/trains"
PARAMETERS = {
    "PolicySourceArn": ROLE,
    "ActionNames.member.1": "sagemaker:CreateTrainingJob",
    "ActionNames.member.2": "s3:GetObject",
}


def simulated(parameters: dict[str, str], allows: Any) -> dict[str, Any]:
    shape = Session().get_service_model("iam").operation_model("SimulatePrincipalPolicy").output_shape
    body = respond(parameters, allows, "request-1")
    return create_parser("query").parse({"status_code": 200, "headers": {}, "body": body}, shape)


def decisions(answer: dict[str, Any]) -> list[tuple[str, str, str]]:
    results = answer["EvaluationResults"]
    return [(each["EvalActionName"], each["EvalResourceName"], each["EvalDecision"]) for each in results]


def test_without_access_control_everything_is_allowed() -> None:
    answer = simulated(PARAMETERS, everything_is_allowed)
    assert decisions(answer) == [("sagemaker:CreateTrainingJob", "*", "allowed"), ("s3:GetObject", "*", "allowed")]
    assert (answer["IsTruncated"], answer["ResponseMetadata"]["RequestId"]) == (False, "request-1")


def test_with_it_a_role_s_policies_decide_for_each_resource() -> None:
    def allows(role_arn: str, ask: RequiredPermission) -> bool:
        assert role_arn == ROLE
        return (ask.action, ask.resource) == ("s3:GetObject", "arn:aws:s3:::models/a")

    resources = {f"ResourceArns.member.{number}": f"arn:aws:s3:::models/{key}" for number, key in ((2, "b"), (1, "a"))}
    actions = {name: value for name, value in PARAMETERS.items() if not name.endswith("1")}
    assert decisions(simulated({**actions, **resources}, allows)) == [
        ("s3:GetObject", "arn:aws:s3:::models/a", "allowed"),
        ("s3:GetObject", "arn:aws:s3:::models/b", "implicitDeny"),
    ]


@pytest.mark.parametrize("missing", ["PolicySourceArn", "ActionNames"])
def test_what_it_needs_is_said(missing: str) -> None:
    left = {name: value for name, value in PARAMETERS.items() if not name.startswith(missing)}
    with pytest.raises(AwsError, match=missing):
        respond(left, everything_is_allowed, "request-1")
