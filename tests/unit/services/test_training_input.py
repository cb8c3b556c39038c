"""The input of CreateTrainingJob requests: what is refused by name before anything runs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from emulator.aws.errors import AwsError
from emulator.services.sagemaker.control_plane import ControlPlane
from emulator.services.sagemaker.mapped_images import NO_MAPPED_IMAGES
from emulator.services.sagemaker.training_definitions import training_definition, with_defaults
from emulator.storage.object_store import open_store
from emulator.storage.read_through import ReadThrough
from tests.support.store_as_real_s3 import StoreAsRealS3


def defined(
    directory: Path, channel: dict[str, Any], mode: str = "File", output: str = "b", read_through: Any = None
) -> Any:
    (directory / "b").mkdir(exist_ok=True)
    (directory / "b" / "a.csv").touch()
    place = {"S3DataType": "S3Prefix", "S3Uri": "s3://b/a"}
    request = {
        "TrainingJobName": "job",
        "AlgorithmSpecification": {"TrainingImage": "image:1", "TrainingInputMode": mode},
        "RoleArn": "arn:aws:iam::123456789012:role/r",
        "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": place}, **channel}],
        "OutputDataConfig": {"S3OutputPath": f"s3://{output}/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
    }
    plane = SimpleNamespace(
        arn=lambda *_: "arn",
        region="us-east-1",
        mapped_images=NO_MAPPED_IMAGES,
        directory=directory,
        read_through=read_through,
    )
    return training_definition(cast(ControlPlane, plane), directory, with_defaults(request))


@pytest.mark.parametrize(("mode", "channel", "found"), [
    ("File", {}, "File"), ("FastFile", {}, "FastFile"), ("File", {"InputMode": "FastFile"}, "FastFile"),
    ("Pipe", {"InputMode": "File"}, "File"),
])  # fmt: skip
def test_a_channels_own_mode_outweighs_that_of_the_job(
    tmp_path: Path, mode: str, channel: dict[str, Any], found: str
) -> None:
    assert defined(tmp_path, channel, mode).channels[0].input_mode == found


@pytest.mark.parametrize(("mode", "channel"), [("Pipe", {}), ("File", {"InputMode": "Pipe"})])
def test_pipes_are_refused(tmp_path: Path, mode: str, channel: dict[str, Any]) -> None:
    with pytest.raises(AwsError, match=r"\.InputMode must be File or FastFile, not Pipe: data is not streamed here"):
        defined(tmp_path, channel, mode)


def test_data_that_lacks_is_refused_in_sagemakers_words(tmp_path: Path) -> None:
    place = {"S3DataType": "S3Prefix", "S3Uri": "s3://b/other"}
    with pytest.raises(AwsError, match='No S3 objects found under S3 URL "s3://b/other" given in input data source'):
        defined(tmp_path, {"DataSource": {"S3DataSource": place}})


def test_output_may_go_to_a_bucket_that_only_real_s3_has_yet(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    (there / "public").mkdir(parents=True)
    read_through = ReadThrough(here, "us-east-1", ["public", "none"], StoreAsRealS3(open_store(there, "us-east-1")))
    try:
        assert defined(here, {}, output="public", read_through=read_through)
        with pytest.raises(AwsError, match="OutputDataConfig.S3OutputPath names the bucket none, which does not exist"):
            defined(here, {}, output="none", read_through=read_through)
    finally:
        read_through.close()
    assert (here / "public").is_dir()
