"""Explains errors of a Docker Engine, and how a container ended: the cause, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emulator.containers.docker.images import InspectedImage
from emulator.containers.memory_limit import MemoryLimit
from emulator.errors import SetupError

KILLED, NOT_EXECUTABLE, NOT_FOUND = 137, 126, 127  # exit codes
# What engines say of a directory that they do not see.
MOUNT_REFUSED = ("bind source path does not exist", "mounts denied", "is not shared")


class EngineError(SetupError):
    """The engine refused a call, or gave no answer (status 0). The reason is the engine's own words, in one line."""

    def __init__(self, address: str, status: int, reason: str) -> None:
        verb = "refuses" if status else "does not answer"
        super().__init__(f"The Docker Engine at {address} {verb}: {reason}")
        self.status = status
        self.reason = reason


def is_mount_refused(error: EngineError) -> bool:
    """Whether an engine does not see a directory of this machine."""
    return any(words in error.reason.lower() for words in MOUNT_REFUSED)


def explain(error: EngineError, image: InspectedImage) -> SetupError:
    """Why a container could not be created or started, and what to do about it."""
    if not error.status:
        return error
    if "could not select device driver" in error.reason:
        return SetupError(
            "The Docker Engine has no GPUs for containers. Install the NVIDIA Container Toolkit "
            "(nvidia-container-toolkit) on its machine, or do without GPUs."
        )
    if "executable file not found" in error.reason and not image.entrypoint:
        return SetupError(
            f"Image {image.reference} has no entry point, and no program `serve` on its PATH: SageMaker runs "
            '`docker run IMAGE serve`. Add ENTRYPOINT ["program", "argument"] to its Dockerfile.'
        )
    if "exec" in error.reason and "permission denied" in error.reason:
        return SetupError(
            f"Image {image.reference} cannot be started: its program may not be executed. Add `RUN chmod a+x` and its "
            f"path to the Dockerfile. The engine says: {error.reason}"
        )
    return SetupError(f"Image {image.reference} cannot be started: {error.reason}")


def describe_end(state: Mapping[str, Any], limit: MemoryLimit) -> str:
    """How a container ended, in words that follow "it"; by what the engine says of its state."""
    code = state["ExitCode"]
    if state["Status"] in ("removing", "dead"):
        return "was removed"
    if state.get("OOMKilled"):
        # The flag is for any of its processes.
        if code == KILLED:
            return limit.ended(f"exit code {code}")
        return limit.ended_later(f"ended with exit code {code}")
    if code == KILLED:
        return f"was killed (exit code {code})"
    hints = {NOT_EXECUTABLE: ": a program could not be executed", NOT_FOUND: ": a program was not found"}
    return f"ended with exit code {code}{hints.get(code, '')}"


def one_line(text: str) -> str:
    return " ".join(text.split())


def root_cause(error: BaseException) -> str:
    """What is at the bottom of the errors that HTTP libraries wrap into each other."""
    while True:
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        inside = [*error.args, getattr(error, "reason", None), error.__cause__, error.__context__]
        cause = next((each for each in inside if isinstance(each, BaseException)), None)
        if cause is None:
            return one_line(str(error)) or type(error).__name__
        error = cause
