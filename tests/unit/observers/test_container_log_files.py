"""The files of containers' output: every line, in order, whatever the disk does meanwhile."""

from __future__ import annotations

import asyncio
import re
import threading
from pathlib import Path

import pytest

from emulator.events import ContainerStarting, Events, LogLine, Origin
from emulator.observers import container_log_files
from emulator.observers.container_log_files import ContainerLogFiles
from emulator.timeouts import in_time


def listening(directory: Path) -> tuple[ContainerLogFiles, Events, Events]:
    """Files of containers' output, and the streams of two containers."""
    files, events = ContainerLogFiles(directory), Events(Origin("E", "us-east-1", "V"))
    files.listen_to(events)
    first = events.within(instance_id="i-1", container="primary")
    return files, first, events.within(instance_id="i-2", container="second")


def test_lines_are_appended_in_order_to_the_file_of_their_container(tmp_path: Path) -> None:
    async def run(first: int) -> None:
        files, first_one, second_one = listening(tmp_path)
        for number in range(first, first + 100):
            first_one.publish(LogLine(f"line {number} \udc80é"))
            if number % 7 == 0:
                second_one.publish(LogLine(f"{number}"))
                await asyncio.sleep(0)
        await files.flush()

    asyncio.run(run(0))
    asyncio.run(run(100))
    path = tmp_path / "E" / "V" / "i-1" / "primary.log"
    assert path.read_text().splitlines() == [f"line {number} \\udc80é" for number in range(200)]
    assert (tmp_path / "E" / "V" / "i-2" / "second.log").read_text().split() == [str(n) for n in range(0, 200, 7)]
    assert path.stat().st_mode & 0o077 == 0, "containers write secrets"


def test_runs_are_told_apart(tmp_path: Path) -> None:
    async def run() -> None:
        files, container, _ = listening(tmp_path)
        for line in ("first", "second"):
            container.publish(ContainerStarting())
            container.publish(LogLine(line))
        await files.flush()

    asyncio.run(run())
    asyncio.run(run())
    lines = (tmp_path / "E" / "V" / "i-1" / "primary.log").read_text().splitlines()
    assert lines[0::2] == ["first", "second", "first", "second"]
    assert all(
        re.fullmatch(r"---- the container is started again, [\d-]{10} [\d:]{8} ----", line) for line in lines[1::2]
    )


def test_a_disk_that_hangs_does_not_hold_up_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs, append = threading.Event(), ContainerLogFiles._append

    def slow(*arguments: object) -> None:
        hangs.wait(60)
        append(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ContainerLogFiles, "_append", slow)

    async def run() -> None:
        files, container, _ = listening(tmp_path)
        for number in range(10):
            container.publish(LogLine(str(number)))
            await asyncio.sleep(0.001)
        assert list(tmp_path.iterdir()) == []
        hangs.set()
        await files.flush()

    asyncio.run(run())
    assert (tmp_path / "E" / "V" / "i-1" / "primary.log").read_text().split() == [str(n) for n in range(10)]


def test_a_disk_that_takes_nothing_does_not_end_the_serving(tmp_path: Path) -> None:
    (tmp_path / "E").touch()  # where a directory should be

    async def run() -> None:
        files, container, _ = listening(tmp_path)
        container.publish(LogLine("lost"))
        await files.flush()
        (tmp_path / "E").unlink()
        container.publish(LogLine("kept"))
        await files.flush()

    asyncio.run(run())
    assert (tmp_path / "E" / "V" / "i-1" / "primary.log").read_text() == "kept\n"


def test_lines_that_come_one_by_one_are_written_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_log_files, "PAUSE_SECONDS", 60.0)
    written: list[int] = []
    append = ContainerLogFiles._append

    def counted(self: ContainerLogFiles, lines: dict[Origin, list[str | None]]) -> None:
        written.append(sum(map(len, lines.values())))
        append(self, lines)

    monkeypatch.setattr(ContainerLogFiles, "_append", counted)

    async def run() -> None:
        files, container, _ = listening(tmp_path)
        container.publish(LogLine("at once"))
        while not written:
            await asyncio.sleep(0.001)
        for number in range(10):
            container.publish(LogLine(str(number)))
            await asyncio.sleep(0.001)
        await in_time(files.flush(), 30)  # which does not wait for the pause

    asyncio.run(run())
    assert written == [1, 10]
