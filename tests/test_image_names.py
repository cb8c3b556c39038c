"""Which texts are names of Docker images, for ``Image`` of the API and for ``--image``."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.errors import SetupError
from emulator.hosting.definition import Image
from emulator.hosting.runnable import image_of, runnable

DIGEST = "sha256:" + "0f" * 32


@pytest.mark.parametrize(
    "name",
    [
        "mme",
        "mme:1.0",
        "localmme/mme_server--x.y:v-1_2",
        "localhost:5000/mme",
        "Registry.example.org/team/mme",
        "[::1]:5000/mme:latest",
        f"mme@{DIGEST}",
        f"123456789012.dkr.ecr.us-west-2.amazonaws.com/team/mme:latest@{DIGEST}",
        DIGEST,
        DIGEST[:19],
        "0123456789ab",
    ],
)
def test_a_docker_image_has_such_a_name(name: str) -> None:
    assert image_of(name) == runnable(name, Path()) == Image(name)


@pytest.mark.parametrize(
    "name",
    [
        "", " ", ".", "..", "./mme", "../../v1/info", "/mme", "mme/", "team//mme", "mme:", "mme:a:b", "MME",
        "mme@sha256:1", "-mme", "m me", "mme\n", "mme?x=1", "mme#x", "%2e", "\x1b[2J", "mmé", "команда", "a" * 600,
        ":latest", "@", "~/mme",
    ],
)  # fmt: skip
def test_what_is_no_name_of_an_image_is_refused_with_what_one_looks_like(name: str) -> None:
    with pytest.raises(SetupError, match="is not the name of a Docker image: write REPOSITORY:TAG"):
        image_of(name)
    with pytest.raises(SetupError, match="takes a Docker image .REPOSITORY:TAG, .*command:WORDS, not"):
        runnable(name, Path())
