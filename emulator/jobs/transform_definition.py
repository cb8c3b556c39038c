"""Definitions of transform jobs: the parts of a CreateTransformJob request that matter here, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from emulator.archives.model_data_url import S3Url
from emulator.hosting.definition import ModelDefinition, Resources, VariantDefinition
from emulator.jobs.data_processing import DataProcessing
from emulator.jobs.record_splitting import SplitType
from emulator.jobs.training_definition import Channel


@dataclass(frozen=True)
class TransformDefinition:
    """One transform job. None of a parameter = as the container's ``/execution-parameters`` say, or the default."""

    name: str
    region: str
    model: ModelDefinition
    resources: Resources
    input: Channel
    output: S3Url
    split: SplitType = "None"
    content_type: str | None = None
    accept: str | None = None
    assemble_lines: bool = False  # AssembleWith Line
    single_records: bool | None = None  # BatchStrategy
    max_payload_mb: int | None = None
    max_concurrent: int | None = None
    timeout_seconds: float = 600.0  # [api] InvocationsTimeoutInSeconds
    retries: int = 3  # [api] InvocationsMaxRetries
    processing: DataProcessing | None = None  # None = records and answers are left as they are
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def variant(self) -> VariantDefinition:
        """The model as it is hosted for the job."""
        environment = {**self.environment, **self._platform_environment()}
        containers = [
            replace(container, environment={**container.environment, **environment})
            for container in self.model.containers
        ]
        return VariantDefinition(replace(self.model, containers=containers), self.resources)

    def _platform_environment(self) -> dict[str, str]:
        """What the platform sets; parameters only if the request has them. [dg]"""
        found = {"SAGEMAKER_BATCH": "true"}
        if self.max_payload_mb is not None:
            found["SAGEMAKER_MAX_PAYLOAD_IN_MB"] = str(self.max_payload_mb)
        if self.single_records is not None:
            found["SAGEMAKER_BATCH_STRATEGY"] = "SINGLE_RECORD" if self.single_records else "MULTI_RECORD"
        if self.max_concurrent:
            found["SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"] = str(self.max_concurrent)
        return found
