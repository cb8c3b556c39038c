"""Every member of the API's requests is used, ignored, or refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from emulator.aws.service_models import shape
from emulator.services.sagemaker.supported_members import (
    HOSTING,
    MEMBERS,
    SWITCHED_OFF,
    TRAINING,
    TRANSFORM,
    Members,
    unsupported_members,
)
from tests.support.api_values import fitting
from tests.support.example_endpoint_file import GOOD, changed, example_folder, read, told, written


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return example_folder(tmp_path)


def structures() -> Iterator[tuple[str, str]]:
    """Every member of every structure of hosting."""
    for name in HOSTING:
        for member in shape(name).members:
            yield name, member


# Where each structure stands in a file, its keys being values of the example.
def document_with(structure: str, member: str = "", value: Any = None) -> dict[str, Any]:
    document = yaml.safe_load(GOOD)
    model, config, endpoint = document["Models"][0], document["EndpointConfigs"][0], document["Endpoints"][0]
    variant = config["ProductionVariants"][0]
    objects = {"S3Uri": "s3://bucket/model/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    if structure == "S3ModelDataSource":
        document["Models"][1]["Containers"][1]["ModelDataSource"] = {"S3DataSource": objects}
    types = {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]}
    capture: dict[str, Any] = {"InitialSamplingPercentage": 100, "DestinationS3Uri": "s3://bucket/captured"}
    capture |= {"CaptureOptions": [{"CaptureMode": "Input"}], "CaptureContentTypeHeader": types}
    if structure in ("DataCaptureConfig", "CaptureOption", "CaptureContentTypeHeader"):
        config["DataCaptureConfig"] = capture
    place = {
        "S3ModelDataSource": objects,
        "CreateModelInput": model,
        "ContainerDefinition": model["PrimaryContainer"],
        "MultiModelConfig": model["PrimaryContainer"]["MultiModelConfig"],
        "InferenceExecutionConfig": document["Models"][1]["InferenceExecutionConfig"],
        "CreateEndpointConfigInput": config,
        "DataCaptureConfig": capture,
        "CaptureOption": capture["CaptureOptions"][0],
        "CaptureContentTypeHeader": types,
        "ProductionVariant": variant,
        "ProductionVariantRoutingConfig": variant["RoutingConfig"],
        "CreateEndpointInput": endpoint,
    }[structure]
    if member:
        place[member] = value
    return document


def test_the_lists_name_only_what_the_api_has() -> None:
    for name, members in MEMBERS.items():
        known = set(shape(name).members)
        assert members.used | members.ignored | set(members.refused) <= known
        assert not members.used & members.ignored and not set(members.refused) & (members.used | members.ignored)
    refused = {name for members in MEMBERS.values() for name in members.refused}
    assert set(SWITCHED_OFF) <= refused


@pytest.mark.parametrize("structure, member", list(structures()))
def test_every_member_is_used_or_ignored_or_refused_by_name(folder: Path, structure: str, member: str) -> None:
    if member in HOSTING[structure].used:
        return
    document = document_with(structure, member, fitting(shape(structure).members[member]))
    text = yaml.safe_dump(document, sort_keys=False)
    if member in HOSTING[structure].ignored:
        without = yaml.safe_dump(document_with(structure), sort_keys=False)
        assert read(written(folder, text)) == read(written(folder, without))
    else:
        [line] = told(folder, text)
        number, key, message = line.split(": ", 2)
        assert member + ":" in text.splitlines()[int(number) - 1]
        assert key.split(".")[-1] == member
        assert message.startswith("is not emulated")


@pytest.mark.parametrize("structure", [*TRAINING, *TRANSFORM])
def test_every_member_of_a_job_is_used_or_ignored_or_refused_by_name(structure: str) -> None:
    members, of = MEMBERS[structure], shape(structure)
    refused = [place for place, _ in unsupported_members(of, dict.fromkeys(of.members), ())]
    assert refused == [(name,) for name in of.members if name not in members.used | members.ignored]
    assert set(members.refused) <= {place[0] for place in refused}


def test_what_is_not_about_the_container_is_checked_as_well(folder: Path) -> None:
    [line] = told(folder, changed("    PrimaryContainer", "    ExecutionRoleArn: me\n    PrimaryContainer"))
    assert line.startswith("3: ExecutionRoleArn: must have at least 20 characters, not 2")


def test_a_member_that_the_api_gets_later_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = MEMBERS["CreateModelInput"]
    older = Members(known.used - {"EnableNetworkIsolation"}, known.ignored, known.refused)
    monkeypatch.setitem(MEMBERS, "CreateModelInput", older)
    text = changed("    PrimaryContainer", "    EnableNetworkIsolation: true\n    PrimaryContainer")
    assert told(folder, text) == ["3: EnableNetworkIsolation: is not emulated"]


@pytest.mark.parametrize("structure, member", [("ProductionVariant", "ManagedInstanceScaling")])
def test_what_is_switched_off_may_be_there(folder: Path, structure: str, member: str) -> None:
    switch, off = SWITCHED_OFF[member]
    value = {**fitting(shape(structure).members[member]), switch: off}
    document = document_with(structure, member, value)
    assert read(written(folder, yaml.safe_dump(document))) == read(written(folder, GOOD))
