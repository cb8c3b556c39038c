"""What a container that is a process gets of the environment that the emulator was started with."""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path

from emulator.containers.aws_settings import AwsSettings

# [ours] By these a process finds its programs, files and libraries, its devices, and its way to the network.
NAMES = {"PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"}
NAMES |= {"JAVA_HOME", "VIRTUAL_ENV", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"}
NAMES |= {"XDG_CACHE_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}
PREFIXES = ("LC_", "PYTHON", "PIP_", "CONDA_", "LOCALMME_")
PROXIES = {"http_proxy", "https_proxy", "ftp_proxy", "all_proxy"}
NO_PROXY = "no_proxy"
# Every shell sets these for itself.
OF_ANY_SHELL = {"_", "PWD", "OLDPWD", "SHELL", "SHLVL", "TERM", "EDITOR", "PAGER", "HOSTNAME", "MAIL", "DISPLAY"}

# How Python and shells say that a variable is missing, and how their files read one.
MISSED = re.compile(r"KeyError: ['\"](\w+)['\"]\s*$|\b(\w+): (?:unbound variable|parameter not set)")
READ = re.compile(rb"(?:environ(?:\.get)?|getenv)\W{1,3}['\"](\w+)['\"]|\$\{?(\w+)")
MOST_BYTES = 1 << 20  # [ours] of a file that is looked through


class InheritedEnvironment:
    """What containers inherit of the emulator's own environment, and what they miss of it.

    On SageMaker nothing of a user's shell is there, so a handler that works with it would fail after its deployment.
    """

    def __init__(self, own: Mapping[str, str], everything: bool = False) -> None:
        """``own`` is the emulator's environment; ``everything``: all of it is inherited."""
        self.everything = everything
        self.variables = {name: value for name, value in own.items() if everything or is_inherited(name)}
        self._withheld = own.keys() - self.variables.keys() - OF_ANY_SHELL

    def missed_by(self, line: str) -> str:
        """A warning about a variable that a line of a container's log says is missing; empty if there is none to give.

        There is one warning for each variable.
        """
        return self._warning(MISSED.findall(line)) if self._withheld else ""

    def missed_in(self, words: Iterable[str]) -> str:
        """The same for the variables that the files among a command's words read. Blocks."""
        found: list[tuple[str, ...]] = []
        for word in words if self._withheld else ():
            # A handler may be FILE:NAME.
            path = next((path for path in (Path(word), Path(word.rpartition(":")[0])) if path.is_file()), None)
            if path is not None and path.stat().st_size <= MOST_BYTES and b"\0" not in (text := path.read_bytes()):
                found += [tuple(name.decode("ascii", "replace") for name in names) for names in READ.findall(text)]
        return self._warning(found)

    def _warning(self, found: Iterable[tuple[str, ...]]) -> str:
        names = sorted(self._withheld.intersection(name for names in found for name in names))
        self._withheld -= set(names)
        if not names:
            return ""
        is_set, it = ("is set", "it") if len(names) == 1 else ("are set", "them")
        words = " ".join(f'--env {name}="${name}"' for name in names)
        return (
            f"{', '.join(names)} {is_set} in the shell of localmme serve, but the container does not get {it}, as on "
            f"SageMaker: give {it} by {words}, or all variables by --inherit-env."
        )


def container_environment(
    inherited: InheritedEnvironment,
    aws: AwsSettings | None,
    requested: Mapping[str, str],
    of_platform: Mapping[str, str],
) -> dict[str, str]:
    """All variables of a container. Those ``requested`` outweigh all but the platform's own.

    This machine and the emulator are called directly, not through a proxy.
    """
    environment = {**inherited.variables, **_aws_environment(inherited, aws), **requested}
    address = urllib.parse.urlsplit(aws.url).hostname if aws is not None else None
    direct = past_proxies(environment, dict.fromkeys(["127.0.0.1", "localhost", *([address] if address else ())]))
    return {**environment, **direct, **of_platform}


def _aws_environment(inherited: InheritedEnvironment, aws: AwsSettings | None) -> dict[str, str]:
    if aws is None or inherited.everything:  # then the shell says how AWS is called
        return {}
    # The user's own files would come before the execution role. On SageMaker there are none.
    return {**aws.environment(aws.url), "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


def is_inherited(name: str) -> bool:
    """Whether containers get this variable of the emulator's."""
    return name in NAMES or name.startswith(PREFIXES) or name.lower() in {*PROXIES, NO_PROXY}


def past_proxies(environment: Mapping[str, str], hosts: Iterable[str]) -> dict[str, str]:
    """The variables by which these hosts are called directly; none if the environment has no proxy."""
    if not any(name.lower() in PROXIES and value for name, value in environment.items()):
        return {}
    direct = [host for host in (environment.get(NO_PROXY) or environment.get(NO_PROXY.upper(), "")).split(",") if host]
    names = ",".join([*direct, *(host for host in hosts if host not in direct)])
    return {NO_PROXY: names, NO_PROXY.upper(): names}
