"""Directories as a tar stream for an engine that cannot see them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from emulator.containers.docker.tar_stream import packed
from emulator.errors import ContainerError


def test_files_are_packed_for_every_user(tmp_path: Path) -> None:
    tmp_path.joinpath("program").write_text("#!")
    tmp_path.joinpath("program").chmod(0o700)
    tmp_path.joinpath("empty").touch(0o600)
    tmp_path.joinpath("closed").mkdir(0o700)
    with tarfile.open(fileobj=io.BytesIO(b"".join(packed(["opt"], tmp_path, "opt/m")))) as tar:
        modes = {member.name: oct(member.mode) for member in tar}
    assert modes == {
        "opt": "0o755",
        "opt/m": "0o755",
        "opt/m/program": "0o755",
        "opt/m/empty": "0o644",
        "opt/m/closed": "0o755",
    }


def test_links_stay_links_and_long_names_stay_whole(tmp_path: Path) -> None:
    long = "x" * 150
    tmp_path.joinpath(long).write_bytes(b"y" * 3000)
    tmp_path.joinpath("link").symlink_to(long)
    with tarfile.open(fileobj=io.BytesIO(b"".join(packed([], tmp_path, "opt/m")))) as tar:
        assert tar.getmember("opt/m/link").linkname == long
        file = tar.extractfile(f"opt/m/{long}")
        assert file is not None and file.read() == b"y" * 3000


def test_what_cannot_be_read_is_an_error_of_the_container(tmp_path: Path) -> None:
    pieces = packed([], tmp_path, "opt/m")
    next(pieces)
    tmp_path.rmdir()
    with pytest.raises(ContainerError, match="the model's files cannot be read: No such file or directory"):
        b"".join(pieces)
