"""A file that is being received: seen by nobody before it is complete, and swept away when its emulator was killed."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import time
from pathlib import Path
from typing import Any

import pytest

from emulator.storage import incoming_file
from emulator.storage.incoming_file import FOLLOWED_NS, IncomingFile, next_time_ns, sweep


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_what_was_written_is_moved_to_its_place_in_one_step(tmp_path: Path) -> None:
    incoming = IncomingFile.create(tmp_path / "made" / "for it", ["sha256"])
    place = tmp_path / "place"
    place.write_bytes(b"what was there before")
    for data in (b"hello ", b"", b"world"):
        incoming.write(data)
    assert incoming.size == 11
    assert incoming.digests.md5 == hashlib.md5(b"hello world").digest()
    assert place.read_bytes() == b"what was there before"
    incoming.moved_to(place)
    assert place.read_bytes() == b"hello world"
    assert names(incoming.path.parent) == []
    incoming.discard()  # as every request does in the end
    assert place.exists()


def test_a_system_that_writes_a_little_at_a_time_gets_all_of_it(tmp_path: Path) -> None:
    class Reluctant:
        def __init__(self) -> None:
            self.written = b""

        def write(self, data: memoryview) -> int:
            self.written += bytes(data[:3])
            return len(data[:3])

    file: Any = Reluctant()
    incoming = IncomingFile(tmp_path / "x", file, ())
    incoming.write(b"0123456789")
    assert (file.written, incoming.size) == (b"0123456789", 10)


def test_one_that_is_discarded_leaves_nothing(tmp_path: Path) -> None:
    incoming = IncomingFile.create(tmp_path)
    incoming.write(b"x")
    incoming.discard()
    incoming.discard()
    assert names(tmp_path) == []
    with pytest.raises(ValueError):  # a thread may still be about to write to it
        incoming.write(b"x")


@pytest.mark.parametrize("error", [None, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
@pytest.mark.parametrize("at_once", [4, 100])
def test_a_file_is_appended_from_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int | None, at_once: int
) -> None:
    (tmp_path / "part").write_bytes(b"0123456789")
    monkeypatch.setattr(incoming_file, "COPIED_AT_ONCE", at_once)
    if error is not None:
        monkeypatch.setattr(os, "copy_file_range", failing(error), raising=False)
    incoming = IncomingFile.create(tmp_path / "incoming")
    incoming.write(b"before ")
    with open(tmp_path / "part", "rb") as part:
        part.read(5)
        incoming.append(part, 9)
    assert incoming.path.read_bytes() == b"before 012345678"
    assert incoming.size == 16
    assert incoming.digests.md5 == hashlib.md5(b"before ").digest()
    incoming.discard()


def test_appending_more_than_there_is_fails(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(b"0123456789")
    incoming = IncomingFile.create(tmp_path / "incoming")
    with open(tmp_path / "part", "rb") as part, pytest.raises(EOFError):
        incoming.append(part, 11)
    incoming.discard()


def test_a_disk_that_is_full_is_not_tried_in_another_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "copy_file_range", failing(errno.ENOSPC), raising=False)
    (tmp_path / "part").write_bytes(b"x")
    incoming = IncomingFile.create(tmp_path / "incoming")
    with open(tmp_path / "part", "rb") as part, pytest.raises(OSError) as raised:
        incoming.append(part, 1)
    assert raised.value.errno == errno.ENOSPC
    assert incoming.size == 0
    incoming.discard()


def test_the_time_of_a_file_is_the_one_that_it_is_stamped_with(tmp_path: Path) -> None:
    incoming = IncomingFile.create(tmp_path)
    stamped = incoming.stamp()
    assert os.fstat(incoming.fileno()).st_mtime_ns == stamped
    assert incoming.stamp() > stamped
    incoming.discard()


SECOND = 10**9


@pytest.mark.parametrize(
    "clock, times",
    [
        ([10 * SECOND, 11 * SECOND], [10 * SECOND, 11 * SECOND]),
        ([10 * SECOND] * 3, [10 * SECOND, 10 * SECOND + 1, 10 * SECOND + 2]),
        ([10 * SECOND, 10 * SECOND - 5], [10 * SECOND, 10 * SECOND + 1]),
        ([10 * SECOND, 10 * SECOND - FOLLOWED_NS], [10 * SECOND, 10 * SECOND - FOLLOWED_NS]),
    ],
    ids=["it goes on", "it stands still", "it was set back a little", "it was set back"],
)
def test_no_two_times_are_the_same(monkeypatch: pytest.MonkeyPatch, clock: list[int], times: list[int]) -> None:
    monkeypatch.setattr(incoming_file, "_last_time_ns", 0)
    monkeypatch.setattr(time, "time_ns", iter(clock).__next__)
    assert [next_time_ns() for _ in clock] == times


def test_a_sweep_removes_what_a_killed_emulator_left_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "left").write_bytes(b"half of")
    (tmp_path / "directory").mkdir()
    incoming = IncomingFile.create(tmp_path)
    sweep(tmp_path)
    assert names(tmp_path) == sorted(["directory", incoming.path.name])
    incoming.discard()
    sweep(tmp_path / "none")  # nothing was ever received


def test_a_file_system_without_locks_is_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    incoming = IncomingFile.create(tmp_path)
    incoming.write(b"x")
    sweep(tmp_path)  # whose it is cannot be told
    incoming.moved_to(tmp_path / "place")
    assert (tmp_path / "place").read_bytes() == b"x"


def failing(number: int) -> Any:
    def fail(*_: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail
