"""A stream's effect on the emulator's own process: its memory, and its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.support.emulator_process import Emulator
from tests.support.processes import most_memory
from tests.support.response_streams import chunks, stream
from tests.support.scripted_models import scripted_model

MIB = 2**20


def test_a_slow_reader_slows_the_container_down_and_ctrl_c_lets_a_stream_end(
    scripted: Callable[..., Emulator], bucket: Path
) -> None:
    """Instead of filling the memory with what is not read."""
    scripted_model(bucket / "flood", invoke={"size": 100 * MIB})
    scripted_model(bucket / "a", invoke={"chunks": ["x"] * 5, "chunk_delay": 0.4})
    emulator = scripted()
    total = 0
    with most_memory(emulator.worker()) as growth:
        for number, chunk in enumerate(chunks(stream(emulator, "flood"))):
            total += len(chunk)
            if number < 50:
                time.sleep(0.02)
    assert total == 100 * MIB
    assert growth.bytes < 64 * MIB

    answer = chunks(stream(emulator, "a"))
    next(answer)
    emulator.signal(2)
    assert list(answer) == [b"x"] * 4
    assert emulator.wait() == 0
