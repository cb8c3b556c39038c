"""Tar archives of any members, and a volume to extract them into."""

from __future__ import annotations

import gzip
import io
import os
import stat
import subprocess
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest

from emulator.archives.extraction import Extracted, extract
from emulator.errors import ArchiveError

MIB = 1024 * 1024
ROOT = os.geteuid() == 0
TAR_FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


Member = tuple[tarfile.TarInfo, bytes]  # and its data


def file(name: str, data: bytes = b"", mode: int = 0o644, **fields: Any) -> Member:
    return special(name, tarfile.REGTYPE, mode=mode, size=len(data), **fields), data


def directory(name: str, mode: int = 0o755, **fields: Any) -> Member:
    return special(name, tarfile.DIRTYPE, mode=mode, **fields), b""


def symlink(name: str, target: str, **fields: Any) -> Member:
    return special(name, tarfile.SYMTYPE, linkname=target, **fields), b""


def hardlink(name: str, target: str) -> Member:
    return special(name, tarfile.LNKTYPE, linkname=target), b""


def special(name: str, kind: bytes, **fields: Any) -> tarfile.TarInfo:
    """A member of any kind, without its data."""
    member = tarfile.TarInfo(name)
    member.type = kind
    member.mtime = 1_700_000_000
    for field, value in fields.items():
        setattr(member, field, value)
    return member


def raw_header(kind: bytes, size: int = 0, name: bytes = b"x") -> bytes:
    """A header block as it is, where tarfile would not write one like it."""
    block = bytearray(name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2)
    block += b"%011o\0" % size if size >= 0 else (size % 2**96).to_bytes(12, "big")
    block += b"14524770400\0" + b" " * 8 + kind
    block = block.ljust(257, b"\0") + b"ustar\x0000"
    block = block.ljust(512, b"\0")
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def tar_bytes(*members: Member, format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for member, data in members:
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


class Volume:
    """A directory to extract into, with things around it that must not change."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.directory = base / "volume"
        self.target = self.directory / "model"
        self.archive = base / "model.tar.gz"
        self.directory.mkdir()
        for secret in [base / "secret", self.directory / "secret", base / "b" / "secret"]:
            secret.parent.mkdir(exist_ok=True)
            secret.write_text("untouched")

    def pack(self, *members: Member, **options: int) -> None:
        self.write(gzip.compress(tar_bytes(*members, **options), 1))

    def write(self, data: bytes) -> None:
        self.archive.write_bytes(data)

    def extract(self, *, max_bytes: int = 64 * MIB, max_files: int = 1000) -> Extracted:
        with open(self.archive, "rb") as file:
            return extract(file, self.target, max_bytes=max_bytes, max_files=max_files)

    def surroundings(self) -> dict[str, Any]:
        """Everything but the target."""
        entries = snapshot(self.base)
        return {path: entries[path] for path in entries if not (path + "/").startswith("volume/model/")}


def snapshot(root: Path) -> dict[str, Any]:
    """Every entry below ``root``: its kind and mode, links, time, and content."""
    entries = {}
    for parent, directories, files in os.walk(root):
        for name in directories + files:
            path = os.path.join(parent, name)
            status = os.lstat(path)
            content: str | bytes | None = None
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                content = Path(path).read_bytes()
            # A directory's own time and link count change when the target appears in it.
            own = (status.st_nlink, status.st_mtime_ns) if not stat.S_ISDIR(status.st_mode) else ()
            entries[os.path.relpath(path, root)] = (status.st_mode, *own, content)
    return entries


def assert_refused(volume: Volume, reason: str, **limits: int) -> None:
    """Extraction fails with one plain sentence, and leaves everything as it was."""
    before = volume.surroundings()
    threads = set(threading.enumerate())
    with pytest.raises(ArchiveError, match=reason) as caught:
        volume.extract(**limits)
    sentence = str(caught.value)
    assert sentence.endswith(".") and "\n" not in sentence and len(sentence) < 700
    sentence.encode()
    assert not volume.target.exists()
    assert volume.surroundings() == before
    assert set(threading.enumerate()) <= threads


SOUND = gzip.compress(tar_bytes(directory("d"), file("d/a", bytes(range(256)) * 8), symlink("l", "d/a")))


SPARSE_FORMATS = {
    "gnu": ["--format=gnu"],
    "pax-0.0": ["--format=pax", "--sparse-version=0.0"],
    "pax-0.1": ["--format=pax", "--sparse-version=0.1"],
    "pax-1.0": ["--format=pax", "--sparse-version=1.0"],
}


def pack_sparse(volume: Volume, options: list[str], holes: int, size: int) -> Path:
    """Pack with GNU tar a file of ``size`` with a block of data after each of its holes. Returns its path."""
    path = volume.base / "sparse"
    with open(path, "wb") as sparse:
        for number in range(holes):
            sparse.seek(number * MIB + 65536)
            sparse.write(os.urandom(5000))
        sparse.truncate(size)
    tar: list[str | Path] = ["tar", "czf", volume.archive, "--sparse", *options, "-C", volume.base, "sparse", "secret"]
    if subprocess.run(tar, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("needs GNU tar")
    return path


def contents(root: Path, *, packed: bool = False) -> tuple[dict[str, Any], list[list[str]]]:
    """Every entry below ``root``; of a tree that was packed, as it should be once it is extracted."""
    entries: dict[str, Any] = {}
    same_files: dict[int, set[str]] = {}
    for parent, directories, files in os.walk(root):
        for name in directories + files:
            path = os.path.join(parent, name)
            relative, status = os.path.relpath(path, root), os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                entries[relative] = ("symlink", os.readlink(path))
                continue
            mode = stat.S_IMODE(status.st_mode)
            if stat.S_ISDIR(status.st_mode):
                mode = mode & 0o755 | 0o700 if packed else mode
                entries[relative] = ("directory", mode, status.st_mtime_ns)
            else:
                mode = mode & 0o755 | 0o600 if packed else mode
                entries[relative] = ("file", mode, status.st_mtime_ns, Path(path).read_bytes())
                same_files.setdefault(status.st_ino, set()).add(relative)
    return entries, sorted(map(sorted, same_files.values()))
