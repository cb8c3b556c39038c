"""Recordings: complete, in order, whole at any moment, and nobody else's files are touched."""

from __future__ import annotations

import asyncio
import base64
import errno
import gzip
import json
import os
import stat
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from emulator.clock import Clock
from emulator.errors import SetupError
from emulator.events import CallEnded, EndpointStatus, Events, LogLine, ModelLoaded
from emulator.invocation import Invocation
from emulator.observers import recording
from emulator.observers.recent_entries import RecentEntries
from emulator.observers.recording import Recorder, RecordingSettings
from emulator.recordings import RecordedEndpoint, part_files
from tests.support.waiting import until

LARGE = 2**30


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "FLUSH_SECONDS", 0.01)


class Recorded:
    """A recorder, what it listens to, and what it warned of."""

    def __init__(self, file: Path, *, size_bytes: int = LARGE, bodies: bool = False) -> None:
        self.file, self.settings = file, RecordingSettings(file, size_bytes, bodies)
        self.events, self.warnings, self.endpoints = Events(), list[str](), list[RecordedEndpoint]()
        self.entries = RecentEntries(Clock())
        self.entries.listen_to(self.events)
        limits: dict[str, float | None] = {"memory_watermark": 0.9}
        self.recorder = Recorder(
            self.entries, Clock(), "1.2", limits, lambda: list(self.endpoints), self.warnings.append
        )

    def call(self, count: int = 1, body: bytes = b"body") -> None:
        for _ in range(count):
            invocation = Invocation("e", body, 1.0, "id", "m")
            self.events.publish(CallEnded(invocation, 2.0, 200, len(body), 7))

    def lines(self, *files: Path) -> list[dict[str, Any]]:
        """All lines of the file, which is whole."""
        return [
            json.loads(line)
            for file in files or (self.file,)
            for line in gzip.decompress(file.read_bytes()).splitlines()
        ]

    def sequences(self, *files: Path) -> list[int]:
        return [line["sequence"] for line in self.lines(*files) if "sequence" in line]


def recorded(
    scenario: Callable[[Recorded], Coroutine[Any, Any, None]], file: Path, since: int | None = None, **settings: Any
) -> Recorded:
    """The recording of a scenario, which is over."""

    async def run() -> Recorded:
        subject = Recorded(file, **settings)
        await subject.recorder.start(subject.settings, since)
        try:
            await scenario(subject)
        finally:
            await subject.recorder.stop()
        return subject

    return asyncio.run(run())


async def nothing(_: Recorded) -> None: ...


def test_every_event_and_call_is_there_in_order_however_fast_they_come(tmp_path: Path) -> None:
    async def scenario(subject: Recorded) -> None:
        for _ in range(3):
            subject.call(4000)  # as many as are kept in memory
            subject.events.publish(ModelLoaded("m", 0.5))
            await asyncio.sleep(0)
        subject.events.publish(LogLine("its container has a file for that"))

    subject = recorded(scenario, tmp_path / "r.jsonl.gz")
    first, *others = subject.lines()
    assert first["type"] == "recording" and first["format"] == 1 and first["part"] == 1
    assert first["localmme_version"] == "1.2" and first["run"] == subject.entries.run and first["bodies"] is False
    assert [line["sequence"] for line in others] == [*range(1, 12_004)]
    assert {line["type"] for line in others} == {"call", "event"} and not subject.warnings
    assert stat.S_IMODE(subject.file.stat().st_mode) == 0o600


def test_it_is_whole_at_any_moment(tmp_path: Path) -> None:
    async def scenario(subject: Recorded) -> None:
        for count in range(1, 20):
            subject.call()
            await until(lambda count=count: subject.sequences() == [*range(1, count + 1)])  # type: ignore[misc]

    recorded(scenario, tmp_path / "r.jsonl.gz")


