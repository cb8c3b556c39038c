"""The network in which containers reach the emulator, at the address from which SDKs take credentials without TLS.

It is a bridge of this machine, without a way out, whose gateway is this machine at 169.254.170.2, as on Amazon ECS. The
emulator listens there for containers only: nobody else has an address in that network.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from emulator.containers.aws_settings import AwsSettings
from emulator.containers.docker.discovery import EngineInfo
from emulator.containers.docker.failures import EngineError
from emulator.containers.docker.images import Client

if TYPE_CHECKING:
    from emulator.containers.docker.engine import Engine

NAME = "localmme"  # all emulators of an engine share it, each at a port of its own
ADDRESS = "169.254.170.2"  # [api] botocore's and other SDKs' for credentials of containers
SUBNET = "169.254.170.0/24"
BACKLOG = 128
NO_AWS = "containers cannot call the emulator"  # in Engine.warned
TRIES = 3  # of what needs the network, as another emulator that ends may remove it meanwhile

T = TypeVar("T")
Listen = Callable[[socket.socket], None]  # serves what comes at a listening socket


class AwsNetwork:
    """The network, which is made when the first container needs it."""

    def __init__(self, engine: Engine, listen: Listen) -> None:
        self._engine, self._listen = engine, listen
        self._url = ""
        self._making = asyncio.Lock()

    async def url(self) -> str:
        """The emulator's for containers. Raises EngineError or OSError where there can be no such network."""
        async with self._making:
            if not self._url:
                listener = await self._bound()
                self._listen(listener)
                self._url = f"http://{ADDRESS}:{listener.getsockname()[1]}"
        return self._url

    async def _bound(self) -> socket.socket:
        """A socket that listens in the network. Raises EngineError, OSError."""

        async def bind() -> socket.socket:
            listener = socket.socket()
            try:
                listener.bind((ADDRESS, 0))
                listener.listen(BACKLOG)
            except OSError:
                listener.close()
                raise
            return listener

        await self._engine.call(_make)
        return await _retried(bind, lambda: self._engine.call(_make))

    async def connect(self, container: str) -> None:
        """Put a container, which was created and has not started, into the network as well. Raises EngineError."""
        await _retried(
            lambda: self._engine.call(lambda client: client.connect_container_to_network(container, NAME)),
            lambda: self._engine.call(_make),
        )

    async def start(self, container: str) -> None:
        """Start a container that is in the network. Raises EngineError.

        Until it runs, it does not keep another emulator that ends from removing the network.
        """

        async def connect_again() -> None:
            await self._engine.call(_make)  # an engine connects what does not run to a network that is not there
            with contextlib.suppress(EngineError):  # from the network that is gone
                await self._engine.call(
                    lambda client: client.disconnect_container_from_network(container, NAME, force=True)
                )
            await self.connect(container)

        await _retried(lambda: self._engine.call(lambda client: client.start(container)), connect_again)

    async def close(self) -> None:
        """Remove the network, unless containers of another emulator are in it."""
        if self._url:
            with contextlib.suppress(EngineError):
                await self._engine.call(lambda client: client.remove_network(NAME))


async def aws_variables(
    engine: Engine, info: EngineInfo, aws: AwsSettings | None, warn: Callable[[str], None]
) -> Mapping[str, str]:
    """The variables by which a container's code calls AWS; without those of the emulator where it cannot be reached."""
    if aws is None:
        return {}
    reason = "its containers are not in a network of this machine"
    if info.reachable:
        try:
            return aws.environment(await engine.aws_network.url())
        except EngineError as error:
            reason = error.reason
        except OSError as error:
            reason = str(error.strerror)
    if NO_AWS not in engine.warned:
        engine.warned.add(NO_AWS)
        warn(
            f"Code in the containers of this Docker Engine cannot call the emulator's AWS services: {reason}. "
            "docs/docker.md says what to do if it has to."
        )
    return aws.region_variables


async def _retried(act: Callable[[], Awaitable[T]], mend: Callable[[], Awaitable[object]]) -> T:
    """What ``act`` returns; while the network is gone, ``mend`` is called, and it is tried again."""
    for _ in range(TRIES - 1):
        try:
            return await act()
        except (EngineError, OSError) as error:
            if not _is_gone(error):
                raise
        await mend()
    return await act()


def _is_gone(error: EngineError | OSError) -> bool:
    """Whether something failed because there is no such network."""
    if isinstance(error, EngineError):
        return error.status == 404 and "network" in error.reason
    return error.errno == errno.EADDRNOTAVAIL


def is_container(peer: str) -> bool:
    """Whether a connection to ``ADDRESS`` comes from a container: this machine's own processes come from there."""
    with contextlib.suppress(ValueError):
        return peer != ADDRESS and ipaddress.ip_address(peer) in ipaddress.ip_network(SUBNET)
    return False


def _make(client: Client) -> None:
    """Make the network if it is not there. Raises docker's errors."""
    from docker.errors import APIError
    from docker.types import IPAMConfig, IPAMPool

    if _is_there(client):
        return
    pool = IPAMPool(subnet=SUBNET, gateway=ADDRESS)
    try:
        client.create_network(NAME, "bridge", ipam=IPAMConfig(pool_configs=[pool]), internal=True, check_duplicate=True)
    except APIError:
        if not _is_there(client):  # another emulator may have made it
            raise


def _is_there(client: Client) -> bool:
    found: list[Any] = client.networks(names=[NAME])
    return any(network["Name"] == NAME for network in found)
