"""Reads command lines of ``docker``, ``podman`` and ``finch`` that are about a registry."""

from __future__ import annotations

import getopt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# https://docs.docker.com/reference/cli/docker/ and, for the long ones, podman's and nerdctl's manuals
BEFORE_COMMAND = (
    "Dc:H:l:",
    ["config=", "connection=", "context=", "debug", "host=", "log-level=", "namespace=", "tls", "tlscacert=",
     "tlscert=", "tlskey=", "tlsverify", "url="],
)  # fmt: skip
TRANSFER = ("aq", ["all-tags", "disable-content-trust", "platform=", "quiet"])
OPTIONS = {
    "login": ("u:p:", ["username=", "password=", "password-stdin"]),
    "push": TRANSFER,
    "pull": TRANSFER,
}
BUILDX = ("D", ["builder=", "debug"])  # between docker buildx and build
# https://docs.docker.com/reference/cli/docker/buildx/build/ and, for the older builder, .../docker/image/build/
BUILD = (
    "Dc:f:m:o:qt:",
    ["add-host=", "allow=", "annotation=", "attest=", "build-arg=", "build-context=", "builder=", "cache-from=",
     "cache-to=", "call=", "cgroup-parent=", "check", "compress", "cpu-period=", "cpu-quota=", "cpu-shares=",
     "cpuset-cpus=", "cpuset-mems=", "debug", "file=", "force-rm", "iidfile=", "isolation=", "label=", "load",
     "memory=", "memory-swap=", "metadata-file=", "network=", "no-cache", "no-cache-filter=", "output=", "platform=",
     "policy=", "progress=", "provenance=", "pull", "push", "quiet", "rm", "sbom=", "secret=", "security-opt=",
     "shm-size=", "ssh=", "squash", "tag=", "target=", "ulimit="],
)  # fmt: skip
OUTPUTS = ("type=registry", "type=image,push=true", "push=true,type=image")  # which push
LONG = {"-u": "--username", "-p": "--password", "-a": "--all-tags", "-q": "--quiet"}


@dataclass(frozen=True)
class RegistryCommand:
    """A login, a push or a pull."""

    verb: str
    argument: str  # the registry's host, or the image
    options: Mapping[str, str]  # by their long names; those without a value have ""
    engine: tuple[str, ...]  # the words before the verb, which say on what engine


@dataclass(frozen=True)
class BuildCommand:
    """A build that pushes what it has built."""

    words: tuple[str, ...]  # of the same build that does not push: the engine has the image then
    tags: tuple[str, ...]
    engine: tuple[str, ...]  # the words before the verb, which say on what engine
    is_quiet: bool


def read_build(words: Sequence[str]) -> BuildCommand | None:
    """None for all but a build that pushes, or if it has an option that is not known here."""
    try:
        _, rest = getopt.getopt(list(words), *BEFORE_COMMAND)
        engine = tuple(words[: len(words) - len(rest)])
        if rest[:1] == ["buildx"]:
            _, rest = getopt.getopt(rest[1:], *BUILDX)
        elif rest[:1] in (["image"], ["builder"]):
            rest = rest[1:]
        if rest[:1] != ["build"]:
            return None
        before = words[: len(words) - len(rest) + 1]
        options, arguments = getopt.gnu_getopt([_flag(word) for word in rest[1:]], *BUILD)
    except getopt.GetoptError:
        return None
    kept = [(name, value) for name, value in options if name != "--push" and not _pushes(name, value)]
    if len(kept) == len(options):
        return None
    own = [word for name, value in kept for word in ((name, value) if _takes_value(name) else (name,))]
    tags = tuple(value for name, value in kept if name in ("-t", "--tag"))
    is_quiet = any(name in ("-q", "--quiet") for name, _ in kept)
    return BuildCommand((*before, "--load", *own, *arguments), tags, engine, is_quiet)


def _flag(word: str) -> str:
    """``--push`` for ``--push=true``."""
    name, _, value = word.partition("=")
    return name if value == "true" and name[2:] in BUILD[1] else word


def _takes_value(name: str) -> bool:
    return f"{name[1:]}:" in BUILD[0] or f"{name[2:]}=" in BUILD[1]


def _pushes(name: str, value: str) -> bool:
    return name in ("-o", "--output") and value in OUTPUTS


def read(words: Sequence[str]) -> RegistryCommand | None:
    """None for all that is something else, or has an option that is not known here: the real program knows."""
    try:
        _, rest = getopt.getopt(list(words), *BEFORE_COMMAND)
        engine = tuple(words[: len(words) - len(rest)])
        verb, *rest = rest[1:] if rest[:1] == ["image"] else rest
        options, arguments = getopt.gnu_getopt(rest, *OPTIONS[verb])
        (argument,) = arguments
    except (getopt.GetoptError, ValueError, KeyError):
        return None
    return RegistryCommand(verb, argument, {LONG.get(name, name): value for name, value in options}, engine)
