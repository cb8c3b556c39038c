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
LONG = {"-u": "--username", "-p": "--password", "-a": "--all-tags", "-q": "--quiet"}


@dataclass(frozen=True)
class RegistryCommand:
    """A login, a push or a pull."""

    verb: str
    argument: str  # the registry's host, or the image
    options: Mapping[str, str]  # by their long names; those without a value have ""
    engine: tuple[str, ...]  # the words before the verb, which say on what engine


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
