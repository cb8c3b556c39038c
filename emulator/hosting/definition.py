"""Definitions of what to host: the parts of CreateModel and CreateEndpointConfig that matter here, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from emulator.archives.model_data_url import ModelData
from emulator.containers.container import X86
from emulator.containers.launch import Program
from emulator.data_capture import DataCapture
from emulator.errors import SetupError
from emulator.events import ONLY_CONTAINER_NAME

MOST_CONTAINERS = 15  # [api] of one model
ONLY_VARIANT_NAME = "AllTraffic"  # what the SageMaker SDK calls the only variant


@dataclass(frozen=True)
class Resources:
    """The resources of an instance. Sizes in bytes."""

    memory_bytes: int
    storage_bytes: int
    vcpus: int
    max_loaded_models: int | None = None
    gpus: int = 0  # for Docker containers; -1 = all there are
    architecture: str = X86  # of the processors, as Docker calls it


@dataclass(frozen=True)
class Caching:
    """How long an instance keeps models."""

    enabled: bool = True  # ModelCacheSetting
    reload: bool = False  # for prototyping: serve a changed archive at once, which SageMaker does not


@dataclass(frozen=True)
class MetricsEndpoint:
    """Where a container's own metrics are, and how often they are read."""

    path: str
    seconds: float


@dataclass(frozen=True)
class ContainerDefinition:
    """One container of a model."""

    runs: Program
    model_data: (
        ModelData | None
    )  # ModelDataUrl: of many archives (a directory, a prefix) if it is multi-model, else of one
    multi_model: bool = True  # Mode
    hostname: str = ""  # ContainerHostname
    environment: Mapping[str, str] = field(default_factory=dict)
    caching: Caching = field(default_factory=Caching)
    metrics: MetricsEndpoint | None = None  # ContainerMetricsConfig
    compressed: bool = True  # False: of one model, whose data are objects as they are (ModelDataSource)


@dataclass(frozen=True)
class ModelDefinition:
    """What CreateModel makes: one container, or several that share an instance."""

    containers: Sequence[ContainerDefinition]
    direct: bool = False  # InferenceExecutionConfig: callers name a container; otherwise they form a pipeline
    name: str = field(default="", compare=False)  # makes no difference to how it is hosted
    role_arn: str = ""  # ExecutionRoleArn, whose credentials the code in its containers has
    isolated: bool = False  # EnableNetworkIsolation: it has no credentials, and no AWS to call

    def __post_init__(self) -> None:
        """Raises SetupError when these containers do not go together."""
        count = len(self.containers)
        if not 1 <= count <= MOST_CONTAINERS:
            raise SetupError(f"A model has 1 to {MOST_CONTAINERS} containers, not {count}.")
        if sum(container.multi_model for container in self.containers) > 1:
            raise SetupError("At most one container of a model can have Mode MultiModel.")
        named = [container.hostname for container in self.containers if container.hostname]
        if count > 1 and named and len(named) < count:
            raise SetupError("Give every container a ContainerHostname, or none.")
        if len(set(named)) < len(named):
            raise SetupError("Each container needs a ContainerHostname of its own.")
        if self.direct and len(named) < count:
            raise SetupError("In Mode Direct every container needs a ContainerHostname: callers name one by it.")

    @property
    def multi_model(self) -> ContainerDefinition | None:
        """The container that hosts many models, if there is one."""
        return next((container for container in self.containers if container.multi_model), None)

    def container_names(self) -> list[str]:
        """As SageMaker names them in errors and logs: by host name or, without one, by position. [api]"""
        if len(self.containers) == 1:
            return [ONLY_CONTAINER_NAME]
        return [container.hostname or f"container-{n}" for n, container in enumerate(self.containers, 1)]


@dataclass(frozen=True)
class VariantDefinition:
    """A ProductionVariant of CreateEndpointConfig."""

    model: ModelDefinition
    resources: Resources
    name: str = ONLY_VARIANT_NAME
    instance_count: int = 1
    weight: float = 1.0
    least_outstanding: bool = False  # RoutingConfig: LEAST_OUTSTANDING_REQUESTS; otherwise RANDOM
    startup_seconds: float | None = None  # ContainerStartupHealthCheckTimeoutInSeconds
    instance_type: str = field(default="", compare=False)  # which has been made into ``resources``
    detailed_observability: bool = True  # [api] MetricsConfig; without it, containers' own metrics are not read


@dataclass(frozen=True)
class EndpointDefinition:
    """What CreateEndpoint makes."""

    name: str
    variants: Sequence[VariantDefinition]
    region: str = "us-east-1"
    data_capture: DataCapture | None = None  # None = nothing is captured
    explained: bool = False  # ExplainerConfig: on SageMaker, answers contain explanations
