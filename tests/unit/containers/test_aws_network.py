"""The network in which Docker containers reach the emulator: who is let in, and what is said where there is none."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from emulator.containers.aws_settings import AwsSettings
from emulator.containers.docker.aws_network import ADDRESS, AwsNetwork, aws_variables, is_container
from emulator.containers.docker.discovery import EngineInfo
from emulator.containers.docker.failures import EngineError
from emulator.server.container_connections import OfContainer, url_for_processes

AWS = AwsSettings("eu-west-1", "http://127.0.0.1:8080", "token")
REGION_ONLY = {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1"}


@pytest.mark.parametrize("peer", ["169.254.170.3", "169.254.170.1", "169.254.170.254"])
def test_containers_are_let_in(peer: str) -> None:
    assert is_container(peer)


@pytest.mark.parametrize("peer", [ADDRESS, "127.0.0.1", "192.168.1.7", "172.17.0.2", "169.254.171.3", "::1", "", "x"])
def test_nobody_else_is(peer: str) -> None:
    assert not is_container(peer)


@pytest.mark.parametrize("peer", ["169.254.170.3", "127.0.0.1"])
def test_a_connection_is_served_or_broken_off_at_once(peer: str) -> None:
    seen: list[Any] = []

    class Transport(asyncio.Transport):
        def abort(self) -> None:
            seen.append("aborted")

        def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
            seen.append(protocol)

    class Serving(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            seen.append("served")

    serving = Serving()
    OfContainer(lambda: serving).connection_made(Transport({"sockname": (ADDRESS, 80), "peername": (peer, 1234)}))
    assert seen == ([serving, "served"] if peer == "169.254.170.3" else ["aborted"])


def test_processes_reach_the_emulator_at_a_loopback_address_whatever_its_host_is() -> None:
    listeners: list[socket.socket] = []
    for url in ("http://127.0.0.1:8080", "http://[::1]:8080"):
        assert url_for_processes(url, listeners.append) == url
    assert listeners == []
    url = url_for_processes("http://192.168.1.7:8080", listeners.append)
    (listener,) = listeners
    with listener, socket.create_connection(("127.0.0.1", int(url.removeprefix("http://127.0.0.1:")))):
        assert listener.getsockname()[0] == "127.0.0.1"


class FakeEngine:
    """An engine that refuses what the test says."""

    def __init__(self, url: str | Exception = "") -> None:
        self.warned: set[str] = set()
        self.aws_network: Any = self
        self._url = url

    async def url(self) -> str:
        if isinstance(self._url, Exception):
            raise self._url
        return self._url


@pytest.mark.parametrize(
    ("reachable", "url", "told"),
    [
        (True, f"http://{ADDRESS}:1", None),
        (True, EngineError("unix:///var/run/docker.sock", 403, "Pool overlaps with other one"), "Pool overlaps"),
        (True, OSError(99, "Cannot assign requested address"), "Cannot assign requested address"),
        (False, "", "not in a network of this machine"),
    ],
)
def test_where_containers_cannot_call_the_emulator_it_is_said_once(
    reachable: bool, url: str | Exception, told: str | None
) -> None:
    warnings: list[str] = []
    engine: Any = FakeEngine(url)
    info = EngineInfo(cpus=1, reachable=reachable, publish_at="", host="engine.example", selinux=False)
    for _ in range(2):
        variables = asyncio.run(aws_variables(engine, info, AWS, warnings.append))
        assert variables == (AWS.environment(f"http://{ADDRESS}:1") if told is None else REGION_ONLY)
    assert [told in warning for warning in warnings if told] == ([] if told is None else [True])
    assert len(warnings) == (told is not None)


def test_a_network_that_another_emulator_has_removed_meanwhile_is_made_again() -> None:
    calls: list[str] = []

    class Client:
        networks = staticmethod(lambda names: [{"Name": "localmme"}] if calls.append("look") else [])
        create_network = staticmethod(lambda *_, **__: calls.append("create"))

        @staticmethod
        def connect_container_to_network(container: str, network: str) -> None:
            calls.append("connect")
            if calls.count("connect") == 1:
                raise EngineError("unix:///", 404, "network localmme not found")

    class Engine:
        async def call(self, function: Callable[[Any], Any]) -> Any:
            return function(Client)

    engine: Any = Engine()
    asyncio.run(AwsNetwork(engine, socket.socket.close).connect("c"))
    assert calls == ["connect", "look", "create", "connect"]


@pytest.mark.parametrize("there", [True, False])
def test_a_network_that_goes_before_a_container_starts_is_made_again(there: bool) -> None:
    """An engine connects a container that does not run to a network that is not there, without a word."""
    calls: list[str] = []
    gone = EngineError("unix:///", 404, "failed to set up container networking: network localmme not found")

    class Client:
        networks = staticmethod(lambda names: [{"Name": "localmme"}] if there or "create" in calls else [])
        create_network = staticmethod(lambda *_, **__: calls.append("create"))

        @staticmethod
        def start(container: str) -> None:
            calls.append("start")
            if calls.count("start") == 1 or not Client.networks([]):
                raise gone

        @staticmethod
        def disconnect_container_from_network(container: str, network: str, force: bool) -> None:
            calls.append("disconnect")
            raise gone

        connect_container_to_network = staticmethod(lambda container, network: calls.append("connect"))

    class Engine:
        async def call(self, function: Callable[[Any], Any]) -> Any:
            return function(Client)

    engine: Any = Engine()
    asyncio.run(AwsNetwork(engine, socket.socket.close).start("c"))
    assert calls == ["start", *([] if there else ["create"]), "disconnect", "connect", "start"]


def test_another_refusal_of_a_start_is_passed_on() -> None:
    class Engine:
        async def call(self, function: Callable[[Any], Any]) -> Any:
            raise EngineError("unix:///", 404, "No such container: c")

    engine: Any = Engine()
    with pytest.raises(EngineError, match="No such container"):
        asyncio.run(AwsNetwork(engine, socket.socket.close).start("c"))
