"""A new object's place: its directories, and the move that makes it appear in one step."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from emulator.storage.errors import InvalidKey
from emulator.storage.incoming_file import IncomingFile
from emulator.storage.keys import RESERVED
from emulator.storage.object_placement import make_directory, move_to, remove_empty


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    """A bucket with an object, a link out of it, and one within."""
    bucket = Path(os.path.realpath(tmp_path)) / "bucket"
    (bucket / "folder").mkdir(parents=True)
    (bucket / "object").write_bytes(b"x")
    (bucket / "elsewhere").symlink_to(tmp_path)
    (bucket / "link").symlink_to(bucket / "folder")
    return bucket


@pytest.mark.parametrize("path", ["folder", "folder/deeper", "a/b/c"])
def test_directories_of_a_key_are_made(bucket: Path, path: str) -> None:
    make_directory("key", bucket / path)
    make_directory("key", bucket / path)
    assert (bucket / path).is_dir()


@pytest.mark.parametrize(
    "path, why",
    [
        ("object", "an object has the name of one of its directories"),
        ("object/deeper", "an object has the name of one of its directories"),
        ("elsewhere", "its path leads through a link"),
        ("link/deeper", "its path leads through a link"),
    ],
)
def test_a_key_that_cannot_have_its_directories_is_invalid(bucket: Path, path: str, why: str) -> None:
    with pytest.raises(InvalidKey, match=why):
        make_directory("key", bucket / path)


def received(tmp_path: Path) -> IncomingFile:
    incoming = IncomingFile.create(tmp_path / "incoming")
    incoming.write(b"new")
    return incoming


@pytest.mark.parametrize("before", [None, b"old"])
@pytest.mark.parametrize("other_disk", [False, True])
def test_a_file_takes_its_place(
    tmp_path: Path, bucket: Path, monkeypatch: pytest.MonkeyPatch, before: bytes | None, other_disk: bool
) -> None:
    incoming, place = received(tmp_path), bucket / "key"
    modified = incoming.stamp()
    if before is not None:
        place.write_bytes(before)
    if other_disk:
        on_another_disk(monkeypatch, tmp_path / "incoming")
    move_to(incoming, bucket, place)
    assert place.read_bytes() == b"new"
    assert place.stat().st_mtime_ns == modified
    assert list((tmp_path / "incoming").iterdir()) == []
    assert not (bucket / RESERVED).exists() or list((bucket / RESERVED).iterdir()) == []


@pytest.mark.parametrize("other_disk", [False, True])
def test_where_it_cannot_be_moved_all_is_as_before(
    tmp_path: Path, bucket: Path, monkeypatch: pytest.MonkeyPatch, other_disk: bool
) -> None:
    incoming = received(tmp_path)
    if other_disk:
        on_another_disk(monkeypatch, tmp_path / "incoming")
    with pytest.raises(IsADirectoryError):
        move_to(incoming, bucket, bucket / "folder")
    assert (bucket / "folder").is_dir()
    assert not (bucket / RESERVED).exists() or list((bucket / RESERVED).iterdir()) == []
    assert incoming.path.read_bytes() == b"new"
    incoming.discard()


def on_another_disk(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """What is in there cannot be renamed to anywhere else."""
    replace = os.replace

    def across(source: Path, target: Path) -> Any:
        if source.parent == directory:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return replace(source, target)

    monkeypatch.setattr(os, "replace", across)


def test_directories_that_contain_nothing_are_removed(bucket: Path) -> None:
    (bucket / "folder" / "a" / "b").mkdir(parents=True)
    (bucket / "folder" / "c").mkdir()
    remove_empty(bucket / "folder")
    assert not (bucket / "folder").exists()


@pytest.mark.parametrize("content", ["a file", "a link to a directory", "a link to nothing"])
def test_a_directory_with_something_in_it_stays_as_it_is(bucket: Path, content: str) -> None:
    (bucket / "folder" / "a").mkdir()
    (bucket / "folder" / "z" / "deeper").mkdir(parents=True)
    inside = bucket / "folder" / "z" / "deeper" / "x"
    if content == "a file":
        inside.write_bytes(b"")
    else:
        inside.symlink_to(bucket if content == "a link to a directory" else bucket / "none")
    with pytest.raises(OSError) as raised:
        remove_empty(bucket / "folder")
    assert raised.value.errno == errno.ENOTEMPTY
    assert (bucket / "folder" / "a").is_dir() and os.path.lexists(inside)
