"""moto's ECR, in which the local engine's images count as pushed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.responses import ActionResult
from moto.ecr.models import Image
from moto.ecr.responses import ECRResponse

from emulator import relied_on
from emulator.containers.docker.images import in_ecr

TOKEN_LASTS = timedelta(hours=12)  # [api]
MANIFEST, CONFIG = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.container.image.v1+json",
)
relied_on.check(__name__)


def install() -> None:
    """Have moto give authorization tokens that are good from now on; its own expired in 2015."""
    ECRResponse.get_authorization_token = _authorization_token  # type: ignore[method-assign]


_of_moto = ECRResponse.get_authorization_token


def _authorization_token(self: ECRResponse) -> ActionResult:
    answer = _of_moto(self)
    given: Any = answer.result
    for each in given["authorizationData"]:
        each["expiresAt"] = datetime.now(timezone.utc) + TOKEN_LASTS
    return answer


class LocalImage(Image):
    """An image of the local engine, which counts as pushed."""


def local_image(image: Mapping[str, Any], repository: str, taken: set[str]) -> LocalImage:
    """An image as the engine lists it, with the tags that it has under a repository's name, less those that are taken.

    The name may be in the account's registry of any region: all regions are one.
    """
    names = [reference.rpartition(":") for reference in image.get("RepoTags") or ()]
    tags = sorted({tag for name, _, tag in names if _is(repository, name)} - taken)
    config = {"mediaType": CONFIG, "size": image["Size"], "digest": image["Id"]}
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []}
    digests = [digest.partition("@") for digest in image.get("RepoDigests") or ()]
    digest = next((digest for name, _, digest in digests if _is(repository, name)), image["Id"])
    local = LocalImage(DEFAULT_ACCOUNT_ID, tags[-1] if tags else "", json.dumps(manifest), repository, MANIFEST, digest)
    local.image_tags = tags
    local.image_pushed_at = image["Created"]
    return local


def _is(repository: str, name: str) -> bool:
    found = in_ecr(name)
    return name == repository or (found is not None and found[0].is_ours and found[1] == repository)
