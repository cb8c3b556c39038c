"""Finds the Docker Engine that the ``docker`` command would use, and its properties."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import psutil

from emulator import relied_on
from emulator.containers.docker.failures import one_line, root_cause
from emulator.containers.docker.images import Client
from emulator.errors import SetupError

CONNECTIONS = 64  # kept to the engine: stopping a container takes one for as long as it may take
ANY_VERSION = "1.24"  # of the engine's API, until the engine reports its own
CONNECT_SECONDS = 20.0  # for the engine's first answer
ANSWER_SECONDS = 120.0  # for any other, when nothing is sent or received
LOOPBACK = "127.0.0.1"
NO_DOCKER_NEEDED = "a container that is a --command or a --handler needs no Docker."


@dataclass(frozen=True)
class EngineInfo:
    """What has to be known of an engine to run containers on it."""

    cpus: int
    # Containers are called at their own address. Otherwise their port is published at an address of the engine's
    # machine (empty: all), and is reached at ``host``.
    reachable: bool
    publish_at: str
    host: str
    selinux: bool  # labels files, so that containers could not read what is mounted


def connect() -> tuple[Client, str]:
    """A client of the engine that the ``docker`` command would use, and its address.

    DOCKER_HOST with its companions, else the context of DOCKER_CONTEXT or of the configuration, else the default
    socket. Raises SetupError when there is none that answers.
    """
    import docker
    from docker.errors import DockerException
    from urllib3.exceptions import HTTPError

    relied_on.check(__name__)
    address = os.environ.get("DOCKER_HOST", "")
    try:
        if address:
            options = docker.utils.kwargs_from_env()
        else:
            options = _context_options()
            address = options["base_url"]
        # By ssh as the docker command does it: then the user's own configuration is honoured.
        options |= {"max_pool_size": CONNECTIONS, "use_ssh_client": address.startswith("ssh://")}
        with contextlib.closing(_client(options, ANY_VERSION, CONNECT_SECONDS)) as any_version:
            version = any_version.version(api_version=False)["ApiVersion"]
        return _client(options, version, ANSWER_SECONDS), address
    except SetupError:
        raise
    except (DockerException, HTTPError, OSError, ValueError, KeyError) as error:
        raise SetupError(_no_engine(address, error)) from None


def _client(options: dict[str, Any], version: str, seconds: float) -> Client:
    import docker

    client = docker.APIClient(**options, version=version, timeout=seconds)
    if "tls" in options:
        # Otherwise the certificates of REQUESTS_CA_BUNDLE count in place of the engine's.
        client.trust_env = False
    return client


def _context_options() -> dict[str, Any]:
    from docker.context import ContextAPI
    from docker.context.config import get_current_context_name
    from docker.errors import ContextException

    name = os.environ.get("DOCKER_CONTEXT") or get_current_context_name()
    try:
        context = ContextAPI.get_context(name)
    except ContextException as error:
        raise SetupError(f"The Docker context {name!r} cannot be read: {one_line(str(error))}") from None
    except Exception as error:  # the SDK raises a bare Exception for a file that it cannot parse
        raise SetupError(f"The Docker context {name!r} cannot be read: {one_line(str(error))}") from None
    if context is None or not context.Host:
        raise SetupError(
            f"There is no Docker context {name!r}. Choose one with `docker context use` (`docker context ls` lists "
            f"them), or set DOCKER_HOST; {NO_DOCKER_NEEDED}"
        )
    return {"base_url": context.Host, **({"tls": context.TLSConfig} if context.TLSConfig else {})}


def _no_engine(address: str, error: BaseException) -> str:
    reason = root_cause(error)
    if "paramiko" in str(error):
        return f'The Docker Engine at {address} is reached by ssh: pip install "docker[ssh]" first.'
    if "Permission denied" in reason:
        remedy = "Add yourself to the group docker (`sudo usermod -aG docker $USER`, then log in again)"
    else:
        remedy = "Start Docker"
    return (
        f"There is no Docker Engine at {address}: {reason}. {remedy}, or name another by DOCKER_HOST or "
        f"`docker context use`; {NO_DOCKER_NEEDED}"
    )


def engine_info(client: Client, address: str) -> EngineInfo:
    """Ask an engine about itself."""
    about = client.info()
    url = urlsplit(address)
    here = url.scheme in ("unix", "http+unix")
    host = LOOPBACK if here else _ssh_host(url.netloc) if url.scheme == "ssh" else url.hostname or LOOPBACK
    loopback = host in (LOOPBACK, "localhost", "::1")
    return EngineInfo(
        cpus=about.get("NCPU") or 1,
        reachable=here and _has_bridge_here(client, about),
        publish_at=LOOPBACK if loopback else "",
        host=LOOPBACK if loopback else host,
        selinux=any("selinux" in option for option in about.get("SecurityOptions") or []),
    )


def _has_bridge_here(client: Client, about: dict[str, Any]) -> bool:
    """Whether the network that containers are in is this machine's: not one inside a virtual machine or a namespace."""
    rootless = any("rootless" in option for option in about.get("SecurityOptions") or [])
    if sys.platform != "linux" or rootless or "Docker Desktop" in about.get("OperatingSystem", ""):
        return False
    from docker.errors import APIError

    try:
        settings = client.inspect_network("bridge")["IPAM"]["Config"] or []
    except APIError:
        return False
    addresses = {address.address for interface in psutil.net_if_addrs().values() for address in interface}
    return any(each.get("Gateway") in addresses for each in settings)


def _ssh_host(target: str) -> str:
    """The host name behind ``user@alias:port``: ssh has its own aliases."""
    user_and_host = target.rpartition(":")[0] if ":" in target else target
    alias = user_and_host.rpartition("@")[2]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        settings = subprocess.run(["ssh", "-G", "--", alias], capture_output=True, text=True, timeout=CONNECT_SECONDS)
        for line in settings.stdout.splitlines():
            if line.startswith("hostname "):
                return line.split()[1]
    return alias
