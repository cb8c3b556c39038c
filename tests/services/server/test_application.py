"""The start and the end of all that one worker serves."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator.containers.connection_pool import ConnectionPool
from emulator.containers.docker.engine import Engine
from emulator.limits import Limits
from emulator.server.application import Application
from emulator.server.settings import ServerSettings
from emulator.services.s3 import app as s3_app
from emulator.services.sagemaker.registry import Registry
from emulator.services.sagemaker.start_requests import StartRequests
from emulator.state_directory import StateDirectory
from emulator.storage.keys import RESERVED
from emulator.timeouts import in_time
from tests.support.asgi_client import Response, http_scope, respond
from tests.support.control_plane import ROLE, variant_of
from tests.support.fake_containers import FakeContainers
from tests.support.files import archive


@pytest.fixture
def application(tmp_path: Path) -> Iterator[Callable[[], Application]]:
    """Makes applications, one after the other, which have ``tmp_path`` as state directory and its ``s3`` for S3."""
    (tmp_path / "s3" / "bucket" / "models").mkdir(parents=True)
    with socket.socket() as listener:
        settings = ServerSettings(listener, "http://localhost", StateDirectory(tmp_path), tmp_path / "s3")
        yield lambda: Application(settings, StartRequests(), Limits())


@contextlib.asynccontextmanager
async def started(application: Application) -> AsyncIterator[Application]:
    await application.start(asyncio.Event())
    try:
        yield application
    finally:
        await application.stop()


async def sagemaker(application: Application, operation: str, **members: Any) -> Response:
    scope = http_scope("POST", "/", {"X-Amz-Target": f"SageMaker.{operation}"})
    return await respond(application.gateway, scope, json.dumps(members).encode())


async def status(application: Application) -> str:
    response = await sagemaker(application, "DescribeEndpoint", EndpointName="e")
    assert response.status == 200, response
    return response.json()["EndpointStatus"]


async def create_endpoint(application: Application) -> None:
    container = {"Image": "command:true", "Mode": "MultiModel", "ModelDataUrl": "s3://bucket/models/"}
    for operation, members in (
        ("CreateModel", {"ModelName": "m", "ExecutionRoleArn": ROLE, "PrimaryContainer": container}),
        ("CreateEndpointConfig", {"EndpointConfigName": "c", "ProductionVariants": [variant_of("m")]}),
        ("CreateEndpoint", {"EndpointName": "e", "EndpointConfigName": "c"}),
    ):
        response = await sagemaker(application, operation, **members)
        assert response.status == 200, response


async def until_in_service(application: Application) -> None:
    async def look() -> None:
        while await status(application) != "InService":
            await asyncio.sleep(0.001)

    await in_time(look(), 20)


def test_an_endpoint_is_creating_again_while_containers_of_a_killed_emulator_are_removed(
    application: Callable[[], Application], containers: FakeContainers, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[bool] = []

    async def sweep(_: Engine) -> list[str]:
        while not removed:
            await asyncio.sleep(0.001)
        return []

    async def create() -> None:
        async with containers.serving(), started(application()) as before:
            await create_endpoint(before)
            await until_in_service(before)

    async def restore() -> None:
        async with containers.serving(), started(application()) as again:
            assert await status(again) == "Creating"
            listed = (await sagemaker(again, "ListEndpoints")).json()["Endpoints"]
            assert [(each["EndpointName"], each["EndpointStatus"]) for each in listed] == [("e", "Creating")]
            invoked = await respond(again.gateway, http_scope("POST", "/endpoints/e/invocations"), b"?")
            assert invoked.status == 503 and b"Creating" in invoked.body, invoked
            deleted = await sagemaker(again, "DeleteEndpoint", EndpointName="e")
            assert deleted.status == 400 and b"in-progress" in deleted.body, deleted
            assert containers.running == 0
            removed.append(True)
            await until_in_service(again)

    asyncio.run(create())
    monkeypatch.setattr(Engine, "has_leftovers", lambda _: True)
    monkeypatch.setattr(Engine, "sweep", sweep)
    asyncio.run(restore())
    assert containers.running == 0


def test_an_invocation_for_which_no_connection_may_be_opened_says_what_to_do(
    application: Callable[[], Application], containers: FakeContainers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        archive(tmp_path / "s3" / "bucket" / "models" / name, {"model": name})

    async def exhausted(_: ConnectionPool) -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async def invoke(application: Application, target_model: str) -> Response:
        headers = {"X-Amzn-SageMaker-Target-Model": target_model}
        return await respond(application.gateway, http_scope("POST", "/endpoints/e/invocations", headers), b"?")

    async def scenario() -> None:
        async with containers.serving(), started(application()) as subject:
            await create_endpoint(subject)
            await until_in_service(subject)
            assert (await invoke(subject, "a")).status == 200
            monkeypatch.setattr(ConnectionPool, "_idle_connection", lambda _: None)
            monkeypatch.setattr(ConnectionPool, "_open_connection", exhausted)
            for target_model in ("a", "b"):  # which is loaded, and which is not
                response = await invoke(subject, target_model)
                assert response.status == 503 and b"ulimit -n is" in response.body, response

    asyncio.run(scenario())


HELD_UP = {"registry": (Registry, "open"), "S3": (s3_app, "open_store")}


@pytest.mark.parametrize("where", HELD_UP)
def test_a_start_that_is_broken_off_ends_what_it_has_started(
    application: Callable[[], Application], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    (tmp_path / "s3" / RESERVED).mkdir()
    reached, goes_on = threading.Event(), threading.Event()
    holder, name = HELD_UP[where]
    function = getattr(holder, name)

    def held_up(*arguments: Any) -> Any:
        reached.set()
        assert goes_on.wait(20)
        return function(*arguments)

    monkeypatch.setattr(holder, name, held_up)

    async def scenario() -> None:
        subject = application()
        starting = asyncio.ensure_future(subject.start(asyncio.Event()))
        while not reached.is_set():
            await asyncio.sleep(0.001)
        starting.cancel()
        await asyncio.sleep(0)
        goes_on.set()
        await asyncio.wait([starting])
        assert starting.cancelled()
        await subject.stop()  # there is nothing left to stop
        assert asyncio.all_tasks() == {asyncio.current_task()}

    before = set(threading.enumerate())
    asyncio.run(scenario())
    assert set(threading.enumerate()) <= before  # some of other tests may have ended meanwhile
    assert not (tmp_path / "instances").exists()
