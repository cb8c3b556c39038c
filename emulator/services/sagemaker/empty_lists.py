"""Operations on resources that cannot be created here: lists are empty, and a named resource is not found.

SDKs and notebooks call them around hosting: Predictors of the SageMaker SDK list an endpoint's monitoring schedules and
its lineage before they delete it. Answers are those of an account that has no such resources. Which operations these
are follows from the API's model: all that list, describe, stop or delete something, and are not emulated.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from emulator.aws.errors import AwsError
from emulator.aws.service_models import operation_model, operation_names
from emulator.services.sagemaker.control_plane import ControlPlane
from emulator.services.sagemaker.errors import named_job_not_found, not_emulated, resource_not_found, validation_error

if TYPE_CHECKING:
    from botocore.model import OperationModel

Operation = Callable[[ControlPlane, dict[str, Any]], Awaitable[dict[str, Any]]]
# What an operation begins with that needs a resource to be there.
ON_A_RESOURCE = ("Describe", "Delete", "Stop", "List")
# Members that name what can be created here: an operation on it would have to do something.
CREATED_HERE = {"EndpointName", "EndpointArn", "EndpointConfigName", "ModelName", "TrainingJobName", "TransformJobName"}
SEARCHED_HERE = {"Endpoint", "Model", "TrainingJob"}
# On AWS, every account has these: SageMaker's own models.
NEVER_EMPTY = "Hub"


@functools.cache
def operation(name: str) -> Operation | None:
    """The operation of that name; None unless it is one on resources that cannot be created here."""
    if name == "Search":
        return _search
    if not name.startswith(ON_A_RESOURCE) or NEVER_EMPTY in name or name not in operation_names():
        return None
    model = operation_model(name)
    needed = _needed(model)
    if CREATED_HERE & {*needed}:
        return None
    if name.startswith("List") and not needed:
        return functools.partial(_empty, _listed(model))
    return functools.partial(_not_found, model, needed)


async def _search(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    if request["Resource"] in SEARCHED_HERE:
        raise not_emulated(f"Search for {request['Resource']}")
    return {"Results": []}


async def _empty(member: str, control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    return {member: []}


async def _not_found(
    model: OperationModel, needed: list[str], control_plane: ControlPlane, request: dict[str, Any]
) -> dict[str, Any]:
    given = [request[member] for member in needed] + [value for value in request.values() if isinstance(value, str)]
    raise _error(model, given[0] if given else "")


def _error(model: OperationModel, name: str) -> AwsError:
    if model.name.removesuffix("V2").endswith("Job"):
        return named_job_not_found(name)
    if any(error.name == "ResourceNotFound" for error in model.error_shapes):
        return resource_not_found(name)
    return validation_error(f'Could not find "{name}".')  # [ours] The words.


def _needed(model: OperationModel) -> list[str]:
    """The members that name a resource: those that are required, and are texts of the caller's own."""
    members: Mapping[str, Any] = model.input_shape.members
    return [
        name
        for name in model.input_shape.required_members
        if members[name].type_name == "string" and not members[name].enum
    ]


def _listed(model: OperationModel) -> str:
    """The member of the answer that is the list."""
    (member,) = [name for name, member in model.output_shape.members.items() if member.type_name == "list"]
    return str(member)