def test_another_file_is_begun_when_one_is_large_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MEMBER_BYTES", 2_000)

    async def scenario(subject: Recorded) -> None:
        subject.call(500)

    subject = recorded(scenario, tmp_path / "r.jsonl.gz", size_bytes=3_000)
    files = [*part_files(subject.file), subject.file]
    assert len(files) > 3 and files[0].name == "r.1.jsonl.gz"
    assert subject.sequences(*files) == [*range(1, 501)]
    firsts = [subject.lines(file)[0] for file in files]
    assert [first["part"] for first in firsts] == [*range(1, len(files) + 1)]
    assert all(file.stat().st_size <= 3_000 for file in files)


def test_bodies_are_there_only_if_they_are_wanted(tmp_path: Path) -> None:
    async def scenario(subject: Recorded) -> None:
        subject.call(body=b"\x00\xff")
        subject.call(body=bytes(9 * 2**20))  # more than is kept in memory

    without, with_bodies = (
        recorded(scenario, tmp_path / f"{bodies}.gz", bodies=bodies).lines()[1:] for bodies in (False, True)
    )
    assert all("body" not in line for line in without)
    assert [base64.b64decode(line["body"]) for line in with_bodies] == [b"\x00\xff", bytes(9 * 2**20)]


def endpoint(memory_bytes: int) -> RecordedEndpoint:
    return {"endpoint_name": "e", "region": "r", "variants": [{"memory_bytes": memory_bytes}]}  # type: ignore[typeddict-item]


def test_it_says_what_endpoints_there_are_at_first_and_when_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "MEMBER_BYTES", 1)

    async def scenario(subject: Recorded) -> None:
        for memory_bytes in (1, 1, 2):
            subject.endpoints = [endpoint(memory_bytes)]
            subject.events.publish(EndpointStatus("InService"))
        subject.call()

    subject = recorded(scenario, tmp_path / "r.gz", size_bytes=1)
    files = [*part_files(subject.file), subject.file]
    lines = subject.lines(*files)
    assert [line["endpoint"] for line in lines if line["type"] == "endpoint"] == [endpoint(1), endpoint(2)]
    firsts = [line["endpoints"] for line in lines if line["type"] == "recording"]
    assert firsts[0] == [] and firsts[-1] == [endpoint(2)]


def test_it_may_begin_with_what_happened_before(tmp_path: Path) -> None:
    async def scenario() -> None:
        subject = Recorded(tmp_path / "r.gz")
        for _ in range(2):
            subject.events.publish(ModelLoaded("m", 0.5))
        await subject.recorder.start(subject.settings, since=1)
        await subject.recorder.stop()
        assert subject.sequences() == [2]

    asyncio.run(scenario())


def test_an_earlier_recording_is_kept_beside_it(tmp_path: Path) -> None:
    async def scenario(subject: Recorded) -> None:
        subject.call()

    file = tmp_path / "r.jsonl.gz"
    runs = [recorded(scenario, file).entries.run for _ in range(3)]
    assert [path.name for path in part_files(file)] == ["r.1.jsonl.gz", "r.2.jsonl.gz"]
    lines = Recorded(file).lines(*part_files(file), file)
    assert [line["run"] for line in lines if line["type"] == "recording"] == runs


def unusable(tmp_path: Path, kind: str) -> Path:
    file = tmp_path / "r.gz"
    if kind == "text":
        file.write_text("precious")
    elif kind == "other gzip":
        file.write_bytes(gzip.compress(b'{"type": "model"}'))
    elif kind == "symlink":
        (tmp_path / "precious").touch()
        file.symlink_to(tmp_path / "precious")
    elif kind == "directory":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    else:
        file = tmp_path / "no directory" / "r.gz"
    return file


@pytest.mark.parametrize(
    "kind, words",
    [
        ("text", "it is not a recording"),
        ("other gzip", "it is not a recording"),
        ("symlink", "it is a symbolic link"),
        ("directory", "Is a directory"),
        ("pipe", "it is not a regular file"),
        ("missing", "No such file or directory"),
    ],
)
def test_what_is_not_a_recording_is_left_alone(tmp_path: Path, kind: str, words: str) -> None:
    file = unusable(tmp_path, kind)
    before = file.read_bytes() if kind in ("text", "other gzip") else b""
    with pytest.raises(SetupError, match=words):
        recorded(nothing, file)
    assert not before or file.read_bytes() == before


