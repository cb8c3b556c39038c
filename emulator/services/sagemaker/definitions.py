"""Turns CreateModel and CreateEndpointConfig requests into definitions of what to host, or lists their problems.

The requests come from the API, from the endpoint file and from the options of ``serve``. All problems are collected, so
that the user sees them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from emulator.archives.model_data_url import ModelData
from emulator.aws.service_models import Place, not_among, value_summary
from emulator.containers.launch import Program, Stub
from emulator.errors import SetupError
from emulator.hosting.definition import (
    Caching,
    ContainerDefinition,
    MetricsEndpoint,
    ModelDefinition,
    VariantDefinition,
)
from emulator.hosting.instance_types import instance_types, resources_of, similar_instance_type, unfit_for_many_models
from emulator.hosting.storage_sizes import storage_bytes
from emulator.services.sagemaker.image import HANDLER, model_container
from emulator.services.sagemaker.local_settings import LocalInstances
from emulator.services.sagemaker.mapped_images import NO_MAPPED_IMAGES, MappedImages
from emulator.services.sagemaker.supported_members import ROUTING_STRATEGIES

PUBLISH_SECONDS = (10, 30, 60, 120, 180, 240, 300)  # [api] between two requests for a container's metrics
STARTUP_SECONDS = "ContainerStartupHealthCheckTimeoutInSeconds"
ENVIRONMENT_BYTES = 32 * 1024  # [api] the sum over all containers of a model

# (url, multi_model) -> the model data that a ModelDataUrl names. Raises SetupError.
Locate = Callable[[str, bool], ModelData]


class RequestReader:
    """Reads requests, checked against botocore's model of the API, and collects their ``problems``."""

    def __init__(
        self, directory: Path, locate: Locate, reload: bool = False, mapped_images: MappedImages = NO_MAPPED_IMAGES
    ) -> None:
        """Paths in Image are relative to ``directory``; ``reload`` is that of ``Caching``."""
        self.problems: list[tuple[Place, str]] = []
        self._directory = directory
        self._locate = locate
        self._reload = reload
        self.mapped_images = mapped_images

    def report(self, place: Place, message: str) -> None:
        """Add a problem. ``message`` is the rest of a sentence whose subject is ``place``."""
        self.problems.append((place, message))

    def is_faulty(self, place: Place) -> bool:
        """Whether a problem was reported at ``place`` or below it."""
        return any(where[: len(place)] == place for where, _ in self.problems)

    # Models

    def model(self, place: Place, request: Mapping[str, Any]) -> ModelDefinition | None:
        """The definition of the model that a CreateModel request creates; None if problems were reported."""
        if ("PrimaryContainer" in request) == ("Containers" in request):
            takes, end = ("takes", ", not both") if "Containers" in request else ("needs", "")
            self.report(place, f"{takes} PrimaryContainer or Containers{end}")
        read = [self._container((*place, *where), container) for where, container in containers(request)]
        definitions = [container for container in read if container is not None]
        environments = [container.environment for container in definitions]
        if sum(len((name + value).encode()) for one in environments for name, value in one.items()) > ENVIRONMENT_BYTES:
            self.report(place, f"has more than {ENVIRONMENT_BYTES} bytes of Environment, all containers together")
        if self.is_faulty(place):
            return None
        try:
            return ModelDefinition(
                definitions,
                direct=request.get("InferenceExecutionConfig", {}).get("Mode") == "Direct",
                name=request.get("ModelName", ""),
                role_arn=request.get("ExecutionRoleArn", ""),
                isolated=request.get("EnableNetworkIsolation", False),
            )
        except SetupError as error:
            self.report(place, str(error))
            return None

    def _container(self, place: Place, container: Mapping[str, Any]) -> ContainerDefinition | None:
        multi_model = container.get("Mode") == "MultiModel"
        runs = self._runs((*place, "Image"), container)
        source = member(member(container, "ModelDataSource", dict), "S3DataSource", dict)
        model_data: ModelData | None = None
        if isinstance(runs, Stub):
            pass  # it has answers, and no models
        elif "ModelDataSource" in container:
            model_data = self._model_data_source((*place, "ModelDataSource"), container, source, multi_model)
        else:
            model_data = self._model_data((*place, "ModelDataUrl"), container, multi_model)
        has_data = "ModelDataUrl" in container or "ModelDataSource" in container
        if container.get("Image") == HANDLER and not multi_model and not has_data:
            self.report((*place, "Image"), "needs an archive that carries the handler: give ModelDataUrl")
        for position, endpoint in enumerate(container.get("ContainerMetricsConfig", {}).get("MetricsEndpoints", ())):
            seconds = endpoint.get("MetricPublishFrequencyInSeconds", 60)
            if seconds not in PUBLISH_SECONDS:
                here = ("ContainerMetricsConfig", "MetricsEndpoints", position, "MetricPublishFrequencyInSeconds")
                self.report((*place, *here), f"must be one of {', '.join(map(str, PUBLISH_SECONDS))}, not {seconds}")
        if "MultiModelConfig" in container and not multi_model:
            self.report((*place, "MultiModelConfig"), "needs Mode: MultiModel")
        if self.is_faulty(place) or runs is None:
            return None
        environment = dict(container.get("Environment", {}))
        return ContainerDefinition(
            runs,
            model_data,
            multi_model,
            container.get("ContainerHostname", ""),
            environment,
            Caching(container.get("MultiModelConfig", {}).get("ModelCacheSetting") != "Disabled", self._reload),
            metrics=metrics_endpoint(container),
            compressed=source is None or source.get("CompressionType") != "None",
        )

    def _runs(self, place: Place, container: Mapping[str, Any]) -> Program | None:
        if "Image" not in container and "ModelPackageName" not in container:
            self.report(place, "is missing: give a Docker image, handler:FILE or command:WORDS")
        image = member(container, "Image", str)
        if image is None:
            return None
        try:
            return self.mapped_images.runs(image) or model_container(image, self._directory)
        except SetupError as error:
            self.report(place, str(error))
            return None

    def _model_data(self, place: Place, container: Mapping[str, Any], multi_model: bool) -> ModelData | None:
        if "ModelDataUrl" not in container and multi_model:
            self.report(place, f"is missing: Mode MultiModel needs {expected_model_data(multi_model)}")
        url = member(container, "ModelDataUrl", str)
        if url is None:
            return None
        try:
            return self._locate(url, multi_model)
        except SetupError as error:
            self.report(place, str(error))
            return None

    def _model_data_source(
        self, place: Place, container: Mapping[str, Any], source: Any, multi_model: bool
    ) -> ModelData | None:
        """The model data of an S3DataSource; reports members that contradict each other. [api]"""
        if multi_model:
            self.report(place, "cannot be used with Mode MultiModel: give the archives' prefix as ModelDataUrl")
        if "ModelDataUrl" in container:
            self.report(place, "and ModelDataUrl exclude each other: each says where the model data is")
        url = member(source, "S3Uri", str)
        if self.is_faulty(place) or url is None:
            return None
        prefix = source.get("S3DataType") == "S3Prefix"
        here = (*place, "S3DataSource", "S3Uri")
        if prefix and source.get("CompressionType") != "None":
            self.report(here, "is a prefix, whose objects cannot be an archive: CompressionType has to be None")
        elif prefix != url.endswith("/"):
            self.report(here, "must end with a slash" if prefix else "names an object, which has no slash at its end")
        else:
            try:
                return self._locate(url, prefix)
            except SetupError as error:
                self.report(here, str(error))
        return None


