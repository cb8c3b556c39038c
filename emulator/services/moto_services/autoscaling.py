"""moto's Application Auto Scaling, which keeps what is registered for the variants of endpoints. Nothing is scaled yet.

moto knows no endpoints, and checks little: what SageMaker's namespace needs is checked here, before moto has the call.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from moto.applicationautoscaling.models import ApplicationAutoscalingBackend, applicationautoscaling_backends
from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.core.models import DEFAULT_ACCOUNT_ID

from emulator import relied_on
from emulator.aws.arn import iam_arn
from emulator.aws.errors import AwsError

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

VariantNames = Callable[[str], Collection[str]]  # of the endpoint with a name; none if there is no such endpoint
log = logging.getLogger("localmme")
relied_on.check(__name__)


def install() -> None:
    """Have moto answer DescribeScalingActivities, which it does not know: there are none."""
    ApplicationAutoScalingResponse.describe_scaling_activities = (  # type: ignore[attr-defined]
        lambda _: json.dumps({"ScalingActivities": []})
    )


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
        about: Any = (parameters.get("ResourceId"), parameters.get("ScalableDimension"))
        if parameters.get("ServiceNamespace") != "sagemaker" or not all(isinstance(each, str) for each in about):
            return
        resource, dimension = about
        is_registered = resource in backend.targets.get(dimension, {})
        if operation == "RegisterScalableTarget" and not is_registered:
            self._check_new(resource, parameters)
        if operation in NEEDS_TARGET and not is_registered:
            raise _no_target(resource, dimension)
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
            raise AwsError(
                "ValidationException", 400, f"The SageMaker endpoint variant does not exist: {resource}"
            )  # [ours] the words
        missing = [name for name in ("MinCapacity", "MaxCapacity") if parameters.get(name) is None]
        if missing:  # [api]
            words = f"{' and '.join(missing)} must be given when a scalable target is registered."
            raise AwsError("ValidationException", 400, words)


def _no_target(resource: str, dimension: str) -> AwsError:
    return AwsError(
        "ObjectNotFoundException",
        400,
        f"No scalable target registered for service namespace: sagemaker, resource ID: {resource}, scalable dimension: "
        f"{dimension}",
    )


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