def test_two_do_not_write_to_one_file(tmp_path: Path) -> None:
    async def scenario(subject: Recorded) -> None:
        other = Recorded(subject.file)
        with pytest.raises(SetupError, match="another emulator records to it"):
            await other.recorder.start(other.settings)
        with pytest.raises(SetupError, match="A recording is under way: "):
            await subject.recorder.start(subject.settings)
        subject.call()

    assert recorded(scenario, tmp_path / "r.gz").sequences() == [1]


def test_a_directory_that_vanishes_pauses_it_with_one_warning(tmp_path: Path) -> None:
    directory = tmp_path / "recordings"
    directory.mkdir()

    async def scenario(subject: Recorded) -> None:
        subject.call()
        await until(lambda: subject.sequences() == [1])
        directory.rename(tmp_path / "elsewhere")
        subject.call()
        await until(lambda: subject.warnings)
        subject.call()
        directory.mkdir()
        await until(lambda: len(subject.warnings) == 2)

    subject = recorded(scenario, directory / "r.gz")
    assert subject.sequences(tmp_path / "elsewhere" / "r.gz", subject.file) == [1, 2, 3]
    assert subject.lines()[0]["part"] == 2
    pause, goes_on = subject.warnings
    assert pause.startswith("The recording pauses: ") and "No such file or directory" in pause
    assert goes_on == f"The recording continues in {subject.file}; 0 entries were left out so far"


def test_a_full_disk_leaves_it_whole_and_loses_what_comes_after_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "WAITING_ENTRIES", 10)
    write, is_full = os.write, False

    def full(descriptor: int, data: bytes) -> int:
        if not is_full:
            return write(descriptor, data)
        write(descriptor, data[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)

    async def scenario(subject: Recorded) -> None:
        nonlocal is_full
        is_full = True
        subject.call(1)
        await until(lambda: subject.warnings)
        subject.call(25)
        assert subject.lines()[0]["type"] == "recording"
        is_full = False
        # The warning comes with the first line that is written: there is room for one more when all are.
        await until(lambda: any(line["type"] == "lost" for line in subject.lines()))
        assert len(subject.warnings) == 2
        subject.call(1)

    subject = recorded(scenario, tmp_path / "r.gz")
    assert subject.sequences() == [*range(1, 12), 27]
    [lost] = [line for line in subject.lines() if line["type"] == "lost"]
    assert lost["entries"] == 15 and subject.warnings[1].endswith("15 entries were left out so far")


def test_somebody_elses_file_in_its_place_is_not_written_to(tmp_path: Path) -> None:
    async def scenario(subject: Recorded) -> None:
        subject.file.rename(tmp_path / "moved.gz")
        subject.file.write_text("precious")
        subject.call()
        await until(lambda: subject.warnings)
        subject.file.unlink()

    subject = recorded(scenario, tmp_path / "r.gz")
    assert subject.sequences() == [1] and "File exists" in subject.warnings[0]


def test_a_start_that_is_broken_off_leaves_no_thread(tmp_path: Path) -> None:
    async def scenario() -> None:
        subject = Recorded(tmp_path / "r.gz")
        starting = asyncio.ensure_future(subject.recorder.start(subject.settings))
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert subject.recorder.file is None and subject.entries.followers == []

    before = set(threading.enumerate())
    asyncio.run(scenario())  # which waits for the thread that opens the file
    for thread in set(threading.enumerate()) - before:
        if thread.name == "recording":
            thread.join(60)
            assert not thread.is_alive()


def test_starts_and_stops_at_the_same_time_take_turns(tmp_path: Path) -> None:
    async def scenario() -> None:
        subject = Recorded(tmp_path / "r.gz")
        start, stop = subject.recorder.start, subject.recorder.stop
        done = await asyncio.gather(
            start(subject.settings), start(subject.settings), stop(), stop(), return_exceptions=True
        )
        assert [type(outcome) for outcome in done] == [type(None), SetupError, type(None), type(None)]
        assert subject.recorder.file is None and subject.entries.followers == []

    asyncio.run(scenario())
