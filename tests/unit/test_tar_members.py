"""Members of a tar archive, made one after the other, are read by others."""

from __future__ import annotations

import io
import tarfile

import pytest

from emulator.tar_members import END, content, header


@pytest.mark.parametrize("size", [0, 1, 512, 300_000])
def test_what_is_made_is_read_by_tarfile(size: int) -> None:
    data = bytes(size)
    made = [
        header("directory", tarfile.DIRTYPE, 0o755),
        header("n" * 300, tarfile.REGTYPE, 0o640, size=size, time=1.9),
        *content(io.BytesIO(data + b"more"), size),
        header("link", tarfile.SYMTYPE, 0o777, link="directory"),
        END,
    ]
    with tarfile.open(fileobj=io.BytesIO(b"".join(made))) as tar:
        directory, file, link = tar.getmembers()
        assert (directory.isdir(), link.linkname) == (True, "directory")
        assert (file.name, file.mode, file.mtime, file.uid) == ("n" * 300, 0o640, 1, 0)
        read = tar.extractfile(file)
        assert read is not None and read.read() == data


def test_a_file_that_is_shorter_is_an_error() -> None:
    with pytest.raises(EOFError):
        b"".join(content(io.BytesIO(b"short"), 6))
