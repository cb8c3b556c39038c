"""Reads command lines of ``docker``, ``podman`` and ``finch`` that are about a registry."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from localmme.engine_cli.flags import BOOLEANS, FALSE, TRUE, parse, takes_value

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
LONG = {"-u": "--username", "-p": "--password", "-a": "--all-tags", "-q": "--quiet"}


@dataclass(frozen=True)
class RegistryCommand:
    """A login, a push or a pull."""

    verb: str
    argument: str  # the registry's host, or the image
    options: Mapping[str, str]  # by their long names; switches that are on have ""
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
        _, rest = parse(words, BEFORE_COMMAND, stops_at_argument=True)
        engine = tuple(words[: len(words) - len(rest)])
        builds = ["build"]
        if rest[:1] == ["buildx"]:
            _, rest = parse(rest[1:], BUILDX, stops_at_argument=True)
            builds = ["build", "b"]
        elif rest[:1] in (["image"], ["builder"]):
            rest = rest[1:]
        if not rest or rest[0] not in builds:
            return None
        before = words[: len(words) - len(rest) + 1]
        options, arguments = parse(rest[1:], BUILD)
        outputs = [_attributes(value) for name, value in options if name in ("-o", "--output")]
    except (ValueError, csv.Error):
        return None
    pushed = [output for output in outputs if _pushes(output)]
    if dict(options).get("--push") != TRUE and not pushed:
        return None
    kept = [(name, value) for name, value in options if name not in ("--push", "--load")
            and not (name in ("-o", "--output") and _pushes(_attributes(value)))]  # fmt: skip
    tags = [value for name, value in kept if name in ("-t", "--tag")]
    if not tags:  # else they are the names
        tags = [name for output in pushed for name in output.get("name", "").split(",") if name]
        kept += [("--tag", tag) for tag in tags]
    own = [word for name, value in kept for word in _words(name, value)]
    is_quiet = {LONG.get(name, name): value for name, value in kept}.get("--quiet") == TRUE
    return BuildCommand((*before, "--load", *own, *arguments), tuple(tags), engine, is_quiet)


def _words(name: str, value: str) -> tuple[str, ...]:
    if takes_value(name, BUILD):
        return name, value
    return (name if value == TRUE else f"{name}={value}",)


def _attributes(output: str) -> dict[str, str]:
    """Those of an ``--output``, which is one line of CSV: https://docs.docker.com/build/exporters/."""
    (fields,) = csv.reader([output]) if output else ([],)
    return {key.strip().lower(): value for key, _, value in (field.partition("=") for field in fields)}


def _pushes(output: Mapping[str, str]) -> bool:
    return output.get("type") == "registry" or (
        output.get("type") == "image" and BOOLEANS.get(output.get("push", "")) == TRUE
    )


def read(words: Sequence[str]) -> RegistryCommand | None:
    """None for all that is something else, or has an option that is not known here: the real program knows."""
    try:
        _, rest = parse(words, BEFORE_COMMAND, stops_at_argument=True)
        engine = tuple(words[: len(words) - len(rest)])
        verb, *rest = rest[1:] if rest[:1] == ["image"] else rest
        known = OPTIONS[verb]
        found, arguments = parse(rest, known)
        (argument,) = arguments
    except (ValueError, KeyError):
        return None
    by_long = {LONG.get(name, name): (name, value) for name, value in found}
    options = {long: value for long, (name, value) in by_long.items() if takes_value(name, known) or value != FALSE}
    return RegistryCommand(verb, argument, options, engine)
