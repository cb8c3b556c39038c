"""The permission that an invocation requires. [service reference]"""

from __future__ import annotations

from emulator.aws.arn import sagemaker_arn
from emulator.aws.permissions import RequiredPermission
from emulator.aws.request import AwsRequest
from emulator.services.runtime.app import INVOKE, INVOKE_ASYNC, INVOKE_STREAM, parts_of

ACTIONS = {
    INVOKE: "sagemaker:InvokeEndpoint",
    INVOKE_STREAM: "sagemaker:InvokeEndpointWithResponseStream",
    INVOKE_ASYNC: "sagemaker:InvokeEndpointAsync",
}
# Condition keys, and the headers that they are about. [service reference]
CONDITION_KEYS = {
    "sagemaker:targetmodel": "x-amzn-sagemaker-target-model",
    "sagemaker:targetcontainerhostname": "x-amzn-sagemaker-target-container-hostname",
}


async def required_permissions(request: AwsRequest, region: str, body: bytes) -> list[RequiredPermission]:
    """Empty for a request that is not an operation, which is refused anyway."""
    name, operation = parts_of(request.raw_path)
    action = ACTIONS.get(operation)
    if action is None:
        return []
    values = {key: request.headers.get(header, "") for key, header in CONDITION_KEYS.items()}
    context = {key: (value,) for key, value in values.items() if value}
    return [RequiredPermission(action, sagemaker_arn(region, "endpoint", name), context)]
