"""Multi Model Server, started by the SageMaker Inference Toolkit, as the emulator's container."""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.aws_clients import refused
from tests.support.emulator_in_process import InProcessEmulator
from tests.support.files import archive
from tests.support.processes import named
from tests.support.real_servers import mms
from tests.support.real_servers.models import mms_model
from tests.support.real_servers.served import served
from tests.support.waiting import eventually

pytestmark = pytest.mark.real
MOST = 3  # models that may be loaded


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s3")


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory, bucket: Path) -> Iterator[InProcessEmulator]:
    with served(mms, bucket, tmp_path_factory.mktemp("state"), MOST) as emulator:
        yield emulator


def multiplied(emulator: InProcessEmulator, target_model: str, number: int) -> bool:
    """Whether the model that multiplies by this number answers."""
    answer = emulator.invoke(target_model, b"6", ContentType="text/plain")
    assert answer == str(6.0 * number).encode()
    return True


def test_models_are_loaded_invoked_evicted_and_loaded_again(emulator: InProcessEmulator, bucket: Path) -> None:
    names = [f"numbers/{number}.tar.gz" for number in range(1, MOST + 2)]
    for number, name in enumerate(names, 1):
        mms_model(bucket, name, number)
        multiplied(emulator, name, number)
    assert emulator.in_memory() == set(names[1:])
    assert set(names) <= emulator.on_disk()
    multiplied(emulator, names[0], 1)
    first = emulator.model(names[0])
    assert (first["loads"], first["downloads"], first["invocations"]) == (2, 1, 2)
    assert emulator.in_memory() == {names[0], *names[2:]}


def test_many_callers_of_a_cold_model_load_it_once(emulator: InProcessEmulator, bucket: Path) -> None:
    mms_model(bucket, "cold.tar.gz", 9)
    emulator.client()
    with ThreadPoolExecutor(50) as callers:
        assert all(callers.map(lambda _: multiplied(emulator, "cold.tar.gz", 9), range(50)))
    model = emulator.model("cold.tar.gz")
    assert (model["downloads"], model["loads"], model["invocations"]) == (1, 1, 50)


def test_bodies_and_content_types_pass_byte_for_byte(emulator: InProcessEmulator, bucket: Path) -> None:
    mms_model(bucket, "bytes.tar.gz", 1)
    body = os.urandom(2_000_000)
    response = emulator.client().invoke_endpoint(
        EndpointName="local",
        TargetModel="bytes.tar.gz",
        ContentType="application/octet-stream",
        CustomAttributes="trace=1",
        Body=body,
    )
    assert response["Body"].read() == body
    assert response["ContentType"] == "application/octet-stream"
    assert response["CustomAttributes"] == "trace=1"


def test_out_of_memory_unloads_all_that_is_idle_and_forgets_the_model(
    emulator: InProcessEmulator, bucket: Path
) -> None:
    mms_model(bucket, "small.tar.gz", 2)
    mms_model(bucket, "large.tar.gz", 3, out_of_memory=True)
    multiplied(emulator, "small.tar.gz", 2)
    for _ in range(2):  # a second time as the first: nothing of it stayed registered
        refusal = refused(emulator.invoke, "large.tar.gz", b"6", ContentType="text/plain")
        assert refusal.from_the_container == ("ModelError", 507)
        assert not emulator.in_memory()
    mms_model(bucket, "large.tar.gz", 3)
    assert emulator.model("small.tar.gz")["on_disk"]
    multiplied(emulator, "small.tar.gz", 2)


def test_a_handler_that_fails_is_a_model_error(emulator: InProcessEmulator, bucket: Path) -> None:
    mms_model(bucket, "fails.tar.gz", 2)
    refusal = refused(emulator.invoke, "fails.tar.gz", b"no number", ContentType="text/plain")
    assert refusal.from_the_container == ("ModelError", 503)
    assert "Prediction failed" in refusal.response["OriginalMessage"]
    emulator.wait_until_logged("could not convert string to float")


def test_an_archive_without_a_model_is_a_model_error(emulator: InProcessEmulator, bucket: Path) -> None:
    archive(bucket / "empty.tar.gz", {"nothing": "here"})
    for _ in range(2):
        refusal = refused(emulator.invoke, "empty.tar.gz", b"1", ContentType="text/plain")
        assert refusal.from_the_container == ("ModelError", 500)
    assert "empty.tar.gz" not in emulator.in_memory()


def test_a_model_that_the_server_no_longer_has_is_loaded_again(emulator: InProcessEmulator, bucket: Path) -> None:
    mms_model(bucket, "lost.tar.gz", 8)
    multiplied(emulator, "lost.tar.gz", 8)
    instance = emulator.instance()
    [name] = [m["model_name"] for m in instance["memory"]["models"] if m["target_model"] == "lost.tar.gz"]
    behind = http.client.HTTPConnection(instance["containers"][0]["address"])
    behind.request("DELETE", f"/models/{name}")
    assert behind.getresponse().status == 200
    behind.close()
    multiplied(emulator, "lost.tar.gz", 8)
    model = emulator.model("lost.tar.gz")
    assert (model["loads"], model["model_errors"]) == (2, 0)


def test_a_server_that_dies_is_replaced_and_its_models_are_loaded_again(
    emulator: InProcessEmulator, bucket: Path
) -> None:
    mms_model(bucket, "survivor.tar.gz", 5)
    multiplied(emulator, "survivor.tar.gz", 5)
    [java] = named(emulator.processes(), "java")
    java.kill()
    eventually(lambda: emulator.container()["restarts"] == 1)
    multiplied(emulator, "survivor.tar.gz", 5)
    assert emulator.model("survivor.tar.gz")["loads"] == 2
