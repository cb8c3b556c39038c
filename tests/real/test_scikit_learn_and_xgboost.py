"""AWS's containers for scikit-learn and XGBoost: their toolkit, encoders, server and libraries are the real ones.

Only the four functions of each container's own handler are this project's, see ``inside/sklearn_container`` and
``inside/xgboost_algorithm``: they are on no package index.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.aws_clients import refused
from tests.support.emulator_in_process import InProcessEmulator
from tests.support.real_servers import scikit_learn, xgboost_algorithm
from tests.support.real_servers.served import served

pytestmark = pytest.mark.real


def ask(emulator: InProcessEmulator, target_model: str, body: str, accept: str) -> str:
    answer = emulator.client().invoke_endpoint(
        EndpointName="local", TargetModel=target_model, ContentType="text/csv", Accept=accept, Body=body
    )
    assert answer["ContentType"] == accept
    return answer["Body"].read().decode()


def was_loaded_again(emulator: InProcessEmulator, target_model: str) -> None:
    """It was evicted meanwhile, and its archive was kept; it is the only one in memory."""
    model = emulator.model(target_model)
    assert (model["loads"], model["downloads"], model["invocations"]) == (2, 1, 2)
    assert emulator.in_memory() == {target_model}


def test_scikit_learn_models_are_loaded_evicted_and_loaded_again(tmp_path: Path) -> None:
    bucket = tmp_path / "s3"
    for factor in (2, 3):
        scikit_learn.model(bucket / f"{factor}.tar.gz", factor)
    with served(scikit_learn, bucket, tmp_path, 1) as emulator:
        for factor in (2, 3, 2):
            answer = json.loads(ask(emulator, f"{factor}.tar.gz", "1,0\n2,0.5", "application/json"))
            assert answer == pytest.approx([factor, 2.5 * factor])
        was_loaded_again(emulator, "2.tar.gz")
        refusal = refused(emulator.invoke, "2.tar.gz", b"<x/>", ContentType="text/xml")
        assert refusal.from_the_container == ("ModelError", 500)
        assert "text/xml" in refusal.response["OriginalMessage"]


def test_boosters_without_a_handler_are_loaded_evicted_and_loaded_again(tmp_path: Path) -> None:
    bucket = tmp_path / "s3"
    for number in (2.0, 3.0):
        xgboost_algorithm.model(bucket / f"{number}.tar.gz", number)
    with served(xgboost_algorithm, bucket, tmp_path, 1) as emulator:
        for number in (2.0, 3.0, 2.0):
            assert ask(emulator, f"{number}.tar.gz", "5\n7", "text/csv") == f"{number},{number}"
        was_loaded_again(emulator, "2.0.tar.gz")
        refusal = refused(emulator.invoke, "2.0.tar.gz", b"[5]", ContentType="application/json")
        assert refusal.from_the_container == ("ModelError", 415)
