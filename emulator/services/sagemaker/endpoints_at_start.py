"""Executes the requests that create the endpoints which ``serve`` starts with. Their records are not stored."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emulator.archives.model_data_url import ModelData, UnpackedModels, parse_s3_url
from emulator.aws.arn import iam_arn
from emulator.errors import SetupError
from emulator.hosting.definition import EndpointDefinition
from emulator.hosting.execution_roles import DEFAULT_ROLE
from emulator.services.sagemaker import endpoint_configs, endpoints, models
from emulator.services.sagemaker.control_plane import ControlPlane
from emulator.services.sagemaker.definitions import with_containers
from emulator.services.sagemaker.local_settings import LocalModel
from emulator.services.sagemaker.model_data_location import path_of, url_of
from emulator.services.sagemaker.records import Deployments, EndpointConfigRecord, EndpointRecord, ModelRecord
from emulator.services.sagemaker.start_requests import StartRequests


async def create(
    control_plane: ControlPlane, requests: StartRequests, s3_root: Path | None, state_directory: Path
) -> list[tuple[EndpointDefinition, str]]:
    """The definitions of the endpoints to host, each with the reason why it cannot be hosted, or an empty string.

    A model or a configuration hides a stored one of the same name. Raises SetupError when an endpoint of the same name
    is stored.
    """
    for request in requests.endpoints:
        if control_plane.registry.get(EndpointRecord, name := request["EndpointName"]) is not None:
            raise SetupError(
                f"An endpoint {name} was created through the API, and {state_directory} keeps it. Take another "
                "--endpoint-name, or delete that endpoint first: start with --no-endpoint for it."
            )
    for request in requests.models:
        await control_plane.create(
            _model(request, requests, s3_root, iam_arn(control_plane.region, "role", DEFAULT_ROLE))
        )
    for request in requests.endpoint_configs:
        arguments = endpoint_configs.with_defaults(request)
        config = EndpointConfigRecord(
            request["EndpointConfigName"], arguments, instances=requests.instances, stored=False
        )
        await control_plane.create(config)
    definitions = []
    for request in requests.endpoints:
        deployments = Deployments(endpoints.deployment(control_plane, request["EndpointConfigName"]))
        record = EndpointRecord(request["EndpointName"], dict(request), deployments=deployments, stored=False)
        definitions.append(await endpoints.definition_of(control_plane, await control_plane.create(record)))
    return definitions


def _model(request: Mapping[str, Any], requests: StartRequests, s3_root: Path | None, role: str) -> ModelRecord:
    """A model's record. A ``file`` URL below the directory that stands for S3 becomes the ``s3`` URL of that object."""
    model_data: dict[str, ModelData] = {}

    def with_s3_url(container: Mapping[str, Any]) -> Mapping[str, Any]:
        if "ModelDataUrl" in container:
            url = container["ModelDataUrl"]
            path = path_of(url)
            if path is None:
                model_data[url] = parse_s3_url(url)
            else:
                url = url_of(path, s3_root, is_directory=url.endswith("/"))
                model_data[url] = UnpackedModels(path) if requests.unpacked else path
            return {**container, "ModelDataUrl": url}
        for source in container.get("ModelDataSource", {}).values():
            model_data[source["S3Uri"]] = parse_s3_url(source["S3Uri"])
        return container

    return ModelRecord(
        request["ModelName"],
        models.with_defaults({"ExecutionRoleArn": role, **with_containers(request, with_s3_url)}),
        directory=str(requests.directory),
        from_start=True,
        local=LocalModel(model_data, requests.reload),
        stored=False,
    )
