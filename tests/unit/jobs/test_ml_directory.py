"""What the algorithm of a training job finds in /opt/ml, and in its environment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emulator.archives.model_data_url import LocalS3, S3Url
from emulator.containers.launch import Image
from emulator.jobs.errors import JobFailed
from emulator.jobs.ml_directory import MlDirectory, job_variables
from emulator.jobs.training_definition import Channel, TrainingDefinition
from tests.support.role_access import EVERYTHING


def definition(channels: tuple[Channel, ...] = (), **settings: Any) -> TrainingDefinition:
    return TrainingDefinition(
        **{
            "name": "job",
            "arn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/job",
            "region": "us-east-1",
            "algorithm": Image("image"),
            "hyperparameters": {"epochs": "3", "loss": '"mse"'},
            "channels": channels,
            "output": "s3://b/output",
            "instance_type": "ml.m5.large",
            "volume_bytes": 1000,
            "max_runtime_seconds": 60,
            **settings,
        }
    )


def read(directory: MlDirectory, name: str) -> Any:
    return json.loads((directory.configuration / name).read_text())


def test_the_configuration_is_what_the_request_says(tmp_path: Path) -> None:
    data = LocalS3(tmp_path / "b", S3Url("b", "train/"))
    requested = {
        "ContentType": "text/csv",
        "DataSource": {"S3DataSource": {"S3DataDistributionType": "ShardedByS3Key"}},
        "RecordWrapperType": "RecordIO",
    }
    channels = (
        Channel("train", data, "S3Prefix", requested),
        Channel("test", data, "S3Prefix", {}, "FastFile"),
    )
    directory = MlDirectory(tmp_path / "ml")
    directory.make(definition(channels))
    assert read(directory, "hyperparameters.json") == {"epochs": "3", "loss": '"mse"'}
    plain = {"S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
    assert read(directory, "inputdataconfig.json") == {
        "train": {
            "ContentType": "text/csv",
            "TrainingInputMode": "File",
            "S3DistributionType": "ShardedByS3Key",
            "RecordWrapperType": "RecordIO",
        },
        "test": {"TrainingInputMode": "File", **plain},
    }
    group = {"instance_group_name": "homogeneousCluster", "instance_type": "ml.m5.large", "hosts": ["algo-1"]}
    assert read(directory, "resourceconfig.json") == {
        "current_host": "algo-1",
        "current_instance_type": "ml.m5.large",
        "current_group_name": "homogeneousCluster",
        "hosts": ["algo-1"],
        "instance_groups": [group],
        "network_interface_name": "eth0",
        "topology": None,
    }
    directories = {str(path.relative_to(directory.root)) for path in directory.root.rglob("*") if path.is_dir()}
    assert directories == {
        "input", "input/config", "input/data", "model", "output", "output/data", "checkpoints",
    }  # fmt: skip


def test_all_channels_together_have_the_volume(tmp_path: Path) -> None:
    (tmp_path / "b" / "train").mkdir(parents=True)
    (tmp_path / "b" / "train" / "a").write_bytes(b"x" * 600)
    data = LocalS3(tmp_path / "b", S3Url("b", "train/"))
    one, two = (Channel(name, data, "S3Prefix", {}) for name in ("one", "two"))
    directory = MlDirectory(tmp_path / "ml")
    directory.make(definition((one, two)))
    with pytest.raises(JobFailed, match="channel two: it takes more than the storage volume has"):
        directory.download(definition((one, two)), EVERYTHING)
    assert (directory.data / "one" / "a").stat().st_size == 600
    large = MlDirectory(tmp_path / "large")
    large.make(definition((one, two)))
    assert large.download(definition((one, two), volume_bytes=1200), EVERYTHING) == 1200


def test_the_platforms_variables_outweigh_the_requests() -> None:
    variables = job_variables(definition(environment={"TRAINING_JOB_NAME": "other", "AWS_REGION": "eu-west-1"}))
    assert variables == {
        "AWS_REGION": "eu-west-1",
        "TRAINING_JOB_NAME": "job",
        "TRAINING_JOB_ARN": "arn:aws:sagemaker:us-east-1:123456789012:training-job/job",
    }
