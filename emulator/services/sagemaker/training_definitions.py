"""Turns CreateTrainingJob requests into definitions of training jobs, or lists their problems."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from emulator.aws.service_models import Place
from emulator.containers.job_container import ML
from emulator.errors import SetupError
from emulator.jobs.channels import has_objects
from emulator.jobs.metrics import compiled
from emulator.jobs.training_definition import Algorithm, Channel, MetricDefinition, TrainingDefinition
from emulator.services.sagemaker.control_plane import ControlPlane
from emulator.services.sagemaker.errors import no_input_data
from emulator.services.sagemaker.image import HANDLER, image_or_command
from emulator.services.sagemaker.job_requests import JobRequestReader
from emulator.services.sagemaker.records import TrainingJobRecord
from emulator.sizes import GIB

DEFAULT_RUNTIME_SECONDS = 86400  # [api]
DEFAULT_VOLUME_GB = 30  # [ours] where none is given
INPUT_MODES = ("File", "FastFile")  # those that are emulated


def with_defaults(request: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as DescribeTrainingJob shows them: with the defaults of omitted members. [api]"""
    stopping = {"MaxRuntimeInSeconds": DEFAULT_RUNTIME_SECONDS, **request.get("StoppingCondition", {})}
    return {
        "EnableNetworkIsolation": False,
        "EnableInterContainerTrafficEncryption": False,
        "EnableManagedSpotTraining": False,
        **request,
        "StoppingCondition": stopping,
        "OutputDataConfig": {"KmsKeyId": "", "CompressionType": "GZIP", **request["OutputDataConfig"]},
    }


def training_definition(control_plane: ControlPlane, s3_root: Path, request: Mapping[str, Any]) -> TrainingDefinition:
    """The definition of a checked request. Looks for its files, and so blocks. Raises AwsError with all problems."""
    reader = _Reader(control_plane, s3_root)
    definition = reader.definition(request)
    reader.refuse_problems()
    for position, channel in enumerate(definition.channels):
        found = reader.read(("InputDataConfig", position), functools.partial(has_objects, channel.data))
        reader.refuse_problems()
        if not found:
            url, bucket = str(channel.data), channel.data.url.bucket  # type: ignore[union-attr]
            raise no_input_data(url, bucket, control_plane.region, definition.role)
    return definition


class _Reader(JobRequestReader):
    """Reads a request."""

    def __init__(self, control_plane: ControlPlane, s3_root: Path) -> None:
        super().__init__(s3_root, control_plane.read_through)
        self._control_plane = control_plane

    def definition(self, request: Mapping[str, Any]) -> TrainingDefinition:
        """What it defines; with problems, something that must not be used."""
        algorithm, resources = request.get("AlgorithmSpecification", {}), request.get("ResourceConfig", {})
        for name in ("AlgorithmSpecification", "ResourceConfig"):
            if name not in request:
                self.report((name,), "is missing")
        checkpoints = request.get("CheckpointConfig", {})
        if checkpoints:
            self.output(("CheckpointConfig", "S3Uri"), checkpoints["S3Uri"])
        self.output(("OutputDataConfig", "S3OutputPath"), request["OutputDataConfig"]["S3OutputPath"])
        path = checkpoints.get("LocalPath", f"{ML}/checkpoints")
        self.read(("CheckpointConfig", "LocalPath"), lambda: _check_local_path(path))
        self._check_instances(resources)
        name = request["TrainingJobName"]
        return TrainingDefinition(
            name=name,
            arn=self._control_plane.arn(TrainingJobRecord.kind, name),
            region=self._control_plane.region,
            algorithm=self._algorithm(algorithm),
            hyperparameters=request.get("HyperParameters", {}),
            channels=tuple(
                self._channels(request.get("InputDataConfig", ()), algorithm.get("TrainingInputMode", "File"))
            ),
            output=request["OutputDataConfig"]["S3OutputPath"],
            instance_type=resources.get("InstanceType", ""),
            volume_bytes=resources.get("VolumeSizeInGB", DEFAULT_VOLUME_GB) * GIB,
            max_runtime_seconds=request["StoppingCondition"]["MaxRuntimeInSeconds"],
            entrypoint=tuple(algorithm.get("ContainerEntrypoint", ())),
            arguments=tuple(
                algorithm.get("ContainerArguments", () if "ContainerEntrypoint" in algorithm else ("train",))
            ),
            environment=request.get("Environment", {}),
            metrics=tuple(self._metrics(algorithm.get("MetricDefinitions", ()))),
            compress_model=request["OutputDataConfig"]["CompressionType"] == "GZIP",
            checkpoints=checkpoints.get("S3Uri"),
            checkpoint_path=path,
            role=request["RoleArn"],
            network_isolation=request["EnableNetworkIsolation"],
        )

    def _algorithm(self, specification: Mapping[str, Any]) -> Algorithm:
        place, image = ("AlgorithmSpecification", "TrainingImage"), specification.get("TrainingImage", "")
        if not image:
            self.report(place, "is missing")
        if image.startswith(HANDLER):
            self.report(place, "takes a Docker image or command:WORDS: a handler does not train")
        mapped_images, directory = self._control_plane.mapped_images, self._control_plane.directory
        return self.read(place, lambda: mapped_images.trains(image) or image_or_command(image, directory))

    def _check_instances(self, resources: Mapping[str, Any]) -> None:
        if resources.get("InstanceCount", 1) != 1:
            self.report(("ResourceConfig", "InstanceCount"), "must be 1: jobs on several instances are not emulated")
        if "InstanceType" not in resources and resources:
            self.report(("ResourceConfig", "InstanceType"), "is missing")

    def _channels(self, channels: list[Mapping[str, Any]], input_mode: Any) -> Iterator[Channel]:
        names = [channel["ChannelName"] for channel in channels]
        for position, channel in enumerate(channels):
            place: Place = ("InputDataConfig", position)
            if names.count(channel["ChannelName"]) > 1:
                self.report((*place, "ChannelName"), "is the name of another channel, too")
            if channel["ChannelName"] in (".", ".."):
                self.report((*place, "ChannelName"), "cannot be the name of a directory")
            source = channel["DataSource"].get("S3DataSource", {})
            data = self.data((*place, "DataSource", "S3DataSource"), source)
            if data is None:
                continue
            mode = channel.get("InputMode", input_mode)
            if mode not in INPUT_MODES:
                problem = f"must be {' or '.join(INPUT_MODES)}, not {mode}: data is not streamed here"
                self.report((*place, "InputMode"), problem)
            yield Channel(
                name=channel["ChannelName"],
                data=data,
                data_type=source["S3DataType"],
                document=channel,
                input_mode=mode,
                gzipped=channel.get("CompressionType") == "Gzip",
            )

    def _metrics(self, metrics: list[Mapping[str, str]]) -> Iterator[MetricDefinition]:
        for position, metric in enumerate(metrics):
            definition = MetricDefinition(metric["Name"], metric["Regex"])
            place = ("AlgorithmSpecification", "MetricDefinitions", position, "Regex")
            self.read(place, functools.partial(compiled, definition))
            yield definition


def _check_local_path(path: str) -> None:
    """Raises SetupError for a path where a job's container has no checkpoints here."""
    names = PurePosixPath(path).parts
    if ".." in names or names[:3] != ("/", "opt", "ml") or len(names) < 4 or names[3] in ("input", "model", "output"):
        raise SetupError(f"has to be a directory of its own below {ML}, not {path}")
