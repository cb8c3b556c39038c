"""IAM's SimulatePrincipalPolicy, by which the SageMaker SDK 3 asks before it trains whether a role is enough. [api]

moto does not have it. The answer is what would happen here: without access control, everything is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from emulator.aws.errors import AwsError
from emulator.aws.permissions import RequiredPermission
from emulator.aws.xml_document import Element, document

OPERATION = "SimulatePrincipalPolicy"
NAMESPACE = "https://iam.amazonaws.com/doc/2010-05-08/"
MEMBER = re.compile(r"(ActionNames|ResourceArns)\.member\.(\d{1,4})", re.ASCII)

RoleAllows = Callable[[str, RequiredPermission], bool]


def everything_is_allowed(role_arn: str, ask: RequiredPermission) -> bool:
    """What is decided where no permissions are checked."""
    return True


def respond(parameters: Mapping[str, str], allows: RoleAllows, request_id: str) -> bytes:
    """The response's document: a decision for each action on each resource. Raises AwsError."""
    role_arn, actions = parameters.get("PolicySourceArn", ""), _listed(parameters, "ActionNames")
    if not role_arn or not actions:
        raise AwsError("ValidationError", 400, f"{OPERATION} needs PolicySourceArn and ActionNames.")
    results: list[Element] = [
        ("member", _result(action, resource, allows(role_arn, RequiredPermission(action, resource, {}))))
        for action in actions
        for resource in _listed(parameters, "ResourceArns") or ["*"]
    ]
    children: list[Element] = [
        (f"{OPERATION}Result", [("EvaluationResults", results), ("IsTruncated", False)]),
        ("ResponseMetadata", [("RequestId", request_id)]),
    ]
    return document(f"{OPERATION}Response", children, NAMESPACE)


def _result(action: str, resource: str, allowed: bool) -> list[Element]:
    decision = "allowed" if allowed else "implicitDeny"
    return [("EvalActionName", action), ("EvalResourceName", resource), ("EvalDecision", decision)]


def _listed(parameters: Mapping[str, str], name: str) -> list[str]:
    """The members of a list, in their order."""
    found = {
        int(match[2]): value
        for key, value in parameters.items()
        if (match := MEMBER.fullmatch(key)) and match[1] == name
    }
    return [found[number] for number in sorted(found)]
