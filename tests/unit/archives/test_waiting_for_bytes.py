"""Of the time of an extraction, what was waiting for the archive's bytes."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from emulator.archives import extraction, s3_download
from emulator.archives.model_data_url import S3Url
from emulator.archives.s3_download import Download
from emulator.archives.source import ModelSource, Version
from tests.support.files import archive

OPENING, READING = 2.0, 0.5  # seconds of a clock that only S3 moves


class SlowS3:
    """A source whose requests take time, by a clock of its own."""

    is_remote = True

    def __init__(self, content: bytes) -> None:
        self.now, self.reads = 0.0, 0
        self._content = content

    def perf_counter(self) -> float:
        return self.now

    @contextmanager
    def open(self, target_model: str) -> Iterator[tuple[io.BufferedReader[Any], Version]]:
        download = Download(self._get, lambda error: error, S3Url("bucket", target_model), threading.Event())
        download.begin()
        with io.BufferedReader(download, 4096) as file:
            yield file, download.entity_tag

    def _get(self, **_: str) -> dict[str, Any]:
        self.now += OPENING
        return {"Body": Body(self, self._content), "ETag": '"1"', "ContentLength": len(self._content)}


class Body(io.BytesIO):
    def __init__(self, s3: SlowS3, content: bytes) -> None:
        super().__init__(content)
        self._s3 = s3

    def read(self, size: int | None = -1) -> bytes:
        self._s3.now += READING
        self._s3.reads += 1
        return super().read(size)


def test_it_is_the_time_until_the_object_is_open_and_of_each_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3 = SlowS3(archive(tmp_path / "m.tar.gz", {"weights": "x" * 100_000}).read_bytes())
    for module in (extraction, s3_download):
        monkeypatch.setattr(module, "time", s3)
    extracted, version = extraction.extract_from(
        cast(ModelSource, s3), "m.tar.gz", tmp_path / "model", max_bytes=10**6, max_files=10
    )
    assert version == '"1"' and s3.reads
    assert extracted.waited_seconds == s3.now == OPENING + READING * s3.reads
