"""What a container under test gets of the shell's environment."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from emulator.containers.docker.engine import Engine
from emulator.containers.launch import Command
from emulator.events import Events
from emulator.limits import Limits
from localmme.check.container_under_test import ContainerRun, ContainerUnderTest

PRINTS = "import json, os; print(json.dumps(dict(os.environ)), flush=True); os.environ['FROM_THE_SHELL']"


@pytest.mark.parametrize("inherit_env", [False, True])
def test_a_process_gets_the_shells_environment_only_if_that_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inherit_env: bool
) -> None:
    monkeypatch.setenv("FROM_THE_SHELL", "1")
    runs = Command([sys.executable, "-c", PRINTS], tmp_path)
    engine = Engine(tmp_path, Events())
    under_test = ContainerUnderTest(runs, "", {"A": "1"}, inherit_env, 2**20, tmp_path, Limits(), engine)

    async def lines() -> list[str]:
        run: ContainerRun = under_test.new_run()
        await run.container.start()
        await run.container.wait()
        await run.container.stop(0)
        return list(run._lines)

    printed = asyncio.run(lines())
    environment = json.loads(printed[0])
    assert ("FROM_THE_SHELL" in environment, environment["A"]) == (inherit_env, "1")
    assert any("--inherit-env" in line for line in printed) is not inherit_env
