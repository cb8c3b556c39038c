"""A real server as a test needs it: the emulator's container, or a reason to skip."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.emulator_in_process import InProcessEmulator, in_process_emulators
from tests.support.real_servers.making import NotProvisioned


def command_of(server: ModuleType) -> list[str]:
    """The command that runs a real server; skips the test where it cannot run."""
    try:
        return server.command()
    except NotProvisioned as reason:
        pytest.skip(str(reason))


@contextmanager
def served(server: ModuleType, bucket: Path, directory: Path, most: int, *options: str) -> Iterator[InProcessEmulator]:
    """An emulator that runs the server, with at most so many models loaded and further options of ``serve``.

    Afterwards, none of the server's processes is left.
    """
    command = shlex.join(command_of(server))
    arguments = ("--models", str(bucket), "--command", command, "--max-loaded-models", str(most), *options)
    with in_process_emulators(directory) as start:
        yield start(*arguments).wait_in_service()
