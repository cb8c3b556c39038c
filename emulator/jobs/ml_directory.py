"""The directory ``/opt/ml`` of a job: what its algorithm finds there, and where it writes. [dg]"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from emulator.jobs.channels import download
from emulator.jobs.role_access import RoleAccess
from emulator.jobs.training_definition import Channel, TrainingDefinition

HOST = "algo-1"  # [api] the name of a job's first instance, and here its only one
INSTANCE_GROUP = "homogeneousCluster"  # [reports] of all instances, where a request names no groups


@dataclass(frozen=True)
class MlDirectory:
    """The places below ``root``, which is ``/opt/ml`` for the algorithm.

    ``code`` is the image's own, or that of a script: it is not made here.
    """

    root: Path

    @property
    def configuration(self) -> Path:
        return self.root / "input" / "config"

    @property
    def data(self) -> Path:
        """Has a directory for each channel."""
        return self.root / "input" / "data"

    @property
    def model(self) -> Path:
        return self.root / "model"

    @property
    def output(self) -> Path:
        return self.root / "output"

    @property
    def output_data(self) -> Path:
        return self.output / "data"

    @property
    def failure(self) -> Path:
        """The file in which the algorithm says why it failed."""
        return self.output / "failure"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def code(self) -> Path:
        return self.root / "code"

    def make(self, job: TrainingDefinition) -> None:
        """Make all of it but the data. ``root`` must not exist yet."""
        self.root.mkdir(parents=True)
        for directory in (self.configuration, self.data, self.model, self.output_data, self.checkpoints):
            directory.mkdir(parents=True, exist_ok=True)
        _write(self.configuration / "hyperparameters.json", dict(job.hyperparameters))
        channels = {channel.name: channel_document(channel) for channel in job.channels}
        _write(self.configuration / "inputdataconfig.json", channels)
        _write(self.configuration / "resourceconfig.json", resource_document(job.instance_type))

    def download(self, job: TrainingDefinition, access: RoleAccess) -> int:
        """Copy the channels' objects; their size in bytes. Blocks. Raises JobFailed."""
        left = job.volume_bytes
        for channel in job.channels:
            left -= download(channel, access, self.data / channel.name, left)
        return job.volume_bytes - left


def channel_document(channel: Channel) -> dict[str, object]:
    """What the algorithm reads of a channel in ``inputdataconfig.json``. [dg, reports]"""
    requested = channel.document
    source = requested.get("DataSource", {})
    s3 = source.get("S3DataSource", {}) if isinstance(source, Mapping) else {}
    document = {"ContentType": requested["ContentType"]} if "ContentType" in requested else {}
    return document | {
        "TrainingInputMode": "File",  # also of FastFile [dg]
        "S3DistributionType": s3.get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": requested.get("RecordWrapperType", "None"),
    }


def resource_document(instance_type: str) -> dict[str, object]:
    """What ``resourceconfig.json`` says of the instances. [reports]"""
    group = {"instance_group_name": INSTANCE_GROUP, "instance_type": instance_type, "hosts": [HOST]}
    return {
        "current_host": HOST,
        "current_instance_type": instance_type,
        "current_group_name": INSTANCE_GROUP,
        "hosts": [HOST],
        "instance_groups": [group],
        "network_interface_name": "eth0",
        "topology": None,
    }


def job_variables(job: TrainingDefinition) -> dict[str, str]:
    """The environment variables of every training container; those of the request outweigh none of the platform's.

    [dg] the first two, [reports] that the region is there, too.
    """
    return {
        "AWS_REGION": job.region,
        **job.environment,
        "TRAINING_JOB_NAME": job.name,
        "TRAINING_JOB_ARN": job.arn,
    }


def _write(path: Path, document: object) -> None:
    path.write_text(json.dumps(document))
