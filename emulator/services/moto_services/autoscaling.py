"""moto's Application Auto Scaling, which keeps what is registered for the variants of endpoints. Nothing is scaled yet.

moto knows no endpoints, and checks little: what SageMaker's namespace needs is checked here, before moto has the call.
"""

from __future__ import annotations

import functools
import json
import logging
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from moto.applicationautoscaling.models import (
    ApplicationAutoscalingBackend,
    FakeApplicationAutoscalingPolicy,
    FakeScheduledAction,
    applicationautoscaling_backends,
)
from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse, _build_policy
from moto.core.models import DEFAULT_ACCOUNT_ID

from emulator import relied_on
from emulator.aws.arn import iam_arn
from emulator.aws.errors import AwsError
from emulator.aws.services import api_model

VARIANT = re.compile(r"endpoint/([^/]+)/variant/([^/]+)")
# The role that AWS makes for a target which names none. [api]
SERVICE_ROLE = (
    "aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
    "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
)
KEEPS = {"RegisterScalableTarget", "PutScalingPolicy", "PutScheduledAction"}
NEEDS_TARGET = {"PutScalingPolicy", "PutScheduledAction", "DeregisterScalableTarget", "DeleteScalingPolicy"}
NOT_SUSPENDED = {"DynamicScalingInSuspended": False, "DynamicScalingOutSuspended": False,
                 "ScheduledScalingSuspended": False}  # fmt: skip

POLICY_TYPES = ("StepScaling", "TargetTrackingScaling")  # [api] PredictiveScaling is for Amazon ECS only
CONFIGURATION = "PolicyConfiguration"  # what the names of policies' configurations have after their types
OF_TAGS = {"ListTagsForResource", "TagResource", "UntagResource"}
POLICIES_AT_ONCE = 100  # as moto has it

VariantNames = Callable[[str], Collection[str]]  # of the endpoint with a name; none if there is no such endpoint
log = logging.getLogger("localmme")
relied_on.check(__name__)

Response = ApplicationAutoScalingResponse
_registered = Response.register_scalable_target  # moto's


def install() -> None:
    """Have moto answer what it does not know, and regard what it leaves out."""
    answers: dict[str, Callable[[Response], str | None]] = {
        "describe_scaling_activities": lambda _: json.dumps({"ScalingActivities": []}),
        "describe_scaling_policies": _policies,
        "register_scalable_target": _register,
        "list_tags_for_resource": lambda response: json.dumps({"Tags": _tags(response)}),
        "tag_resource": _tag,
        "untag_resource": _untag,
        "_validate_params": lambda _: None,  # it refuses values that are newer than moto; ``prepare`` checks them
    }
    for name, answer in answers.items():
        setattr(Response, name, answer)


def _policies(response: Response) -> str:
    """moto's takes no notice of PolicyNames, and takes a ResourceId for those that it begins with, too."""
    asked = json.loads(response.body)
    names = asked.get("PolicyNames")
    found = [
        policy
        for policy in response.applicationautoscaling_backend.policies.values()
        if policy.service_namespace == asked["ServiceNamespace"]
        and asked.get("ResourceId") in (None, policy.resource_id)
        and asked.get("ScalableDimension") in (None, policy.scalable_dimension)
        and (not names or policy.policy_name in names)
    ]
    start = int(asked.get("NextToken") or 0)
    end = start + (asked.get("MaxResults") or POLICIES_AT_ONCE)
    page: dict[str, Any] = {"ScalingPolicies": [_build_policy(policy) for policy in found[start:end]]}
    return json.dumps({**page, "NextToken": str(end)} if end < len(found) else page)


def _register(response: Response) -> str:
    answer = _registered(response)
    target = _target(response.applicationautoscaling_backend, json.loads(answer)["ScalableTargetARN"])
    if not hasattr(target, "tags"):  # TagResource changes those of a target that exists. [api]
        target.tags = json.loads(response.body).get("Tags") or {}
    return answer


def _tag(response: Response) -> str:
    _tags(response).update(json.loads(response.body)["Tags"])
    return "{}"


def _untag(response: Response) -> str:
    for key in json.loads(response.body)["TagKeys"]:
        _tags(response).pop(key, None)
    return "{}"


def _tags(response: Response) -> dict[str, str]:
    arn = json.loads(response.body)["ResourceARN"]
    target = _target(response.applicationautoscaling_backend, arn)
    tags: dict[str, str] = target.tags if target is not None else {}
    return tags


@functools.cache
def _values(name: str) -> list[str]:
    """Those that a member of a request may have. [api]"""
    values: list[str] = api_model("application-autoscaling")["shapes"][name]["enum"]
    return values


def _target(backend: ApplicationAutoscalingBackend, arn: Any) -> Any:
    """The scalable target with an ARN; None if there is no such target."""
    targets = (target for of_dimension in backend.targets.values() for target in of_dimension.values())
    return next((target for target in targets if target.arn == arn), None)


