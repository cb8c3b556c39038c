"""The files of containers' output: every line, in order, whatever the disk does meanwhile."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from emulator.errors import Origin
from emulator.events import LogLine
from emulator.observers.container_log_files import ContainerLogFiles

ORIGIN = Origin("E", "us-east-1", "V", "i-1", "primary")


def test_lines_are_appended_in_order_to_the_file_of_their_container(tmp_path: Path) -> None:
    other = Origin("E", "us-east-1", "V", "i-2", "second")

    async def run(first: int) -> None:
        files = ContainerLogFiles(tmp_path)
        for number in range(first, first + 100):
            files(LogLine(f"line {number} \udc80é"), ORIGIN)
            if number % 7 == 0:
                files(LogLine(f"{number}"), other)
                await asyncio.sleep(0)
        await files.flush()

    asyncio.run(run(0))
    asyncio.run(run(100))
    path = tmp_path / "E" / "V" / "i-1" / "primary.log"
    assert path.read_text().splitlines() == [f"line {number} \\udc80é" for number in range(200)]
    assert (tmp_path / "E" / "V" / "i-2" / "second.log").read_text().split() == [str(n) for n in range(0, 200, 7)]
    assert path.stat().st_mode & 0o077 == 0, "containers write secrets"


def test_a_disk_that_hangs_does_not_hold_up_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs, append = threading.Event(), ContainerLogFiles._append

    def slow(*arguments: object) -> None:
        hangs.wait(60)
        append(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ContainerLogFiles, "_append", slow)

    async def run() -> None:
        files = ContainerLogFiles(tmp_path)
        for number in range(10):
            files(LogLine(str(number)), ORIGIN)
            await asyncio.sleep(0.001)
        assert list(tmp_path.iterdir()) == []
        hangs.set()
        await files.flush()

    asyncio.run(run())
    assert (tmp_path / "E" / "V" / "i-1" / "primary.log").read_text().split() == [str(n) for n in range(10)]


def test_a_disk_that_takes_nothing_does_not_end_the_serving(tmp_path: Path) -> None:
    (tmp_path / "E").touch()  # where a directory should be

    async def run() -> None:
        files = ContainerLogFiles(tmp_path)
        files(LogLine("lost"), ORIGIN)
        await files.flush()
        (tmp_path / "E").unlink()
        files(LogLine("kept"), ORIGIN)
        await files.flush()

    asyncio.run(run())
    assert (tmp_path / "E" / "V" / "i-1" / "primary.log").read_text() == "kept\n"
