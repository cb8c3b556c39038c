"""AWS's containers for TensorFlow Serving and XGBoost: what they ask of the platform, see ``framework_containers``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import framework_containers
from tests.support.emulator_in_process import InProcessEmulator
from tests.support.files import archive

NAMES = [f"{number}.tar.gz" for number in range(7)]


@pytest.mark.parametrize("framework", ["tensorflow", "xgboost"])
def test_models_are_loaded_evicted_and_loaded_again(
    framework: str, serve: Callable[..., InProcessEmulator], bucket: Path
) -> None:
    for number, name in enumerate(NAMES):
        archive(bucket / name, {"model.json": json.dumps({"weights": [number], "bias": 1})})
    command = f"{sys.executable} {framework_containers.__file__} {framework}"
    emulator = serve("--models", str(bucket), "--command", command, "--max-loaded-models", "2")
    # More models, one after the other, than there are ports for at once.
    for number, name in [*enumerate(NAMES), (0, NAMES[0])]:
        assert emulator.invoke(name, b'{"features": [[10]]}')["predictions"] == [10 * number + 1]
    assert emulator.in_memory() == {NAMES[-1], NAMES[0]}
    first = emulator.model(NAMES[0])
    assert (first["loads"], first["downloads"]) == (2, 1)
    assert emulator.container()["restarts"] == 0
