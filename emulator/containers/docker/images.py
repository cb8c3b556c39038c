"""Images of a Docker Engine: found by the names that people use, pulled, or reported as missing with advice."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from emulator.aws.arn import ACCOUNT_ID, partition_of
from emulator.suggestions import similar_names

Client = Any  # docker.APIClient, which has no types

# Before /repository, then :tag or @digest: by IPv4, and by both IPv4 and IPv6.
# https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-requests.html
_ECR_HOST = re.compile(
    r"(?P<account>\d{12})\.dkr(?:\.ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?P<china>\.cn)?"
    r"|-ecr(?:-fips)?\.(?P<region_6>[a-z0-9-]+)\.on\.(?:aws|(?P<china_6>amazonwebservices\.com\.cn)))",
    re.ASCII,
)
# What Docker takes as a reference: [host[:port]/]repository[:tag][@digest], or an image's id.
# https://pkg.go.dev/github.com/distribution/reference
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::\d+)?"
_STEP = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"sha256:[0-9a-f]{{6,64}}|(?:{_HOST}/)?{_STEP}(?:/{_STEP})*(?::\w[\w.-]{{0,127}})?(?:@\w+:[0-9a-fA-F]{{32,}})?",
    re.ASCII,
)
LONGEST_REFERENCE = 512  # [ours] two names of the longest kind: Docker takes a repository of 255 characters
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # of an engine's containers
STEP = 0.01  # of the fraction, below which progress is not worth telling
MOST_NAMED = 5  # images in an error message


@dataclass(frozen=True)
class InspectedImage:
    """An image as the engine describes it."""

    id: str
    reference: str  # as requested
    labels: Mapping[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()
    architecture: str = ""  # as engines call it: amd64, arm64
    media_type: str = ""  # of its manifest; empty = the engine keeps none, or does not say
    size_bytes: int = 0
    user: str = ""  # empty = root
    path: str = ""  # the variable PATH
    working_directory: str = "/"


@dataclass(frozen=True)
class EcrRegistry:
    """An account's registry in a region, by the name of its host."""

    host: str
    account: str
    region: str

    @classmethod
    def at(cls, host: str) -> EcrRegistry | None:
        """None for a host that is not one of ECR."""
        match = _ECR_HOST.fullmatch(host)
        if match is None:
            return None
        region = match["region"] or match["region_6"]
        if (partition_of(region) == "aws-cn") != bool(match["china"] or match["china_6"]):
            return None
        return cls(host, match["account"], region)

    @property
    def is_ours(self) -> bool:
        """Whether it is of the emulator's account, which is the same in all regions."""
        return self.account == ACCOUNT_ID


def is_reference(text: str) -> bool:
    """Whether an image can have that name."""
    return len(text) <= LONGEST_REFERENCE and _REFERENCE.fullmatch(text) is not None


def find_image(client: Client, reference: str) -> InspectedImage | None:
    """The image that the engine has under that reference, if it has; see ``local_names`` and ``names_elsewhere``."""
    from docker.errors import ImageNotFound, NullResource

    for name in names_to_try(client, reference):
        try:
            about = client.inspect_image(name)
        except (ImageNotFound, NullResource):
            continue
        config = about.get("Config") or {}
        return InspectedImage(
            id=about["Id"],
            reference=reference,
            labels=config.get("Labels") or {},
            entrypoint=tuple(config.get("Entrypoint") or ()),
            architecture=about.get("Architecture") or "",
            media_type=(about.get("Descriptor") or {}).get("mediaType", ""),
            size_bytes=about.get("Size") or 0,
            user=config.get("User") or "",
            path=dict(each.partition("=")[::2] for each in config.get("Env") or ()).get("PATH", DEFAULT_PATH),
            working_directory=config.get("WorkingDir") or "/",
        )
    return None


def names_to_try(client: Client, reference: str) -> Iterator[str]:
    """Under what names an engine may have an image; all of its images are looked at only if that is needed."""
    yield from local_names(reference)
    if in_ecr(reference):
        images = client.images()
        yield from names_elsewhere(reference, (name for image in images for name in names_of(image)))


def local_names(reference: str) -> list[str]:
    """The names of an image that need no search: in place of one in ECR, one that was built here will do."""
    ecr = in_ecr(reference)
    return [reference, ecr[1]] if ecr else [reference]


