"""The IAM permissions that an operation of the control plane requires. [service reference]"""

from __future__ import annotations

from typing import Any

from emulator.aws.arn import sagemaker_arn
from emulator.aws.json_document import parsed
from emulator.aws.permissions import Context, RequiredPermission
from emulator.aws.request import AwsRequest
from emulator.services.sagemaker import operation_of

# Members of a request, and the kind of resource that each names.
NAMED = {
    "EndpointName": "endpoint",
    "EndpointConfigName": "endpoint-config",
    "ModelName": "model",
    "InferenceComponentName": "inference-component",
    "TrainingJobName": "training-job",
    "TransformJobName": "transform-job",
}
RESOURCES = ("ResourceConfig", "TransformResources")  # members that name the instance type of a job
ROLES = ("ExecutionRoleArn", "RoleArn")  # members that name a role, which is passed to SageMaker


async def required_permissions(request: AwsRequest, region: str, body: bytes) -> list[RequiredPermission]:
    """The permissions for a request. Sets its ``content`` to the parsed body, which is what is executed.

    Raises SerializationException when the body is not JSON.
    """
    request.content = parsed(body)
    return permissions_of(operation_of(request.target), request.content, region)


def permissions_of(operation: str, document: Any, region: str) -> list[RequiredPermission]:
    """Every resource named in a request needs the permission; in a List operation, names are filters only.

    The model of a transform job is a condition key.
    """
    members = document if isinstance(document, dict) else {}
    context = _tags_and_types(members)
    named = {kind: sagemaker_arn(region, kind, name) for one, kind in NAMED.items() if (name := _text(members, one))}
    if "transform-job" in named and "model" in named:
        context["sagemaker:modelarn"] = (named.pop("model"),)
    arns = list(named.values())
    if operation.startswith("List"):
        arns = []
    tagged = _text(members, "ResourceArn")
    if tagged:
        arns.append(tagged)
    required = [RequiredPermission(f"sagemaker:{operation}", arn, context) for arn in arns or ["*"]]
    passed_to: Context = {"iam:passedtoservice": ("sagemaker.amazonaws.com",)}
    for role in filter(None, (_text(members, name) for name in ROLES)):
        required.append(RequiredPermission("iam:PassRole", role, passed_to))
    return required


def _text(members: dict[str, Any], name: str) -> str:
    value = members.get(name)
    return value if isinstance(value, str) else ""


def _tags_and_types(members: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    context: dict[str, tuple[str, ...]] = {}
    tags = [tag for tag in _list(members, "Tags") if isinstance(tag.get("Key"), str)]
    if tags:
        context["aws:tagkeys"] = tuple(tag["Key"] for tag in tags)
        context |= {f"aws:requesttag/{tag['Key'].lower()}": (str(tag.get("Value", "")),) for tag in tags}
    variants = [*_list(members, "ProductionVariants"), *_list(members, "ShadowProductionVariants")]
    resources = [one for name in RESOURCES if isinstance(one := members.get(name), dict)]
    types = tuple(str(one["InstanceType"]) for one in (*variants, *resources) if "InstanceType" in one)
    if types:
        context["sagemaker:instancetypes"] = types
    return context


def _list(members: dict[str, Any], name: str) -> list[dict[str, Any]]:
    value = members.get(name)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
