"""An endpoint file that uses all that there is, and what is read of it or of one that differs a little."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.errors import SetupError
from emulator.hosting.definition import EndpointDefinition
from localmme import endpoint_file
from tests.support.files import archive
from tests.support.start_requests import definitions

HANDLER = "def handle(data, context):\n    return [b'hello']\n"

# Line numbers in the tests are those of this text.
GOOD = """\
Models:
  - ModelName: many
    PrimaryContainer:
      Image: handler:handler.py
      Mode: MultiModel
      ModelDataUrl: ./s3
      Environment: {LEVEL: "2"}
      MultiModelConfig: {ModelCacheSetting: Disabled}
  - ModelName: pipe
    Containers:
      - {ContainerHostname: before, Image: "my-image:1", ModelDataUrl: one.tar.gz}
      - {ContainerHostname: after, Image: "command:sh ./serve.sh", Mode: SingleModel}
    InferenceExecutionConfig: {Mode: Serial}
EndpointConfigs:
  - EndpointConfigName: both
    ProductionVariants:
      - VariantName: A
        ModelName: many
        InstanceType: ml.m5.large
        InitialInstanceCount: 2
        InitialVariantWeight: 0.9
        VolumeSizeInGB: 20
        ContainerStartupHealthCheckTimeoutInSeconds: 120
        RoutingConfig: {RoutingStrategy: LEAST_OUTSTANDING_REQUESTS}
      - VariantName: B
        ModelName: pipe
Endpoints:
  - {EndpointName: e, EndpointConfigName: both}
"""


def example_folder(folder: Path) -> Path:
    """Make all that GOOD speaks of in this directory."""
    (folder / "s3").mkdir()
    archive(folder / "one.tar.gz", {"x": "1"})
    (folder / "handler.py").write_text(HANDLER)
    return folder


def written(folder: Path, text: str) -> Path:
    file = folder / "endpoint.yaml"
    file.write_text(text)
    return file


def read(file: Path) -> list[EndpointDefinition]:
    """What is hosted of a file."""
    return definitions(endpoint_file.read(file))


def told(folder: Path, text: str) -> list[str]:
    """What is said of a file, without the file's name before each line."""
    file = written(folder, text)
    with pytest.raises(SetupError) as error:
        read(file)
    lines = str(error.value).split("\n")
    assert all(line.startswith(f"{file}:") for line in lines), lines
    return [line.removeprefix(f"{file}:") for line in lines]


def changed(*replacements: str) -> str:
    """GOOD with every odd text replaced by the one after it."""
    text = GOOD
    for old, new in zip(replacements[::2], replacements[1::2]):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text
