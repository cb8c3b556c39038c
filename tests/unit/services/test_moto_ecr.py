"""Which images of the local engine count as pushed to a repository, and under which tags."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emulator.services.moto_services.ecr import local_image
from tests.support.aws_clients import ACCOUNT

ID, DIGEST = "sha256:" + "1" * 64, "sha256:" + "2" * 64
REGISTRY = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com"


def image(*tags: str, digests: tuple[str, ...] = ()) -> Any:
    listed = {"Id": ID, "Size": 1000, "Created": 1_700_000_000, "RepoTags": list(tags), "RepoDigests": list(digests)}
    return local_image(listed, "team/server", {"taken"})


@pytest.mark.parametrize(
    "names, tags",
    [
        (["team/server:1"], ["1"]),
        (["team/server:2", f"{REGISTRY}/team/server:1", f"{REGISTRY}/team/server:2"], ["1", "2"]),
        (["team/server:taken", "team/server:free"], ["free"]),
        (["team/server:taken"], []),
        (["server:1", "team/server2:1", "999999999999.dkr.ecr.eu-west-1.amazonaws.com/team/server:1"], []),
        ([], []),
    ],
)
def test_its_tags_are_those_under_the_repository_s_name(names: list[str], tags: list[str]) -> None:
    made = image(*names)
    assert made.image_tags == tags
    assert made.image_pushed_at == 1_700_000_000


@pytest.mark.parametrize(
    "digests, digest",
    [
        ((f"{REGISTRY}/team/server@{DIGEST}",), DIGEST),
        ((f"other@{ID}", f"team/server@{DIGEST}"), DIGEST),
        ((f"other@{DIGEST}",), ID),  # it was never pushed there: its own id stands for it
        ((), ID),
    ],
)
def test_its_digest_is_that_in_the_repository_if_it_has_one(digests: tuple[str, ...], digest: str) -> None:
    made = image("team/server:1", digests=digests)
    assert made.get_image_digest() == digest
    assert json.loads(made.image_manifest)["config"] == {
        "mediaType": "application/vnd.docker.container.image.v1+json",
        "size": 1000,
        "digest": ID,
    }
