"""A container of processes that passes its instance's memory: what is killed, what callers see, what goes on."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from tests.support.aws_clients import refused
from tests.support.emulator_in_process import InProcessEmulator
from tests.support.files import archive
from tests.support.passing_the_memory_limit import MEMORY, assert_the_container_is_replaced, write_models
from tests.support.waiting import eventually

# A model takes as many megabytes as its files say, when it is loaded and when it is invoked.
HANDLER = """
import os, time

class Handler:
    def initialize(self, context):
        self.directory = context.system_properties["model_dir"]
        self.loaded = self.take("load")

    def handle(self, data, context):
        self.invoked = self.take("invoke")
        return ["taken"]

    def take(self, when):
        path = os.path.join(self.directory, when)
        if not os.path.exists(path):
            return b""
        megabytes, seconds = open(path).read().split()
        taken = bytearray(b"x") * (int(megabytes) << 20)
        time.sleep(float(seconds))
        return taken
"""
FOR_EVER = "3600"


def test_a_command_that_passes_it_is_killed_and_replaced(scripted, bucket: Path) -> None:
    write_models(bucket)
    emulator = scripted(*MEMORY)
    assert_the_container_is_replaced(emulator, f"{killer(emulator)} killed it at 150 MiB (signal SIGKILL)")


def test_of_a_handlers_models_the_one_that_passes_it_dies_and_the_others_are_served(
    serve, bucket: Path, tmp_path: Path
) -> None:
    handler = tmp_path / "handler.py"
    handler.write_text(textwrap.dedent(HANDLER))
    for name, files in {
        "small": {},
        "too-large": {"load": f"250 {FOR_EVER}"},
        "too-large-at-once": {"load": "250 0"},
        "greedy": {"invoke": f"250 {FOR_EVER}"},
    }.items():
        archive(bucket / name, {"model": name, **files})
    emulator = serve("--models", str(bucket), "--handler", f"{handler}:Handler", "--memory", "200MB")
    server = emulator.container()["address"]

    for times, (name, status) in enumerate({"too-large": 507, "too-large-at-once": 507, "greedy": 500}.items(), 1):
        assert emulator.invoke("small") == b"taken"
        assert refused(emulator.invoke, name).from_the_container == ("ModelError", status)
        eventually(lambda: kills(emulator) >= times, what="the log has the reason")  # noqa: B023
    assert "small" in emulator.in_memory()
    assert emulator.invoke("small") == b"taken"
    assert (emulator.container()["restarts"], emulator.container()["address"]) == (0, server)


def killer(emulator: InProcessEmulator) -> str:
    """Who holds the container to its memory on this machine, as the log says when it starts."""
    found = re.search(r"its memory is limited to .* MiB, by (the kernel|localmme)", emulator.log)
    assert found is not None, emulator.log
    return found[1]


def kills(emulator: InProcessEmulator) -> int:
    return emulator.log.count(f"needs more than its 200 MiB of memory, so {killer(emulator)} killed a process of it")
