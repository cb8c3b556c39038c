"""CreateEndpointConfig, DescribeEndpointConfig, ListEndpointConfigs, DeleteEndpointConfig."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from emulator.hosting.definition import ModelDefinition, VariantDefinition
from emulator.services.sagemaker.control_plane import ControlPlane, told
from emulator.services.sagemaker.definitions import Arguments
from emulator.services.sagemaker.errors import (
    not_with_multi_model,
    not_with_several_containers,
    variant_repeated,
)
from emulator.services.sagemaker.listing import page
from emulator.services.sagemaker.models import definition, refuse_not_emulated, wrong
from emulator.services.sagemaker.records import EndpointConfigRecord, ModelRecord

# [dg] Each names the members of a configuration and of its variants that an endpoint with a multi-model container
# cannot have. Elastic Inference is no longer offered by SageMaker at all.
NOT_WITH_MULTI_MODEL = ("AsyncInferenceConfig", "ShadowProductionVariants", "ServerlessConfig", "AcceleratorType")


async def create(plane: ControlPlane, asked: dict[str, Any]) -> dict[str, Any]:
    asked = {"EnableNetworkIsolation": False, **asked}
    name = asked["EndpointConfigName"]
    plane.refuse_existing(EndpointConfigRecord, name)
    variants(plane, asked, used_models(plane, asked))
    record = await plane.create(EndpointConfigRecord(name, asked))
    return {"EndpointConfigArn": plane.arn_of(record)}


async def describe(plane: ControlPlane, asked: dict[str, Any]) -> dict[str, Any]:
    record = plane.get(EndpointConfigRecord, asked["EndpointConfigName"])
    return {
        **told(record.arguments, "DescribeEndpointConfigOutput"),
        "EndpointConfigArn": plane.arn_of(record),
        "CreationTime": record.created,
    }


async def list_(plane: ControlPlane, asked: dict[str, Any]) -> dict[str, Any]:
    records, more = page(plane.registry.all(EndpointConfigRecord), asked)
    configs = [
        {
            "EndpointConfigName": record.name,
            "EndpointConfigArn": plane.arn_of(record),
            "CreationTime": record.created,
        }
        for record in records
    ]
    return {"EndpointConfigs": configs, **more}


async def delete(plane: ControlPlane, asked: dict[str, Any]) -> dict[str, Any]:
    await plane.delete(EndpointConfigRecord, asked["EndpointConfigName"])
    return {}


def used_models(plane: ControlPlane, config: dict[str, Any]) -> dict[str, ModelRecord]:
    """The models that a configuration's variants name. Raises ControlPlaneError when one of them is not there."""
    names = [variant["ModelName"] for variant in config["ProductionVariants"] if "ModelName" in variant]
    return {name: plane.get(ModelRecord, name) for name in names}


def variants(plane: ControlPlane, config: dict[str, Any], models: Mapping[str, ModelRecord]) -> list[VariantDefinition]:
    """What a configuration describes, with these models. Raises ControlPlaneError, with all that is wrong."""
    definitions = {name: definition(plane, model) for name, model in models.items()}
    _refuse_impossible(config, definitions)
    refuse_not_emulated("CreateEndpointConfigInput", config)
    arguments = Arguments(plane.directory, plane.locate)
    asked = config["ProductionVariants"]
    names = [variant["VariantName"] for variant in asked]
    for name in names:
        if names.count(name) > 1:
            raise variant_repeated(name)
    found = [
        arguments.variant(("ProductionVariants", position), variant, definitions)
        for position, variant in enumerate(asked)
    ]
    detailed = config.get("MetricsConfig", {}).get("EnableDetailedObservability", True)
    complete = [replace(variant, detailed_observability=detailed) for variant in found if variant is not None]
    if len(complete) < len(found):
        raise wrong(arguments)
    return complete


def _refuse_impossible(config: dict[str, Any], models: dict[str, ModelDefinition]) -> None:
    """Raises ControlPlaneError for what SageMaker refuses too."""
    for variant in config["ProductionVariants"]:
        model = models.get(variant.get("ModelName", ""))
        if model is None:
            continue
        for member in NOT_WITH_MULTI_MODEL:
            if model.multi_model and (member in config or member in variant):
                raise not_with_multi_model(member)
        if len(model.containers) > 1 and "ServerlessConfig" in variant:
            raise not_with_several_containers("ServerlessConfig")
