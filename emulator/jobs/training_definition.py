"""Definitions of training jobs: the parts of a CreateTrainingJob request that matter here, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from emulator.archives.model_data_url import ModelData
from emulator.containers.launch import Command, Image

InputMode = Literal["File", "FastFile"]


@dataclass(frozen=True)
class Script:
    """The user's own entry point, run by a Python of this machine in place of an image that cannot be had. [ours]"""

    python: Path


Algorithm = Image | Command | Script  # what can run as the container of a training job


@dataclass(frozen=True)
class Channel:
    """One input channel: the objects that the algorithm finds in ``/opt/ml/input/data/NAME``. [api]"""

    name: str
    data: ModelData  # the objects below a prefix, or those that a manifest names
    data_type: Literal["S3Prefix", "ManifestFile"]
    document: Mapping[str, object]  # the channel as it was requested
    input_mode: InputMode = "File"
    gzipped: bool = False  # CompressionType Gzip: decompressed for the algorithm in Pipe mode only


@dataclass(frozen=True)
class MetricDefinition:
    """A metric that is read from the algorithm's output: the first group of each match. [api]"""

    name: str
    regex: str


@dataclass(frozen=True)
class TrainingDefinition:
    """One training job."""

    name: str
    arn: str
    region: str
    algorithm: Algorithm
    hyperparameters: Mapping[str, str]
    channels: tuple[Channel, ...]
    output: str  # S3OutputPath, as it was requested
    instance_type: str
    volume_bytes: int
    max_runtime_seconds: int
    entrypoint: tuple[str, ...] = ()  # ContainerEntrypoint; empty = the image's own
    arguments: tuple[str, ...] = ("train",)  # ContainerArguments
    environment: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[MetricDefinition, ...] = ()
    compress_model: bool = True  # OutputDataConfig's CompressionType
    checkpoints: str | None = None  # CheckpointConfig's S3Uri
    checkpoint_path: str = "/opt/ml/checkpoints"
    role: str = ""
    network_isolation: bool = False
