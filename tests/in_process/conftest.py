"""Below this directory, the emulators that tests start are in their own process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.emulator_in_process import InProcessEmulator, in_process_emulators

Start = Callable[..., InProcessEmulator]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start an emulator in this process with the arguments of ``localmme serve``, without waiting."""
    with in_process_emulators(tmp_path) as start:
        yield start


@pytest.fixture
def serve(start: Start) -> Start:
    """Start an emulator in this process, and wait until the endpoint is InService."""
    return lambda *arguments, **options: start(*arguments, **options).wait_in_service()
