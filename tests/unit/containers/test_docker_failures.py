"""What a Docker Engine says, in words that help."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.containers.docker.failures import EngineError, describe_end, explain, is_mount_refused, root_cause
from emulator.containers.docker.images import InspectedImage
from emulator.containers.memory_limit import KERNEL, MemoryLimit
from emulator.errors import EmulatorError


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"ExitCode": 0}, "ended with exit code 0"),
        ({"ExitCode": 126}, "ended with exit code 126: a program could not be executed"),
        ({"ExitCode": 127}, "ended with exit code 127: a program was not found"),
        ({"ExitCode": 137}, "was killed (exit code 137)"),
        ({"ExitCode": 137, "Status": "removing"}, "was removed"),
        (
            {"ExitCode": 1, "OOMKilled": True},
            "ended with exit code 1, after the kernel killed a process of it at 1.5 GiB of memory",
        ),
    ],
)
def test_how_a_container_ended_is_said_in_words(state: dict[str, Any], words: str) -> None:
    assert describe_end({"Status": "exited", **state}, MemoryLimit(1536 * 2**20, KERNEL)) == words


def test_an_error_of_the_engine_is_one_that_callers_know() -> None:
    assert issubclass(EngineError, EmulatorError)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (
            'could not select device driver "" with capabilities: [[gpu]]',
            "The Docker Engine has no GPUs for containers.",
        ),
        ('exec: "serve": executable file not found in $PATH', "has no entry point, and no program `serve` on its PATH"),
        ("something else", "Image mme cannot be started: something else"),
    ],
)
def test_what_cannot_be_started_is_explained(reason: str, words: str) -> None:
    assert words in str(explain(EngineError("unix:///docker.sock", 400, reason), InspectedImage("sha256:1", "mme")))


def test_an_engine_that_does_not_answer_is_not_explained_by_the_image() -> None:
    error = EngineError("unix:///docker.sock", 0, "gone")
    assert explain(error, InspectedImage("sha256:1", "mme")) is error
    assert str(error) == "The Docker Engine at unix:///docker.sock does not answer: gone"


def test_a_mount_that_is_refused_is_known_by_its_words() -> None:
    reason = 'invalid mount config for type "bind": bind source path does not exist: /tmp/x'
    assert is_mount_refused(EngineError("tcp://there", 400, reason))
    assert not is_mount_refused(EngineError("tcp://there", 400, "no space left"))


def test_the_root_cause_is_at_the_bottom_of_the_errors_that_wrap_it() -> None:
    refused = ConnectionRefusedError(111, "Connection refused")
    assert root_cause(RuntimeError("outer", RuntimeError(refused))) == "Connection refused"
    assert root_cause(RuntimeError("only\n one")) == "only one"
