"""CreateModel, DescribeModel, ListModels, DeleteModel."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emulator.archives.model_data_url import ModelData
from emulator.aws.errors import AwsError
from emulator.aws.service_models import Place, dotted_path, shape
from emulator.hosting.definition import ModelDefinition
from emulator.services.sagemaker.control_plane import ControlPlane, repeated
from emulator.services.sagemaker.definitions import RequestReader, appended, containers
from emulator.services.sagemaker.errors import no_local_code, validation_error
from emulator.services.sagemaker.listing import page
from emulator.services.sagemaker.model_data_location import path_of
from emulator.services.sagemaker.records import ModelRecord
from emulator.services.sagemaker.supported_members import unsupported_members


async def create(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    name = request["ModelName"]
    control_plane.refuse_existing(ModelRecord, name)
    record = ModelRecord(name, with_defaults(request), directory=str(control_plane.directory))
    await asyncio.to_thread(definition, control_plane, record)  # raises when it has problems
    await control_plane.create(record)
    return {"ModelArn": control_plane.arn_of(record)}


async def describe(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    record = control_plane.get(ModelRecord, request["ModelName"])
    return {
        **repeated(record.arguments, "DescribeModelOutput"),
        "ModelArn": control_plane.arn_of(record),
        "CreationTime": record.created,
    }


async def list_(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    records, more = page(control_plane.registry.all(ModelRecord), request)
    models = [
        {"ModelName": record.name, "ModelArn": control_plane.arn_of(record), "CreationTime": record.created}
        for record in records
    ]
    return {"Models": models, **more}


async def delete(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    await control_plane.delete(ModelRecord, request["ModelName"])
    return {}


def definition(control_plane: ControlPlane, record: ModelRecord) -> ModelDefinition:
    """The definition of a stored model. Looks for its files, and so blocks. Raises AwsError with all problems."""
    refuse_not_emulated("CreateModelInput", record.arguments)
    if not control_plane.local_code and not record.from_start:
        raise no_local_code()
    local = record.local

    def locate(url: str, multi_model: bool) -> ModelData:
        if url in local.model_data:
            return local.model_data[url]
        path = path_of(url) if record.from_start else None
        return control_plane.locate(url, multi_model) if path is None else path

    reader = RequestReader(Path(record.directory), locate, local.reload, control_plane.mapped_images)
    model = reader.model((), record.arguments)
    if model is None:
        raise invalid(reader.problems)
    for _, container in containers(record.arguments):
        control_plane.mapped_images.report(container.get("Image", ""))
    return model


def with_defaults(request: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as DescribeModel shows them: with the defaults of omitted members. [api]"""
    return {"EnableNetworkIsolation": False, **request}


def refuse_not_emulated(shape_name: str, request: dict[str, Any]) -> None:
    """Raises AwsError for members that are not emulated, and would make a difference."""
    refused = [
        f"{dotted_path(place)} is not emulated by localmme{appended(advice)}"
        for place, advice in unsupported_members(shape(shape_name), request, ())
    ]
    if refused:
        raise validation_error("; ".join(refused))


def invalid(problems: Sequence[tuple[Place, str]]) -> AwsError:
    """All problems of a request, as one error."""
    return validation_error("; ".join(f"{dotted_path(place)} {message}".strip() for place, message in problems))
