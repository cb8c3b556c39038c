"""Models to pack, archives as somebody else made them, and what comes out of both."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
from pathlib import Path

from emulator.archives.extraction import extract
from emulator.printable import printable
from localmme.pack.contents import Contents, contents_of
from localmme.pack.mistakes import Mistake
from localmme.pack.writing import write

GIB = 1024**3
LIMITS = {"max_bytes": GIB, "max_files": 1000}


def tree(directory: Path, files: dict[str, bytes | str]) -> Path:
    """A directory with these files; a path that ends with a slash is an empty directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = directory / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    return directory


def contents(directory: Path, **limits: int) -> Contents:
    all_limits = {**LIMITS, **limits}
    return contents_of(directory, max_bytes=all_limits["max_bytes"], max_files=all_limits["max_files"])


def packed(directory: Path, archive: Path, *, compressed: bool = True) -> Path:
    found = contents(directory)
    assert not [finding for finding in found.mistakes if finding.verdict == "fail"]
    write(found, archive, compressed=compressed)
    return archive


def extracted(archive: Path, directory: Path) -> Path:
    with open(archive, "rb") as file:
        extract(file, directory, **LIMITS)
    return directory


def snapshot(directory: Path) -> dict[str, tuple[str, bytes]]:
    """Kind, executable or not, and content of all that is there."""
    entries = {}
    for path in directory.rglob("*"):
        mode = path.lstat().st_mode
        kind = f"{stat.S_IFMT(mode):o} {'x' if mode & 0o100 else '-'}"
        entries[str(path.relative_to(directory))] = kind, path.read_bytes() if path.is_file() else b""
    return entries


def tar_gz(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    """An archive as somebody else made it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member, data in members:
            tar.addfile(member, io.BytesIO(data))
    path.write_bytes(gzip.compress(buffer.getvalue(), 1))
    return path


def member(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, target: str = "", mode: int = 0o755
) -> tuple[tarfile.TarInfo, bytes]:
    information = tarfile.TarInfo(name)
    information.type, information.linkname, information.mode, information.size = kind, target, mode, len(data)
    return information, data


def found_in(findings: list[Mistake]) -> dict[str, str]:
    """Verdicts by the names of the mistakes. Each says, in sentences, what to do."""
    for finding in findings:
        assert finding.detail.endswith(".") and finding.remedy.endswith(".")
        assert printable(finding.detail + finding.remedy) == finding.detail + finding.remedy
    return {finding.name: finding.verdict for finding in findings}
