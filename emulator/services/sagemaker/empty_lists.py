"""What SDKs ask for on their way to an endpoint and away from it, and what cannot be made here: there is none of it.

Predictors of the SageMaker SDK ask for monitoring schedules before an endpoint is deleted, and for its lineage. An
account without any answers with an empty list, or that there is nothing of that name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from emulator.services.sagemaker.control_plane import ControlPlane
from emulator.services.sagemaker.errors import resource_not_found

Operation = Callable[[ControlPlane, dict[str, Any]], Awaitable[dict[str, Any]]]
# Lists, and the member of the answer that would have them. [api]
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
# Operations on one thing, and the member of the request that names it. [api]
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
    async def operation(plane: ControlPlane, asked: dict[str, Any]) -> dict[str, Any]:
        return {member: []}

    return operation


def _not_found(member: str) -> Operation:
    async def operation(plane: ControlPlane, asked: dict[str, Any]) -> dict[str, Any]:
        raise resource_not_found(asked[member])

    return operation


OPERATIONS: dict[str, Operation] = {name: _empty(member) for name, member in _LISTS.items()} | {
    name: _not_found(member) for name, member in _NAMED.items()
}
