"""NVIDIA Triton's real binary in SageMaker mode, as the emulator's container."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.aws_clients import refused
from tests.support.emulator_in_process import InProcessEmulator
from tests.support.files import archive
from tests.support.real_servers import tensors, triton
from tests.support.real_servers.models import triton_model
from tests.support.real_servers.served import served

pytestmark = pytest.mark.real
MOST = 2  # models that may be loaded


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s3")


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory, bucket: Path) -> Iterator[InProcessEmulator]:
    with served(triton, bucket, tmp_path_factory.mktemp("state"), MOST) as emulator:
        yield emulator


def test_models_are_loaded_invoked_evicted_and_loaded_again(emulator: InProcessEmulator, bucket: Path) -> None:
    names = [f"by/{factor}.tar.gz" for factor in range(1, MOST + 2)]
    for factor, name in enumerate(names, 1):
        triton_model(bucket, name, factor)
        assert tensors.ask(emulator, name, tensors.json_request([1.0, 2.5])) == [factor, 2.5 * factor]
    assert emulator.in_memory() == set(names[1:])
    assert tensors.ask(emulator, names[0], tensors.json_request([4.0])) == [4.0]
    model = emulator.model(names[0])
    assert (model["loads"], model["downloads"]) == (2, 1)


def test_binary_requests_and_answers_carry_their_parameters_in_the_content_type(
    emulator: InProcessEmulator, bucket: Path
) -> None:
    triton_model(bucket, "binary.tar.gz", 3)
    values = [float(number) for number in range(100_000)]
    request = tensors.binary_request(values)
    assert "json-header-size=" in request[1]
    assert tensors.ask(emulator, "binary.tar.gz", request) == [3 * value for value in values]


def test_many_callers_of_a_cold_model_load_it_once(emulator: InProcessEmulator, bucket: Path) -> None:
    triton_model(bucket, "cold.tar.gz", 7)
    emulator.client()
    with ThreadPoolExecutor(20) as callers:
        answers = list(
            callers.map(lambda n: tensors.ask(emulator, "cold.tar.gz", tensors.json_request([float(n)])), range(20))
        )
    assert answers == [[7.0 * n] for n in range(20)]
    assert emulator.model("cold.tar.gz")["loads"] == 1


def test_out_of_memory_is_a_model_error_with_507(emulator: InProcessEmulator, bucket: Path) -> None:
    triton_model(bucket, "large.tar.gz", 1, out_of_memory=True)
    for _ in range(2):
        code, status = refused(tensors.ask, emulator, "large.tar.gz", tensors.json_request([1.0])).from_the_container
        assert code == "ModelError" and status == 507
        assert not emulator.in_memory()


def test_an_archive_that_is_no_model_is_a_model_error(emulator: InProcessEmulator, bucket: Path) -> None:
    archive(bucket / "none.tar.gz", {"readme": "nothing to load"})
    code, status = refused(tensors.ask, emulator, "none.tar.gz", tensors.json_request([1.0])).from_the_container
    assert code == "ModelError" and 400 <= status < 600


def test_a_request_that_the_model_refuses_is_a_model_error(emulator: InProcessEmulator, bucket: Path) -> None:
    triton_model(bucket, "strict.tar.gz", 2)
    code, status = refused(
        tensors.ask, emulator, "strict.tar.gz", (json.dumps({"inputs": []}).encode(), "application/json")
    ).from_the_container
    assert code == "ModelError" and status == 400
    assert tensors.ask(emulator, "strict.tar.gz", tensors.json_request([2.0])) == [4.0]