class ScalableVariants:
    """The variants that are scalable targets. The methods are called in threads, one at a time."""

    def __init__(self, variant_names: VariantNames) -> None:
        self._variant_names = variant_names
        self._warned: set[str] = set()

    def prepare(self, operation: str, parameters: Mapping[str, Any], region: str) -> None:
        """Check a call, and see to it that moto has no targets of variants that are gone. Raises AwsError."""
        backend = applicationautoscaling_backends[DEFAULT_ACCOUNT_ID][region]
        for dimension, targets in backend.targets.items():
            for resource, target in list(targets.items()):
                if target.service_namespace == "sagemaker" and not self._exists(resource):
                    _forget(backend, dimension, resource)
                    continue
                target.role_arn = target.role_arn or iam_arn(region, "role", SERVICE_ROLE)
                target.suspended_state = {**NOT_SUSPENDED, **(target.suspended_state or {})}  # type: ignore[dict-item, assignment]
        for name in ("ServiceNamespace", "ScalableDimension"):
            if name in parameters and parameters[name] not in _values(name):
                raise _invalid(f"{name} is none of {', '.join(_values(name))}.")
        if operation in OF_TAGS and _target(backend, parameters.get("ResourceARN")) is None:
            raise AwsError("ResourceNotFoundException", 400, f"There is no resource {parameters.get('ResourceARN')}.")
        about: Any = (parameters.get("ResourceId"), parameters.get("ScalableDimension"))
        if parameters.get("ServiceNamespace") != "sagemaker" or not all(isinstance(each, str) for each in about):
            return
        resource, dimension = about
        present = backend.targets.get(dimension, {}).get(resource)
        if operation == "RegisterScalableTarget":
            if present is None:
                self._check_new(resource, parameters)
            _check_capacity(parameters, present)
        if operation in NEEDS_TARGET and present is None:
            raise _not_found("scalable target registered", parameters)
        if operation == "PutScalingPolicy":
            _check_policy(parameters, backend.policies.get(_policy_key(parameters)))
        if operation == "DeleteScalingPolicy" and _policy_key(parameters) not in backend.policies:
            raise _not_found("scaling policy found", parameters, "PolicyName")
        if operation == "PutScheduledAction":
            _check_capacity(parameters.get("ScalableTargetAction"))
        if operation == "DeleteScheduledAction" and not any(
            _is_named(action, parameters) for action in backend.scheduled_actions
        ):
            raise _not_found("scheduled action found", parameters, "ScheduledActionName")
        if operation == "DeregisterScalableTarget":
            _forget_policies(backend, dimension, resource)
        if operation in KEEPS and resource not in self._warned:
            self._warned.add(resource)
            log.warning(
                "Application Auto Scaling keeps what is set for %s, but localmme does not scale yet: the number of "
                "instances stays.", resource,
            )  # fmt: skip

    def _exists(self, resource: str) -> bool:
        match = VARIANT.fullmatch(resource)
        return match is not None and match[2] in self._variant_names(match[1])

    def _check_new(self, resource: str, parameters: Mapping[str, Any]) -> None:
        if not self._exists(resource):
            raise _invalid(f"The SageMaker endpoint variant does not exist: {resource}")
        missing = [name for name in ("MinCapacity", "MaxCapacity") if parameters.get(name) is None]
        if missing:  # [api]
            raise _invalid(f"{' and '.join(missing)} must be given when a scalable target is registered.")


def _check_capacity(parameters: Any, target: Any = None) -> None:
    """``target`` is what has the numbers that are left out. Raises AwsError."""
    if not isinstance(parameters, dict):
        return
    least = parameters.get("MinCapacity", target and target.min_capacity)
    most = parameters.get("MaxCapacity", target and target.max_capacity)
    if isinstance(least, int) and isinstance(most, int) and most < least:
        raise _invalid("Maximum capacity cannot be less than minimum capacity")


def _check_policy(parameters: Mapping[str, Any], present: Any) -> None:
    """``present`` is the policy that is changed. Raises AwsError. [api]"""
    kind = parameters.get("PolicyType") or (present and present.policy_type)
    if kind is None:
        raise _invalid("PolicyType must be given when a scaling policy is created.")
    if kind not in POLICY_TYPES:
        raise _invalid(f"PolicyType {kind} is not for the service namespace sagemaker.")
    given = {name for name in parameters if name.endswith(CONFIGURATION)}
    is_left_out = not given and present is not None and present.policy_type == kind
    if given != {kind + CONFIGURATION} and not is_left_out:
        raise _invalid(f"{kind}{CONFIGURATION}, and no other configuration, must be given with PolicyType {kind}.")


def _policy_key(parameters: Mapping[str, Any]) -> str:
    names = ("ServiceNamespace", "ResourceId", "ScalableDimension", "PolicyName")
    return FakeApplicationAutoscalingPolicy.formulate_key(*(parameters.get(name, "") for name in names))


def _is_named(action: FakeScheduledAction, parameters: Mapping[str, Any]) -> bool:
    place = (action.resource_id, action.scalable_dimension, action.scheduled_action_name)
    return place == tuple(parameters.get(name) for name in ("ResourceId", "ScalableDimension", "ScheduledActionName"))


def _invalid(words: str) -> AwsError:
    """[ours] Most of the words."""
    return AwsError("ValidationException", 400, words)


def _not_found(what: str, parameters: Mapping[str, Any], name: str = "") -> AwsError:
    words = (
        f"No {what} for service namespace: sagemaker, resource ID: {parameters['ResourceId']}, scalable dimension: "
        f"{parameters['ScalableDimension']}"
    )
    if name:
        words += f", {'policy' if name == 'PolicyName' else 'scheduled action'} name: {parameters.get(name)}"
    return AwsError("ObjectNotFoundException", 400, words)


def _forget(backend: ApplicationAutoscalingBackend, dimension: str, resource: str) -> None:
    del backend.targets[dimension][resource]
    _forget_policies(backend, dimension, resource)


def _forget_policies(backend: ApplicationAutoscalingBackend, dimension: str, resource: str) -> None:
    """A target goes with its policies and scheduled actions. [api]"""
    backend.policies = {
        key: policy
        for key, policy in backend.policies.items()
        if (policy.resource_id, policy.scalable_dimension) != (resource, dimension)
    }
    backend.scheduled_actions = [
        action
        for action in backend.scheduled_actions
        if (action.resource_id, action.scalable_dimension) != (resource, dimension)
    ]
