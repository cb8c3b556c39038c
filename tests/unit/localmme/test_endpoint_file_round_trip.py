"""Whatever endpoints there are, a file can say them: what was dumped is what is read."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.containers.launch import Command, Image
from emulator.hosting.definition import (
    Caching,
    ContainerDefinition,
    EndpointDefinition,
    ModelDefinition,
    Resources,
    VariantDefinition,
)
from emulator.hosting.instance_types import instance_type, instance_types, unfit_for_many_models
from emulator.hosting.storage_sizes import local_disk_bytes
from emulator.services.sagemaker.image import embedded_server
from localmme.aws_environment import region
from tests.support.example_endpoint_file import example_folder, read, written

GIB = 1024**3


ROLES = st.sampled_from([f"arn:aws:iam::123456789012:role/{name}" for name in ("localmme", "mine")])
NAMES = st.from_regex(r"[a-zA-Z0-9](-?[a-zA-Z0-9]){0,8}", fullmatch=True)
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs", "Cc"]), max_size=20)
ENVIRONMENTS = st.dictionaries(
    st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True),
    VALUES | st.sampled_from(["no", "1", "1e3", "2024-01-01", "~", "", "null", "0x1", "1:30", " x ", "a\nb"]),
    max_size=4,
)


@functools.cache
def shared_directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()  # goes when Python ends


@functools.cache
def shared_folder() -> Path:
    return example_folder(Path(shared_directory().name))


@st.composite
def containers(draw: st.DrawFn, multi_model: bool, hostname: str) -> ContainerDefinition:
    folder = shared_folder()
    choice: list[Image | Command] = [
        Image("my-image:1"),
        Image("localhost:5000/a/b@sha256:" + "a" * 64),
        Command(["sh", "-c", "it's"], folder),
        embedded_server(str(folder / "handler.py")),
        embedded_server(f"{folder / 'handler.py'}:handle"),
    ]
    runs = draw(st.sampled_from(choice))
    environment = draw(ENVIRONMENTS)
    data = folder / "s3" if multi_model else draw(st.sampled_from([None, folder / "one.tar.gz"]))
    caching = Caching(enabled=draw(st.booleans())) if multi_model else Caching()
    return ContainerDefinition(runs, data, multi_model, hostname, environment, caching)


@st.composite
def models(draw: st.DrawFn) -> ModelDefinition:
    count = draw(st.integers(1, 4))
    direct = draw(st.booleans())
    hostnames = draw(st.lists(NAMES, min_size=count, max_size=count, unique=True))
    if not direct and draw(st.booleans()):
        hostnames = [""] * count
    multi = draw(st.integers(-1, count - 1))
    return ModelDefinition(
        [draw(containers(n == multi, hostnames[n])) for n in range(count)], direct, role_arn=draw(ROLES)
    )


@st.composite
def endpoints(draw: st.DrawFn) -> list[EndpointDefinition]:
    made = draw(st.lists(models(), min_size=1, max_size=3))
    result = []
    for name in draw(st.lists(NAMES, min_size=1, max_size=3, unique_by=str.lower)):
        variants = []
        for variant_name in draw(st.lists(NAMES, min_size=1, max_size=3, unique=True)):
            model = draw(st.sampled_from(made))
            fitting_types = [
                each for each in sorted(instance_types()) if not (model.multi_model and unfit_for_many_models(each))
            ]
            chosen = instance_type(draw(st.sampled_from(fitting_types)))
            storage = local_disk_bytes(chosen.name) or draw(st.integers(1, 512)) * GIB
            variants.append(
                VariantDefinition(
                    model,
                    Resources(chosen.memory_bytes, storage, chosen.vcpus, architecture=chosen.architecture),
                    variant_name,
                    draw(st.integers(1, 1000)),
                    draw(st.floats(0, 1e9)),
                    draw(st.booleans()),
                    draw(st.none() | st.integers(60, 3600).map(float)),
                    chosen.name,
                )
            )
        result.append(EndpointDefinition(name, variants, region()))
    return result


def document_of(endpoints: list[EndpointDefinition]) -> dict[str, Any]:
    """The file that a person would have written for these endpoints."""
    document: dict[str, Any] = {"Models": [], "EndpointConfigs": [], "Endpoints": []}
    names: dict[int, str] = {}
    for number, endpoint in enumerate(endpoints):
        variants = []
        for variant in endpoint.variants:
            if id(variant.model) not in names:
                names[id(variant.model)] = f"model-{len(names)}"
                document["Models"].append(_model_document(names[id(variant.model)], variant.model))
            variants.append(_variant_document(names[id(variant.model)], variant))
        document["EndpointConfigs"].append({"EndpointConfigName": f"c{number}", "ProductionVariants": variants})
        document["Endpoints"].append({"EndpointName": endpoint.name, "EndpointConfigName": f"c{number}"})
    return document


def _model_document(name: str, model: ModelDefinition) -> dict[str, Any]:
    described = [_container_document(container) for container in model.containers]
    document: dict[str, Any] = {"ModelName": name, "ExecutionRoleArn": model.role_arn}
    if len(described) == 1 and not model.direct:
        document["PrimaryContainer"] = described[0]
    else:
        document["Containers"] = described
    if model.direct:
        document["InferenceExecutionConfig"] = {"Mode": "Direct"}
    return document


def _container_document(container: ContainerDefinition) -> dict[str, Any]:
    if isinstance(container.runs, Image):
        image = container.runs.reference
    elif container.runs.words[-2] == "--handler":
        image = "handler:" + Path(container.runs.words[-1]).name
    else:
        image = """command:sh -c "it's" """
    document: dict[str, Any] = {"Image": image, "Environment": dict(container.environment)}
    if container.multi_model:
        setting = "Enabled" if container.caching.enabled else "Disabled"
        document |= {"Mode": "MultiModel", "MultiModelConfig": {"ModelCacheSetting": setting}}
    if container.model_data:
        document["ModelDataUrl"] = container.model_data.name
    if container.hostname:
        document["ContainerHostname"] = container.hostname
    return document


def _variant_document(model_name: str, variant: VariantDefinition) -> dict[str, Any]:
    document: dict[str, Any] = {
        "VariantName": variant.name,
        "ModelName": model_name,
        "InstanceType": variant.instance_type,
        "InitialInstanceCount": variant.instance_count,
        "InitialVariantWeight": variant.weight,
    }
    if not local_disk_bytes(variant.instance_type):
        document["VolumeSizeInGB"] = variant.resources.storage_bytes // GIB
    if variant.least_outstanding:
        document["RoutingConfig"] = {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"}
    if variant.startup_seconds:
        document["ContainerStartupHealthCheckTimeoutInSeconds"] = int(variant.startup_seconds)
    return document


@pytest.mark.parametrize(
    "dump",
    [
        functools.partial(yaml.safe_dump, sort_keys=False),
        functools.partial(yaml.safe_dump, allow_unicode=True, default_flow_style=None),
        json.dumps,
        functools.partial(json.dumps, indent=1, ensure_ascii=False),
    ],
    ids=["yaml", "yaml with unicode", "json", "json with unicode"],
)
@given(endpoints=endpoints())
@settings(max_examples=6)
def test_what_was_dumped_is_what_is_read(dump: Callable[..., str], endpoints: list[EndpointDefinition]) -> None:
    file = written(shared_folder(), dump(document_of(endpoints)))
    assert read(file) == endpoints
