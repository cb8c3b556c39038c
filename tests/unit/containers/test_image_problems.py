"""What SageMaker would not take of an image, by what an engine says of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emulator.containers.container import GRAVITON, X86
from emulator.containers.docker.image_files import ImageFile
from emulator.containers.docker.image_problems import problems
from emulator.containers.docker.images import InspectedImage, find_image
from emulator.hosting.instance_types import instance_type
from emulator.sizes import GIB

GOOD = InspectedImage(
    "sha256:1",
    "mme",
    entrypoint=("serve",),
    architecture="amd64",
    media_type="application/vnd.docker.distribution.manifest.v2+json",
    size_bytes=GIB,
)


def test_a_usual_image_has_none() -> None:
    assert problems(GOOD, X86) == problems(replace(GOOD, media_type="", architecture=""), X86) == []
    assert problems(replace(GOOD, architecture="arm64"), GRAVITON) == []


@pytest.mark.parametrize(
    "changes, wanted, words",
    [
        ({"architecture": "arm64"}, X86, "which runs on Graviton instances (ml.*g types) only"),
        ({"architecture": "arm64"}, X86, "docker build --platform linux/amd64"),
        ({}, GRAVITON, "which runs on x86_64 instances only"),
        ({"architecture": "s390x"}, X86, "built for s390x, which runs on no instance type"),
        ({"media_type": "application/vnd.oci.image.manifest.v1+json"}, X86, "Unsupported manifest media type appl"),
        ({"media_type": "application/vnd.oci.image.index.v1+json"}, X86, "OCI's media types, and an index for attest"),
        ({"size_bytes": 11 * GIB}, X86, "It has 11 GiB"),
        ({"entrypoint": ("/bin/sh", "-c", "serve")}, X86, "shell form"),
    ],
)
def test_each_is_said_with_its_cause(changes: dict[str, str], wanted: str, words: str) -> None:
    (problem,) = problems(replace(GOOD, **changes), wanted)  # type: ignore[arg-type]
    assert words in problem


@pytest.mark.parametrize(
    "name, architecture",
    [("ml.m5.large", X86), ("ml.g5.xlarge", X86), ("ml.g4dn.xlarge", X86), ("ml.c7g.large", GRAVITON)],
)
def test_the_instance_type_says_for_which_processors(name: str, architecture: str) -> None:
    assert instance_type(name).architecture == architecture
    assert instance_type("ml.r6gd.large").architecture == GRAVITON


class Client:
    """An engine that keeps images in containerd, as its API describes one."""

    def inspect_image(self, name: str) -> dict[str, object]:
        return {
            "Id": "sha256:1",
            "Architecture": "arm64",
            "Size": 7,
            "Descriptor": {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": "sha256:1", "size": 856},
            "Config": {"Env": ["A=b=c", "PATH=/app/bin:/bin"], "User": "1000:100", "WorkingDir": "/app"},
        }


def test_an_image_is_read_from_the_engine_s_description() -> None:
    found = find_image(Client(), "mme")
    assert found == InspectedImage(
        "sha256:1",
        "mme",
        architecture="arm64",
        media_type="application/vnd.oci.image.index.v1+json",
        size_bytes=7,
        user="1000:100",
        path="/app/bin:/bin",
        working_directory="/app",
    )


@pytest.mark.parametrize(
    "mode, user, may",
    [
        (0o755, "", True), (0o644, "", False), (0o100, "root", True), (0o700, "1000", False), (0o701, "1000", True),
        (0o700, "7", True), (0o611, "7:7", False), (0o644, "app", False), (0o744, "app", True),
    ],
)  # fmt: skip
def test_who_may_execute_a_file(mode: int, user: str, may: bool) -> None:
    assert ImageFile("/serve", mode, 7, is_directory=False).may(user, 1) is may


def test_root_may_do_all_with_directories() -> None:
    assert ImageFile("/opt/ml", 0, 7, is_directory=True).may("", 1)
