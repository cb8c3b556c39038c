"""AWS's containers whose code is on no package index, in the form of stand-ins that ask the same of the platform.

TensorFlow Serving, XGBoost (``framework_containers``) and DJL Serving (``djl_container``).
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.support import djl_container, framework_containers
from tests.support.aws_clients import refused
from tests.support.checking import all_but, checked
from tests.support.emulator_in_process import InProcessEmulator
from tests.support.files import archive

NAMES = [f"{number}.tar.gz" for number in range(7)]
COMMANDS = {
    "tensorflow": shlex.join([sys.executable, framework_containers.__file__, "tensorflow"]),
    "xgboost": shlex.join([sys.executable, framework_containers.__file__, "xgboost"]),
    "djl": shlex.join([sys.executable, djl_container.__file__]),
}
ODD: Mapping[str, Mapping[str, str]] = {
    "tensorflow": {"list-empty": "warn", "get": "fail", "list": "warn", "list-pages": "warn"},
    "xgboost": {},
    "djl": {"load-duplicate": "fail", "get": "warn"},
}


def model(bucket: Path, number: int, megabytes: int = 0) -> None:
    """Write the archive of a model that multiplies by its number and adds one."""
    settings = {"weights": [number], "bias": 1, "megabytes": megabytes}
    archive(bucket / NAMES[number], {"model.json": json.dumps(settings)})


def ask(emulator: InProcessEmulator, number: int) -> None:
    assert emulator.invoke(NAMES[number], b'{"features": [[10]]}')["predictions"] == [10 * number + 1]


@pytest.mark.parametrize("framework", ["tensorflow", "xgboost"])
def test_models_are_loaded_evicted_and_loaded_again(
    framework: str, serve: Callable[..., InProcessEmulator], bucket: Path
) -> None:
    for number in range(len(NAMES)):
        model(bucket, number)
    emulator = serve("--models", str(bucket), "--command", COMMANDS[framework], "--max-loaded-models", "2")
    # More models, one after the other, than there are ports for at once.
    for number in (*range(len(NAMES)), 0):
        ask(emulator, number)
    assert emulator.in_memory() == {NAMES[-1], NAMES[0]}
    first = emulator.model(NAMES[0])
    assert (first["loads"], first["downloads"]) == (2, 1)
    assert emulator.container()["restarts"] == 0


def test_djl_serving_says_when_its_memory_is_full(serve: Callable[..., InProcessEmulator], bucket: Path) -> None:
    for number in range(3):
        model(bucket, number, megabytes=10)
    model(bucket, 3, megabytes=1000)
    emulator = serve("--models", str(bucket), "--command", COMMANDS["djl"], "--env", "MODEL_MEMORY_MEGABYTES=25")
    for number in (0, 1, 2, 0):
        ask(emulator, number)
    assert (emulator.model(NAMES[0])["loads"], emulator.model(NAMES[0])["downloads"]) == (2, 1)
    # It answers a load that it refuses twice, the second time as if it had succeeded.
    for _ in range(2):
        refusal = refused(emulator.invoke, NAMES[3])
        assert refusal.from_the_container == ("ModelError", 507)
        assert "WlmOutOfMemoryException" in refusal.response["OriginalMessage"]
    ask(emulator, 1)
    assert emulator.container()["restarts"] == 0


@pytest.mark.parametrize("framework", COMMANDS)
def test_what_is_found_by_check(framework: str, tmp_path: Path) -> None:
    model(tmp_path, 2)
    # Of a process; what is a matter of chance, or of memory, is left out.
    left_out = ("connect", "ping-while-busy", "load-unload-growth", "unload-frees-memory", "memory-full",
                "reload-after-507", "labels", "entry-point", "architecture", "manifest", "program", "user")  # fmt: skip
    if framework == "tensorflow":  # whose ports a model may still have that is being unloaded
        left_out = (*left_out, "load-while-invoking")
    arguments = ("--model", str(tmp_path / NAMES[2]), "--data", '{"features": [[10]]}')
    report = checked("--command", COMMANDS[framework], *arguments, only=all_but(*left_out))
    assert report.odd() == ODD[framework], str(report)
