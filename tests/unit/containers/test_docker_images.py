"""Which texts are names of Docker images, for ``Image`` of the API and for ``--image``."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.containers.docker.images import how_to_get, local_names, names_elsewhere, repository, similar_images
from emulator.containers.launch import Image
from emulator.errors import SetupError
from emulator.services.sagemaker.image import image_of, image_or_command

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
    assert image_of(name) == image_or_command(name, Path()) == Image(name)


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
        image_or_command(name, Path())


def test_an_image_of_somebody_else_is_to_be_pulled_and_one_of_ones_own_to_be_built() -> None:
    assert how_to_get("mme:1") == "Build it with `docker build -t mme:1 .`, or pull it."
    own = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mme:1"
    assert how_to_get(own) == "Build it with `docker build -t mme:1 .`, or pull it."
    host = "763104351884.dkr.ecr.us-west-2.amazonaws.com"
    advice = how_to_get(f"{host}/pytorch-inference:2.3")
    assert f"--region us-west-2 | docker login --username AWS --password-stdin {host}`" in advice
    assert f"`docker pull {host}/pytorch-inference:2.3`" in advice
    assert "docker build" not in advice and "`docker tag MINE pytorch-inference:2.3`" in advice


def test_names_of_images_are_taken_apart() -> None:
    assert local_names("1.dkr.ecr.eu-west-1.amazonaws.com/a") == ["1.dkr.ecr.eu-west-1.amazonaws.com/a"]
    china = "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/a/b@sha256:1"
    assert local_names(china) == [china, "a/b@sha256:1"]
    for host in ("dkr-ecr.eu-west-1.on.aws", "dkr-ecr-fips.us-east-1.on.aws",
                 "dkr-ecr.cn-north-1.on.amazonwebservices.com.cn"):  # fmt: skip
        assert local_names(f"123456789012.{host}/a:1") == [f"123456789012.{host}/a:1", "a:1"]
    here, there = (f"123456789012.dkr.ecr.{region}.amazonaws.com/a/b" for region in ("us-east-1", "us-west-2"))
    awss = "763104351884.dkr.ecr.eu-west-1.amazonaws.com/a/b:latest"
    names = [awss, f"{there}:latest", f"{there}:v1", f"{there}-c:latest", f"{there}@sha256:1", "a/b:latest"]
    assert names_elsewhere(here, names) == [f"{there}:latest", awss]
    assert names_elsewhere(f"{here}:v1", names) == [f"{there}:v1"]
    assert names_elsewhere(f"{here}@sha256:1", names) == [f"{there}@sha256:1"]
    assert names_elsewhere(f"{here}:v2", names) == names_elsewhere("a/b:v1", names) == []
    assert repository("localhost:5000/a/b") == "localhost:5000/a/b"
    assert repository("localhost:5000/a/b:c") == "localhost:5000/a/b"
    tags = ["server:v1", "server:v2", "sever:v3", "other:v1"]
    assert similar_images("server", tags) == ["server:v1", "server:v2"]
    assert similar_images("servre:v1", tags) == ["server:v1", "server:v2", "sever:v3"]
    assert similar_images("completely-different", tags) == []