def variant_problems(place: Place, variant: Mapping[str, Any], many_models: bool) -> Iterator[tuple[Place, str]]:
    """The problems of a production variant. ``many_models``: its model has a multi-model container."""
    if "ModelName" not in variant:
        yield (*place, "ModelName"), "is missing: variants for inference components are not emulated"
    instance_type = member(variant, "InstanceType", str)
    if instance_type is not None and instance_type not in instance_types():
        advice = similar_instance_type(instance_type)
        yield (*place, "InstanceType"), f"there is no {value_summary(instance_type)}" + appended(advice)
    elif many_models and (problem := unfit_for_many_models(instance_type or "")):
        yield (*place, "InstanceType"), problem
    routing = member(member(variant, "RoutingConfig", dict), "RoutingStrategy", str)
    if routing is not None and routing not in ROUTING_STRATEGIES:
        message = f"{not_among(routing, ROUTING_STRATEGIES)}: others are not emulated"
        yield (*place, "RoutingConfig", "RoutingStrategy"), message


def variant_definition(
    variant: Mapping[str, Any], model: ModelDefinition, local: LocalInstances, detailed_observability: bool = True
) -> VariantDefinition:
    """The definition of a checked variant. Raises SetupError for an instance type that is no longer known."""
    instance_type, startup_seconds = variant.get("InstanceType"), variant.get(STARTUP_SECONDS)
    storage = storage_bytes(instance_type, model.multi_model is not None, variant.get("VolumeSizeInGB"))
    return VariantDefinition(
        model,
        local.override(resources_of(instance_type, storage)),
        variant["VariantName"],
        variant.get("InitialInstanceCount", 1),
        float(variant.get("InitialVariantWeight", 1.0)),
        variant.get("RoutingConfig", {}).get("RoutingStrategy") == "LEAST_OUTSTANDING_REQUESTS",
        None if startup_seconds is None else float(startup_seconds),
        instance_type or "",
        detailed_observability,
    )


