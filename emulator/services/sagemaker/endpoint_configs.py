"""CreateEndpointConfig, DescribeEndpointConfig, ListEndpointConfigs, DeleteEndpointConfig."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emulator.services.sagemaker import data_capture
from emulator.services.sagemaker.control_plane import ControlPlane, repeated
from emulator.services.sagemaker.definitions import containers, has_many_models, variant_problems
from emulator.services.sagemaker.errors import (
    not_with_multi_model,
    not_with_several_containers,
    variant_repeated,
)
from emulator.services.sagemaker.listing import page
from emulator.services.sagemaker.models import invalid, refuse_not_emulated
from emulator.services.sagemaker.records import EndpointConfigRecord, ModelRecord

NO_S3 = "needs a directory that stands for S3: start with --s3 DIRECTORY, or set EnableCapture to false"
# [dg] Members of a configuration or of its variants that cannot be used with a multi-model container.
# AcceleratorType is Elastic Inference, which SageMaker no longer offers at all.
NOT_WITH_MULTI_MODEL = ("AsyncInferenceConfig", "ShadowProductionVariants", "ServerlessConfig", "AcceleratorType")


async def create(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    name = request["EndpointConfigName"]
    control_plane.refuse_existing(EndpointConfigRecord, name)
    models = {name: model.arguments for name, model in used_models(control_plane, request).items()}
    check(request, models, control_plane.s3_root)
    record = await control_plane.create(EndpointConfigRecord(name, with_defaults(request)))
    return {"EndpointConfigArn": control_plane.arn_of(record)}


async def describe(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    record = control_plane.get(EndpointConfigRecord, request["EndpointConfigName"])
    return {
        **repeated(record.arguments, "DescribeEndpointConfigOutput"),
        "EndpointConfigArn": control_plane.arn_of(record),
        "CreationTime": record.created,
    }


async def list_(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    records, more = page(control_plane.registry.all(EndpointConfigRecord), request)
    configs = [
        {
            "EndpointConfigName": record.name,
            "EndpointConfigArn": control_plane.arn_of(record),
            "CreationTime": record.created,
        }
        for record in records
    ]
    return {"EndpointConfigs": configs, **more}


async def delete(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    await control_plane.delete(EndpointConfigRecord, request["EndpointConfigName"])
    return {}


def with_defaults(request: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as DescribeEndpointConfig shows them: with the defaults of omitted members. [api]"""
    return {"EnableNetworkIsolation": False, **request}


def used_models(control_plane: ControlPlane, config: Mapping[str, Any]) -> dict[str, ModelRecord]:
    """The models that a configuration's variants name. Raises AwsError when one of them does not exist."""
    names = [variant["ModelName"] for variant in config["ProductionVariants"] if "ModelName" in variant]
    return {name: control_plane.get(ModelRecord, name) for name in names}


def check(config: dict[str, Any], models: Mapping[str, Mapping[str, Any]], s3_root: Path | None) -> None:
    """Raises AwsError with all problems. ``models`` are the CreateModel requests of the models it names.

    ``s3_root`` is the directory that stands for S3, without which invocations cannot be captured.
    """
    _refuse_impossible(config, models)
    refuse_not_emulated("CreateEndpointConfigInput", config)
    variants = config["ProductionVariants"]
    names = [variant["VariantName"] for variant in variants]
    for name in names:
        if names.count(name) > 1:
            raise variant_repeated(name)
    problems = list(data_capture.problems((), config, s3_root))
    if data_capture.is_enabled(config) and s3_root is None:
        problems.append(((data_capture.CONFIG,), NO_S3))
    for position, variant in enumerate(variants):
        many_models = has_many_models(models.get(variant.get("ModelName", ""), {}))
        problems += variant_problems(("ProductionVariants", position), variant, many_models)
    if problems:
        raise invalid(problems)


def _refuse_impossible(config: Mapping[str, Any], models: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises AwsError for combinations that SageMaker refuses too."""
    for variant in config["ProductionVariants"]:
        model = models.get(variant.get("ModelName", ""), {})
        for member in NOT_WITH_MULTI_MODEL:
            if has_many_models(model) and (member in config or member in variant):
                raise not_with_multi_model(member)
        if len(containers(model)) > 1 and "ServerlessConfig" in variant:
            raise not_with_several_containers("ServerlessConfig")
