"""``localmme logs``: which files are read, how their lines are labelled, and how long they are followed."""

from __future__ import annotations

import fcntl
import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from emulator.errors import SetupError
from emulator.state_directory import EmulatorRecord, StateDirectory
from localmme import state_directories
from localmme.cli import log_lines
from localmme.cli.log_lines import Tail, lines

RECORD = EmulatorRecord("houses", "http://127.0.0.1:1", 1, "2024-01-31", "us-east-1", 1.0, "houses")


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateDirectory:
    """Of an emulator that has two endpoints, one of them with two instances."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    directory = state_directories.named("houses")
    for place in ("local/A/i-1/primary", "local/A/i-2/primary", "other/B/i-3/before", "other/B/i-3/after"):
        file = directory.container_logs / f"{place}.log"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"of {place}\n")
    directory.record_file.write_text(json.dumps(asdict(RECORD)))
    return directory


def test_the_lines_of_a_detached_one_are_those_of_serve(directory: StateDirectory) -> None:
    directory.serve_log.write_text("one\ntwo\nno end")
    assert list(lines(directory, None, None, False)) == ["one", "two", "no end"]


@pytest.mark.parametrize(
    "endpoint, part, places",
    [
        (None, None, ["local/A/i-1/primary", "local/A/i-2/primary", "other/B/i-3/after", "other/B/i-3/before"]),
        ("other", None, ["other/B/i-3/after", "other/B/i-3/before"]),
        (None, "primary", ["local/A/i-1/primary", "local/A/i-2/primary"]),
        (None, "B", ["other/B/i-3/after", "other/B/i-3/before"]),
        ("other", "i-3", ["other/B/i-3/after", "other/B/i-3/before"]),
    ],
)
@pytest.mark.parametrize("detached", [False, True])
def test_lines_of_several_containers_carry_their_names(
    directory: StateDirectory, endpoint: str | None, part: str | None, places: list[str], detached: bool
) -> None:
    if detached:
        if endpoint is None and part is None:
            return
        directory.serve_log.write_text("of serve\n")
    assert list(lines(directory, endpoint, part, False)) == [f"{place} | of {place}" for place in places]


def test_a_job_is_named_like_a_part_and_is_no_endpoint(directory: StateDirectory) -> None:
    file = directory.container_logs / "_TrainingJobs" / "job-1" / "algo-1-1700000000.log"
    file.parent.mkdir(parents=True)
    file.write_text("of the job\n")
    assert list(lines(directory, None, "job-1", False)) == ["of the job"]
    assert "TrainingJobs/job-1/algo-1-1700000000 | of the job" in list(lines(directory, None, None, False))
    with pytest.raises(SetupError, match="has no endpoint none. It has: local, other."):
        list(lines(directory, "none", None, False))


def test_lines_of_one_container_carry_none(directory: StateDirectory) -> None:
    assert list(lines(directory, "local", "i-2", False)) == ["of local/A/i-2/primary"]


@pytest.mark.parametrize(
    "endpoint, part, words",
    [
        ("none", None, "Emulator houses has no endpoint none. It has: local, other."),
        ("none", "primary", "Emulator houses has no endpoint none. It has: local, other."),
        (
            "other",
            "primary",
            "Emulator houses has no container, instance or variant primary. It has: after, i-3, B, before. "
            "An emulator is named with --name. There are logs of: houses.",
        ),
        (None, "local", "Emulator houses has no container, instance or variant local. It has: primary, i-1, A, i-2, "),
    ],
)
def test_what_is_not_there_is_named_with_what_is(
    directory: StateDirectory, endpoint: str | None, part: str | None, words: str
) -> None:
    with pytest.raises(SetupError) as raised:
        list(lines(directory, endpoint, part, False))
    assert str(raised.value).startswith(words)


def test_an_emulator_that_never_was_is_an_error(directory: StateDirectory) -> None:
    with pytest.raises(SetupError, match="There is no emulator none, and no log of one. There are logs of: houses."):
        list(lines(state_directories.named("none"), None, None, False))
    directory.record_file.unlink()
    with pytest.raises(SetupError, match="There are no logs at all."):
        list(lines(state_directories.named("none"), None, None, False))


def test_they_are_followed_until_the_emulator_ends(directory: StateDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    log = directory.serve_log.open("w")
    lock = directory.lock.open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    steps = iter(["one\ntw", "", "o\n", "last words"])

    def pause(_: float) -> None:
        """What happens while it waits; at last, the emulator ends."""
        step = next(steps)
        log.write(step)
        log.flush()
        if step == "last words":
            lock.close()

    monkeypatch.setattr(log_lines, "time", SimpleNamespace(sleep=pause))
    assert list(lines(directory, None, None, True)) == ["one", "two", "last words"]
    log.close()


def test_a_container_that_comes_later_is_followed_too(
    directory: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = directory.lock.open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)

    def pause(_: float) -> None:
        (directory.container_logs / "local/A/i-2/second.log").write_text("of the second\n")
        lock.close()

    monkeypatch.setattr(log_lines, "time", SimpleNamespace(sleep=pause))
    assert list(lines(directory, "local", "i-2", True)) == [
        "of local/A/i-2/primary",
        "local/A/i-2/second | of the second",
    ]


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_line_that_comes_in_pieces_is_one(tmp_path: Path, size: int) -> None:
    data = "erste Zeile\n\nzweite ä\nohne Ende".encode()
    path = tmp_path / "log"
    path.touch()
    tail, read = Tail(path.open("rb")), list[str]()
    with path.open("ab", buffering=0) as file:
        for start in range(0, len(data), size):
            file.write(data[start : start + size])
            read += tail.lines()
    assert read == ["erste Zeile", "", "zweite ä"]
    assert list(tail.close()) == ["ohne Ende"]


def test_bytes_that_are_not_utf_8_are_shown_as_such(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"a\xff\n\xff")
    tail = Tail((tmp_path / "log").open("rb"))
    assert [*tail.lines(), *tail.close()] == ["a\N{REPLACEMENT CHARACTER}", "\N{REPLACEMENT CHARACTER}"]