def containers(model: Mapping[str, Any]) -> list[tuple[Place, Mapping[str, Any]]]:
    """The containers of a CreateModel request, each with its place in the request."""
    primary, several = member(model, "PrimaryContainer", dict), member(model, "Containers", list) or ()
    found: list[tuple[Place, Any]] = [(("PrimaryContainer",), primary)] if primary is not None else []
    found += [(("Containers", position), container) for position, container in enumerate(several)]
    return [(place, container) for place, container in found if isinstance(container, dict)]


def with_containers(
    model: Mapping[str, Any], change: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> dict[str, Any]:
    """A CreateModel request with each of its containers changed."""
    changed = dict(model)
    if "PrimaryContainer" in model:
        changed["PrimaryContainer"] = change(model["PrimaryContainer"])
    if "Containers" in model:
        changed["Containers"] = [change(container) for container in model["Containers"]]
    return changed


def has_many_models(model: Mapping[str, Any]) -> bool:
    """Whether a CreateModel request has a multi-model container."""
    return any(container.get("Mode") == "MultiModel" for _, container in containers(model))


def metrics_endpoint(container: Mapping[str, Any]) -> MetricsEndpoint | None:
    """The endpoint that a ContainerMetricsConfig names, with the API's defaults; None without one. [api]"""
    config = member(container, "ContainerMetricsConfig", dict)
    if config is None:
        return None
    first = (config.get("MetricsEndpoints") or [{}])[0]
    return MetricsEndpoint(
        first.get("MetricsEndpointPath", "/metrics"), first.get("MetricPublishFrequencyInSeconds", 60)
    )


def expected_model_data(multi_model: bool) -> str:
    """What a ModelDataUrl has to name, in words."""
    return "a directory of model archives (.tar.gz)" if multi_model else "one model archive (.tar.gz)"


def member(structure: Any, name: str, kind: type) -> Any:
    """A member of a structure; None if it is missing or of another type, which has been reported."""
    value = structure.get(name) if isinstance(structure, Mapping) else None
    return value if isinstance(value, kind) else None


def appended(advice: str) -> str:
    """Advice as the end of a message; empty if there is no advice."""
    return advice and f": {advice}"
