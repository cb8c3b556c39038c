"""The files behind a storage volume, of archives that change while they are extracted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

import pytest

from emulator.archives.directory_source import DirectorySource
from emulator.archives.source import Version
from emulator.hosting.model_files import ModelFiles

NAME = "porto.tar.gz"


class Edited(DirectorySource):
    """A directory that stands for an archive, whose files are saved while it is read."""

    def __init__(self, directory: Path, save: Callable[[Path], object]) -> None:
        super().__init__(directory)
        self.reads = 0
        self._model, self._save = directory / NAME, save

    @contextmanager
    def open(self, target_model: str) -> Iterator[tuple[BufferedReader[Any], Version]]:
        self.reads += 1
        with super().open(target_model) as (archive, version):
            archive.peek()
            self._save(self._model)
            yield archive, version


def extracted(tmp_path: Path, save: Callable[[Path], object], *, is_remote: bool = False) -> tuple[Path, Edited]:
    """A model that is extracted, and what it was read from."""
    model = tmp_path / "s3" / NAME
    model.mkdir(parents=True)
    (model / "a.py").touch()  # as an editor empties it, to write it anew
    (model / "weights").write_bytes(bytes(1_000_000))
    source = Edited(model.parent, save)
    source.is_remote = is_remote
    files = ModelFiles(tmp_path / "disk", source, 1000)
    asyncio.run(files.clear())
    _, version = asyncio.run(files.extract(NAME, "porto", 10**7))
    assert is_remote or version == source.version(NAME)
    return files.path("porto"), source


@pytest.mark.parametrize("name", ["a.py", "weights"], ids=["read already", "shorter than it was"])
def test_what_is_saved_while_it_is_read_is_read_once_again(tmp_path: Path, name: str) -> None:
    def save(model: Path) -> None:
        if (model / name).read_bytes() != b"saved":
            (model / name).write_text("saved")

    found, source = extracted(tmp_path, save)
    assert (found / name).read_text() == "saved" and source.reads == 2


def test_what_does_not_change_and_what_is_in_s3_is_read_once(tmp_path: Path) -> None:
    assert extracted(tmp_path / "same", lambda model: None)[1].reads == 1
    saved, source = extracted(tmp_path / "s3", lambda model: (model / "a.py").write_text("saved"), is_remote=True)
    assert saved.is_dir() and source.reads == 1


def test_callers_who_come_while_an_archive_is_looked_at_share_the_next_look(tmp_path: Path) -> None:
    (tmp_path / NAME).touch()
    begun, goes_on = threading.Semaphore(0), threading.Semaphore(0)
    looks = []

    class Watched(DirectorySource):
        def version(self, target_model: str) -> Version:
            looks.append(target_model)
            begun.release()
            goes_on.acquire()
            return len(looks)

    async def main() -> None:
        files = ModelFiles(tmp_path / "disk", Watched(tmp_path), 1000)
        first = asyncio.ensure_future(files.versions([NAME]))
        await asyncio.to_thread(begun.acquire)
        later = [asyncio.ensure_future(files.versions([NAME])) for _ in range(5)]
        given_up = asyncio.ensure_future(files.versions([NAME]))
        await asyncio.sleep(0)
        given_up.cancel()
        goes_on.release()
        assert await first == {NAME: 1}  # those who come later may not get what was seen before
        goes_on.release()
        assert await asyncio.gather(*later) == [{NAME: 2}] * 5

    asyncio.run(main())
    assert len(looks) == 2
