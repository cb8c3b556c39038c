"""The endpoints that ``serve`` was started with, as if they had been created through the API. They are not stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emulator.archives.model_data_url import ModelData
from emulator.archives.source_selection import is_prefix
from emulator.aws.arn import iam_arn
from emulator.hosting.definition import ContainerDefinition, EndpointDefinition, Image, ModelDefinition
from emulator.services.sagemaker.records import (
    Deployment,
    Deployments,
    EndpointConfigRecord,
    EndpointRecord,
    ModelRecord,
)
from emulator.services.sagemaker.registry import Registry

ROLE = "localmme"  # [ours] where none was given


def register(definition: EndpointDefinition, registry: Registry, s3_root: Path | None) -> None:
    """Add an endpoint, its configuration and its models to what the API tells. Blocks."""
    directory = str(Path.cwd())
    models = {
        name: ModelRecord(name, arguments, stored=False, directory=directory, from_start=True)
        for name, arguments in (
            (variant.model.name, _model(variant.model, s3_root, definition.region)) for variant in definition.variants
        )
    }
    variants = [
        {
            "VariantName": variant.name,
            "ModelName": variant.model.name,
            "InitialInstanceCount": variant.instance_count,
            "InitialVariantWeight": variant.weight,
            **({"InstanceType": variant.instance_type} if variant.instance_type else {}),
        }
        for variant in definition.variants
    ]
    config_name = definition.config_name
    config = {"EndpointConfigName": config_name, "ProductionVariants": variants}
    for model in models.values():
        registry.put(model)
    registry.put(EndpointConfigRecord(config_name, config, stored=False))
    arguments = {"EndpointName": definition.name, "EndpointConfigName": config_name}
    deployments = Deployments(Deployment(config_name, config, models))
    registry.put(EndpointRecord(definition.name, arguments, stored=False, deployments=deployments))


def _model(model: ModelDefinition, s3_root: Path | None, region: str) -> dict[str, Any]:
    containers = [_container(container, s3_root) for container in model.containers]
    role = iam_arn(region, "role", ROLE)
    asked: dict[str, Any] = {"ModelName": model.name, "ExecutionRoleArn": role, "EnableNetworkIsolation": False}
    if model.direct:
        asked["InferenceExecutionConfig"] = {"Mode": "Direct"}
    if len(containers) == 1:
        return {**asked, "PrimaryContainer": containers[0]}
    return {**asked, "Containers": containers}


def _container(container: ContainerDefinition, s3_root: Path | None) -> dict[str, Any]:
    runs = container.runs
    asked: dict[str, Any] = {
        "Image": runs.reference if isinstance(runs, Image) else runs.image,
        "Mode": "MultiModel" if container.multi_model else "SingleModel",
    }
    if container.environment:
        asked["Environment"] = dict(container.environment)
    if container.hostname:
        asked["ContainerHostname"] = container.hostname
    if container.model_data is not None and not container.compressed:
        s3_uri = str(container.model_data)
        data_type = "S3Prefix" if is_prefix(container.model_data) else "S3Object"
        source = {"S3Uri": s3_uri, "S3DataType": data_type, "CompressionType": "None"}
        asked["ModelDataSource"] = {"S3DataSource": source}
    elif container.model_data is not None:
        url = _url(container.model_data, s3_root)
        is_directory = container.multi_model and isinstance(container.model_data, Path)
        asked["ModelDataUrl"] = url + "/" if is_directory else url
    if container.multi_model:
        asked["MultiModelConfig"] = {"ModelCacheSetting": "Enabled" if container.caching.enabled else "Disabled"}
    return asked


def _url(path: ModelData, s3_root: Path | None) -> str:
    """In S3 if it is in a bucket there; otherwise a file's."""
    if not isinstance(path, Path):
        return str(path)
    if s3_root is not None and path != s3_root and path.is_relative_to(s3_root):
        return f"s3://{path.relative_to(s3_root).as_posix()}"
    return path.as_uri()
