"""Operations on resources that cannot be created here: lists are empty, and a named resource is not found.

SDKs call them when they create and delete endpoints: Predictors of the SageMaker SDK list an endpoint's monitoring
schedules and its lineage before they delete it. Answers are those of an account that has no such resources.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from emulator.services.sagemaker.control_plane import ControlPlane
from emulator.services.sagemaker.errors import resource_not_found

Operation = Callable[[ControlPlane, dict[str, Any]], Awaitable[dict[str, Any]]]
# List operations, and the member of the answer that is the list. [api]
_LISTS = {
    "ListMonitoringSchedules": "MonitoringScheduleSummaries",
    "ListMonitoringExecutions": "MonitoringExecutionSummaries",
    "ListDataQualityJobDefinitions": "JobDefinitionSummaries",
    "ListModelQualityJobDefinitions": "JobDefinitionSummaries",
    "ListModelBiasJobDefinitions": "JobDefinitionSummaries",
    "ListModelExplainabilityJobDefinitions": "JobDefinitionSummaries",
    "ListInferenceComponents": "InferenceComponents",
    "ListContexts": "ContextSummaries",
    "ListArtifacts": "ArtifactSummaries",
    "ListActions": "ActionSummaries",
    "ListAssociations": "AssociationSummaries",
}
# Operations on one resource, and the member of the request that names it. [api]
_NAMED = {
    "DescribeMonitoringSchedule": "MonitoringScheduleName",
    "DeleteMonitoringSchedule": "MonitoringScheduleName",
    "DescribeInferenceComponent": "InferenceComponentName",
    "DeleteInferenceComponent": "InferenceComponentName",
    "DescribeContext": "ContextName",
    "DescribeArtifact": "ArtifactArn",
    "DescribeAction": "ActionName",
}


def _empty(member: str) -> Operation:
    async def operation(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
        return {member: []}

    return operation


def _not_found(member: str) -> Operation:
    async def operation(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
        raise resource_not_found(request[member])

    return operation


OPERATIONS: dict[str, Operation] = {name: _empty(member) for name, member in _LISTS.items()} | {
    name: _not_found(member) for name, member in _NAMED.items()
}
