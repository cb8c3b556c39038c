"""A job's container as processes: its environment, its output, its end, and that nothing of it is left."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path

import psutil
import pytest

from emulator.containers.aws_settings import AwsSettings
from emulator.containers.job_container import JobContainerSettings
from emulator.containers.process.environment import InheritedEnvironment
from emulator.containers.process.job_container import ProcessJobContainer
from emulator.errors import SetupError

Made = Callable[..., ProcessJobContainer]


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def made(tmp_path: Path, lines: list[str]) -> Made:
    """Makes a container of a command, whose output goes to ``lines``."""
    (tmp_path / "ml" / "input" / "data" / "train").mkdir(parents=True)

    def made(*command: str, memory_bytes: int = 2**60) -> ProcessJobContainer:
        settings = JobContainerSettings(
            name="job",
            environment={"TRAINING_JOB_NAME": "job", "SM_MODEL_DIR": "/elsewhere"},
            ml_directory=tmp_path / "ml",
            memory_bytes=memory_bytes,
            vcpus=1,
            gpus=0,
            host_name="algo-1",
            aws=AwsSettings("eu-west-1", "http://127.0.0.1:1", "token"),
        )
        inherited = InheritedEnvironment({"PATH": "/usr/bin:/bin", "OF_THE_SHELL": "1"})
        return ProcessJobContainer(
            command, tmp_path, settings, lines.append, lines.append, inherited=inherited, stop_seconds=30
        )

    return made


def run(main: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(main())


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_its_variables_name_its_directories_and_how_it_calls_aws(made: Made, lines: list[str], tmp_path: Path) -> None:
    async def main() -> None:
        container = made(*python("import json, os, sys; print(json.dumps([dict(os.environ), sys.argv[1:]]))"), "train")
        await container.start()
        assert await container.wait() == 0

    run(main)
    environment, arguments = json.loads(lines[-1])
    ml = tmp_path / "ml"
    assert arguments == ["train"] and "OF_THE_SHELL" not in environment
    assert (
        environment.items()
        >= {
            "SAGEMAKER_BASE_DIR": str(ml),
            "SM_MODEL_DIR": str(ml / "model"),
            "SM_OUTPUT_DATA_DIR": str(ml / "output" / "data"),
            "SM_CHANNEL_TRAIN": str(ml / "input" / "data" / "train"),
            "TRAINING_JOB_NAME": "job",
            "AWS_REGION": "eu-west-1",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        }.items()
    )


@pytest.mark.parametrize(("end", "code"), [("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", -9)])
def test_all_of_its_output_is_there_when_its_end_is_known(made: Made, lines: list[str], end: str, code: int) -> None:
    async def main() -> None:
        container = made(*python(f"import os, sys; [print(n, flush=True) for n in range(5000)]; {end}"))
        await container.start()
        assert await container.wait() == code
        assert lines == [str(n) for n in range(5000)]
        await container.stop(1)
        await container.stop(1)

    run(main)


@pytest.mark.parametrize("kill_the_keeper", [False, True])
def test_when_it_ends_its_descendants_end_too(
    made: Made, lines: list[str], tmp_path: Path, kill_the_keeper: bool
) -> None:
    # The grandchild ignores SIGTERM, in a session of its own.
    (tmp_path / "grandchild.sh").write_text("trap '' TERM; echo pid $$; while :; do sleep 1; done")

    async def main() -> None:
        container = made("sh", "-c", "setsid sh grandchild.sh & trap '' TERM; wait; while :; do sleep 1; done")
        await container.start()
        while not lines:
            await asyncio.sleep(0.01)
        if kill_the_keeper:
            assert container._process._keeper is not None
            container._process._keeper.kill()
            assert await container.wait() == -9
        await container.stop(0.1)
        assert await container.wait() == -9
        assert not psutil.pid_exists(int(lines[0].removeprefix("pid ")))

    run(main)


def test_it_is_killed_when_it_passes_its_memory(made: Made) -> None:
    async def main() -> None:
        container = made(*python("import time; taken = bytearray(10**8); time.sleep(3600)"), memory_bytes=50 * 10**6)
        await container.start()
        assert await container.wait() == -9

    run(main)


def test_a_program_that_does_not_exist_is_a_problem_of_its_start(made: Made) -> None:
    async def main() -> None:
        container = made("absent")
        with pytest.raises(SetupError, match="No such file or directory: absent"):
            await container.start()
        await container.stop(0)

    run(main)