def names_elsewhere(reference: str, names: Iterable[str]) -> list[str]:
    """Those of an engine's names that are the same image of ECR in another region, or else in another account.

    All regions are one here, and the accounts that AWS keeps its images in differ from region to region.
    """
    registry, wanted = in_ecr(reference) or (None, "")
    alike = [(ecr[0], name) for name in names if (ecr := in_ecr(name)) and ecr[1] == tagged(wanted)]
    return [name for _, name in sorted(alike, key=lambda each: registry is None or each[0].account != registry.account)]


def in_ecr(reference: str) -> tuple[EcrRegistry, str] | None:
    """The registry of an image in ECR, and its name there; None for one that is elsewhere."""
    host, _, local = reference.partition("/")
    registry = EcrRegistry.at(host)
    return (registry, local) if registry and local else None


def names_of(image: Mapping[str, Any]) -> list[str]:
    """The names by tag and by digest of an image as the engine lists it."""
    return [*(image.get("RepoTags") or ()), *(image.get("RepoDigests") or ())]


def tagged(name: str) -> str:
    """A reference with the tag that it has if it names none."""
    return f"{name}:latest" if repository(name) == name else name


class Pull:
    """One pull of an image, which tells how far it has come as a fraction of the layers' bytes known so far."""

    def __init__(self, reference: str, progress: Callable[[float], object]) -> None:
        """``progress`` is called in the thread of ``run``, with fractions below 1 that only grow."""
        self.cancelled = False  # may be set from any thread; then run returns after the engine's next words
        self._reference, self._progress = reference, progress
        self._layers: dict[str, tuple[int, int]] = {}
        self._told = 0.0

    def run(self, client: Client) -> None:
        """Pull it, by the credentials that the ``docker`` command has. Raises docker's errors."""
        from docker.errors import DockerException

        if self._reference.startswith("sha256:") or not self._reference:
            raise DockerException("an image cannot be pulled by its id")
        lines = client.pull(self._reference, stream=True, decode=True)
        try:
            for line in lines:
                if self.cancelled:
                    return
                if "error" in line:
                    raise DockerException(line["error"])
                self._note(line)
        finally:
            lines.close()  # by which the engine stops, if it is not through

    def _note(self, line: Mapping[str, Any]) -> None:
        layer, status = line.get("id", ""), line.get("status", "")
        detail = line.get("progressDetail") or {}
        if status == "Downloading" and detail.get("total"):
            self._layers[layer] = (detail.get("current", 0), detail["total"])
        elif status in ("Download complete", "Pull complete") and layer in self._layers:
            total = self._layers[layer][1]
            self._layers[layer] = (total, total)
        done, total = (sum(figures) for figures in zip(*self._layers.values())) if self._layers else (0, 0)
        # More layers become known on the way: then it would fall.
        if total and (fraction := min(done / total, 0.99)) - self._told >= STEP:
            self._told = fraction
            self._progress(fraction)


def no_such_image(client: Client, address: str, reference: str, reason: str) -> str:
    """The error for an image that does not exist."""
    similar = similar_images(reference, (tag for image in client.images() for tag in image.get("RepoTags") or ()))
    return (
        f"There is no image {reference} on the Docker Engine at {address}, and it cannot be pulled: "
        f"{reason.rstrip('.')}. {how_to_get(reference)}" + (f" The engine has {', '.join(similar)}." if similar else "")
    )


def how_to_get(reference: str) -> str:
    """How to get an image. One in another account's registry can only be pulled."""
    own, ecr = local_names(reference)[-1], in_ecr(reference)
    if ecr is None or ecr[0].is_ours:
        return f"Build it with `docker build -t {own} .`, or pull it."
    return (
        "If it is in AWS's registry, log in and pull it, in a shell in which AWS_ENDPOINT_URL is not set: `aws ecr "
        f"get-login-password --region {ecr[0].region} | docker login --username AWS --password-stdin {ecr[0].host}`, "
        f"`docker pull {reference}`. An image of your own takes its place by `docker tag MINE {own}`."
    )


def similar_images(reference: str, tags: Iterable[str]) -> list[str]:
    """The engine's images of the same repository, or else of names that look alike."""
    known = sorted(tag for tag in tags if tag != "<none>:<none>")
    wanted = repository(local_names(reference)[-1])
    same = [tag for tag in known if repository(tag) == wanted]
    if not same:
        alike = similar_names(wanted, {repository(tag) for tag in known})
        same = [tag for name in alike for tag in known if repository(tag) == name]
    return same[:MOST_NAMED]


def repository(reference: str) -> str:
    """A reference without its tag and digest. A colon before a slash belongs to a registry's port."""
    name = reference.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name
