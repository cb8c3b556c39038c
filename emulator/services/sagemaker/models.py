"""CreateModel, DescribeModel, ListModels, DeleteModel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emulator.aws.service_models import shape
from emulator.hosting.definition import ModelDefinition
from emulator.services.sagemaker.control_plane import ControlPlane, told
from emulator.services.sagemaker.definitions import Arguments, after, written
from emulator.services.sagemaker.errors import ControlPlaneError, no_local_code
from emulator.services.sagemaker.listing import page
from emulator.services.sagemaker.records import ModelRecord
from emulator.services.sagemaker.supported_members import not_emulated


async def create(plane: ControlPlane, asked: dict[str, Any]) -> dict[str, Any]:
    asked = {"EnableNetworkIsolation": False, **asked}
    name = asked["ModelName"]
    plane.refuse_existing(ModelRecord, name)
    record = ModelRecord(name, asked, directory=str(plane.directory))
    definition(plane, record)
    await plane.create(record)
    return {"ModelArn": plane.arn_of(record)}


async def describe(plane: ControlPlane, asked: dict[str, Any]) -> dict[str, Any]:
    record = plane.get(ModelRecord, asked["ModelName"])
    return {
        **told(record.arguments, "DescribeModelOutput"),
        "ModelArn": plane.arn_of(record),
        "CreationTime": record.created,
    }


async def list_(plane: ControlPlane, asked: dict[str, Any]) -> dict[str, Any]:
    records, more = page(plane.registry.all(ModelRecord), asked)
    models = [
        {"ModelName": record.name, "ModelArn": plane.arn_of(record), "CreationTime": record.created}
        for record in records
    ]
    return {"Models": models, **more}


async def delete(plane: ControlPlane, asked: dict[str, Any]) -> dict[str, Any]:
    await plane.delete(ModelRecord, asked["ModelName"])
    return {}


def definition(plane: ControlPlane, record: ModelRecord) -> ModelDefinition:
    """What a model's record describes. Raises ControlPlaneError, with all that is wrong."""
    refuse_not_emulated("CreateModelInput", record.arguments)
    if not plane.local_code and not record.from_start:
        raise no_local_code()
    arguments = Arguments(Path(record.directory), plane.locate)
    model = arguments.model((), record.arguments)
    if model is None:
        raise wrong(arguments)
    return model


def refuse_not_emulated(of: str, asked: dict[str, Any]) -> None:
    """Raises ControlPlaneError for members that would make a difference, but are not emulated."""
    refused = [
        f"{written(place)} is not emulated by localmme{after(advice)}"
        for place, advice in not_emulated(shape(of), asked, ())
    ]
    if refused:
        raise ControlPlaneError("; ".join(refused))


def wrong(arguments: Arguments) -> ControlPlaneError:
    """What is wrong with what was asked, as one error."""
    return ControlPlaneError(
        "; ".join(" ".join((written(place), message)).strip() for place, message in arguments.problems)
    )
