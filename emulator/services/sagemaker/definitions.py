"""From the arguments of create_model and create_endpoint_config to definitions of what to host.

The API and the endpoint file say the same things in the same words, and are read here alike. All problems are
gathered, so that their user sees them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from emulator.archives.model_data_url import ModelData
from emulator.aws.service_models import Place, described, not_among
from emulator.errors import SetupError
from emulator.hosting.definition import (
    Caching,
    Command,
    ContainerDefinition,
    Image,
    MetricsEndpoint,
    ModelDefinition,
    VariantDefinition,
)
from emulator.hosting.instance_types import instance_types, resources_of, similar_instance_type, unfit_for_many_models
from emulator.hosting.storage_sizes import storage_bytes
from emulator.services.sagemaker.image import HANDLER, runnable
from emulator.services.sagemaker.supported_members import ROUTING_STRATEGIES

PUBLISH_SECONDS = (10, 30, 60, 120, 180, 240, 300)  # [api] between two looks at a container's metrics
ENVIRONMENT_BYTES = 32 * 1024  # [api] of all containers of a model together

# The model data that a ModelDataUrl names; for Mode MultiModel if the flag is set. Raises SetupError.
Locate = Callable[[str, bool], ModelData]


class Arguments:
    """Reads what has been checked against the API's own model before; ``problems`` are those found there and here."""

    def __init__(self, directory: Path, locate: Locate) -> None:
        """Paths in Image are relative to ``directory``."""
        self.problems: list[tuple[Place, str]] = []
        self._directory = directory
        self._locate = locate

    def report(self, place: Place, message: str) -> None:
        """Something is wrong there; the message goes on where the place ends."""
        self.problems.append((place, message))

    def is_faulty(self, place: Place) -> bool:
        """Whether something is wrong there or below."""
        return any(where[: len(place)] == place for where, _ in self.problems)

    # Models

    def model(self, place: Place, asked: Mapping[str, Any]) -> ModelDefinition | None:
        """None if there is something wrong with it, here and below: it has been reported then."""
        if ("PrimaryContainer" in asked) == ("Containers" in asked):
            there = "not both" if "Containers" in asked else "and has none"
            self.report(place, f"takes PrimaryContainer or Containers, {there}")
        primary, several = member(asked, "PrimaryContainer", dict), member(asked, "Containers", list)
        containers = [self._container((*place, "PrimaryContainer"), primary)] if primary is not None else []
        for position, container in enumerate(several or ()):
            if isinstance(container, dict):
                containers.append(self._container((*place, "Containers", position), container))
        environments = [container.environment for container in containers if container is not None]
        if sum(len((name + value).encode()) for one in environments for name, value in one.items()) > ENVIRONMENT_BYTES:
            self.report(place, f"has more than {ENVIRONMENT_BYTES} bytes of Environment, all containers together")
        if self.is_faulty(place):
            return None
        try:
            return ModelDefinition(
                [container for container in containers if container is not None],
                direct=asked.get("InferenceExecutionConfig", {}).get("Mode") == "Direct",
                name=asked.get("ModelName", ""),
            )
        except SetupError as error:
            self.report(place, str(error))
            return None

    def _container(self, place: Place, asked: Mapping[str, Any]) -> ContainerDefinition | None:
        multi_model = asked.get("Mode") == "MultiModel"
        runs = self._runs((*place, "Image"), asked)
        source = member(member(asked, "ModelDataSource", dict), "S3DataSource", dict)
        if "ModelDataSource" in asked:
            model_data = self._model_data_source((*place, "ModelDataSource"), asked, source, multi_model)
        else:
            model_data = self._model_data((*place, "ModelDataUrl"), asked, multi_model)
        if asked.get("Image") == HANDLER and not multi_model and not {"ModelDataUrl", "ModelDataSource"} & {*asked}:
            self.report((*place, "Image"), "needs an archive that carries the handler: give ModelDataUrl")
        for position, endpoint in enumerate(asked.get("ContainerMetricsConfig", {}).get("MetricsEndpoints", ())):
            seconds = endpoint.get("MetricPublishFrequencyInSeconds", 60)
            if seconds not in PUBLISH_SECONDS:
                here = ("ContainerMetricsConfig", "MetricsEndpoints", position, "MetricPublishFrequencyInSeconds")
                self.report((*place, *here), f"must be one of {', '.join(map(str, PUBLISH_SECONDS))}, not {seconds}")
        if "MultiModelConfig" in asked and not multi_model:
            self.report((*place, "MultiModelConfig"), "goes with Mode: MultiModel")
        if self.is_faulty(place) or runs is None:
            return None
        environment = dict(asked.get("Environment", {}))
        return ContainerDefinition(
            runs,
            model_data,
            multi_model,
            asked.get("ContainerHostname", ""),
            environment,
            Caching(enabled=asked.get("MultiModelConfig", {}).get("ModelCacheSetting") != "Disabled"),
            metrics=metrics_endpoint(asked),
            compressed=source is None or source.get("CompressionType") != "None",
        )

    def _runs(self, place: Place, asked: Mapping[str, Any]) -> Image | Command | None:
        if "Image" not in asked and "ModelPackageName" not in asked:
            self.report(place, "is missing: give a Docker image, handler:FILE or command:WORDS")
        image = member(asked, "Image", str)
        if image is None:
            return None
        try:
            return runnable(image, self._directory)
        except SetupError as error:
            self.report(place, str(error))
            return None

    def _model_data(self, place: Place, asked: Mapping[str, Any], multi_model: bool) -> ModelData | None:
        if "ModelDataUrl" not in asked and multi_model:
            self.report(place, f"is missing: Mode MultiModel needs {wanted_data(multi_model)}")
        url = member(asked, "ModelDataUrl", str)
        if url is None:
            return None
        try:
            return self._locate(url, multi_model)
        except SetupError as error:
            self.report(place, str(error))
            return None

    def _model_data_source(
        self, place: Place, asked: Mapping[str, Any], source: Any, multi_model: bool
    ) -> ModelData | None:
        """[api] What goes together of an S3DataSource."""
        if multi_model:
            self.report(place, "cannot be used with Mode MultiModel: give the archives' prefix as ModelDataUrl")
        if "ModelDataUrl" in asked:
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

    # Production variants

    def variant(
        self, place: Place, asked: Mapping[str, Any], models: Mapping[str, ModelDefinition | None]
    ) -> VariantDefinition | None:
        """None if there is something wrong with it or with its model: it has been reported then."""
        if "ModelName" not in asked:
            self.report((*place, "ModelName"), "is missing: variants for inference components are not emulated")
        instance_type = member(asked, "InstanceType", str)
        if instance_type is not None and instance_type not in instance_types():
            advice = similar_instance_type(instance_type)
            self.report((*place, "InstanceType"), f"there is no {described(instance_type)}" + after(advice))
        routing = member(member(asked, "RoutingConfig", dict), "RoutingStrategy", str)
        if routing is not None and routing not in ROUTING_STRATEGIES:
            message = f"{not_among(routing, ROUTING_STRATEGIES)}: others are not emulated"
            self.report((*place, "RoutingConfig", "RoutingStrategy"), message)
        model = models.get(asked.get("ModelName", ""))
        if self.is_faulty(place) or model is None:
            return None
        many = model.multi_model is not None
        if many and (problem := unfit_for_many_models(instance_type or "")):
            self.report((*place, "InstanceType"), problem)
            return None
        startup_seconds = asked.get("ContainerStartupHealthCheckTimeoutInSeconds")
        return VariantDefinition(
            model,
            resources_of(instance_type, storage_bytes(instance_type, many, asked.get("VolumeSizeInGB"))),
            asked["VariantName"],
            asked.get("InitialInstanceCount", 1),
            float(asked.get("InitialVariantWeight", 1.0)),
            routing == "LEAST_OUTSTANDING_REQUESTS",
            None if startup_seconds is None else float(startup_seconds),
            instance_type or "",
        )


def metrics_endpoint(asked: Mapping[str, Any]) -> MetricsEndpoint | None:
    """What a ContainerMetricsConfig says, with the API's defaults. [api]"""
    config = member(asked, "ContainerMetricsConfig", dict)
    if config is None:
        return None
    first = (config.get("MetricsEndpoints") or [{}])[0]
    return MetricsEndpoint(
        first.get("MetricsEndpointPath", "/metrics"), first.get("MetricPublishFrequencyInSeconds", 60)
    )


def wanted_data(multi_model: bool) -> str:
    """What a ModelDataUrl has to name."""
    return "a directory of model archives (.tar.gz)" if multi_model else "one model archive (.tar.gz)"


def member(asked: Any, name: str, kind: type) -> Any:
    """A member of a structure, if it is there and of that type; otherwise that has been reported."""
    value = asked.get(name) if isinstance(asked, Mapping) else None
    return value if isinstance(value, kind) else None


def after(advice: str) -> str:
    """Advice as the end of a message."""
    return advice and f": {advice}"


def written(place: Place) -> str:
    """A place as people write it: ``ProductionVariants[0].ModelName``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).lstrip(".")
