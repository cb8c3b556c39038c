"""An extraction is whole, or leaves nothing, whatever happens to it."""

from __future__ import annotations

import errno
import io
import os
import random
import signal
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest

from emulator.archives.extraction import UNFINISHED_PREFIX, extract
from emulator.errors import ArchiveError
from tests.support.repository import REPOSITORY
from tests.support.tar_archives import (
    MIB,
    ROOT,
    SOUND,
    contents,
    directory,
    file,
    symlink,
)


def test_a_directory_that_exists_is_left_alone(volume):
    volume.write(SOUND)
    volume.target.mkdir()
    with pytest.raises(FileExistsError):
        volume.extract()
    assert os.listdir(volume.target) == []


def test_an_archive_that_does_not_exist_passes_as_it_is(volume):
    with pytest.raises(FileNotFoundError):
        volume.extract()
    assert os.listdir(volume.directory) == ["secret"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EIO, "broken disk"), MemoryError()], ids=repr)
def test_nothing_is_left_of_an_extraction_that_is_interrupted(volume, monkeypatch, error):
    volume.pack(directory("d", mode=0), symlink("d/l", "d"), *[file(f"d/{number}", b"1") for number in range(10)])
    before, threads, calls = volume.surroundings(), set(threading.enumerate()), []
    write = os.write

    def failing(file, data):
        calls.append(len(data))
        if len(calls) == 5:
            raise error
        return write(file, data)

    monkeypatch.setattr(os, "write", failing)
    with pytest.raises(type(error)) as caught:
        volume.extract()
    assert caught.value is error
    assert not volume.target.exists()
    assert volume.surroundings() == before
    assert set(threading.enumerate()) <= threads


def test_a_write_that_takes_only_a_part_is_continued(volume, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[: len(data) // 2 + 1]))
    content = random.Random(0).randbytes(MIB)
    volume.pack(file("a", content))
    volume.extract()
    assert (volume.target / "a").read_bytes() == content


def test_a_full_disk_is_reported_as_such_and_nothing_is_left_on_it(volume):
    disk = volume.base / "disk"
    disk.mkdir()
    if not sys.platform.startswith("linux") or not ROOT:
        pytest.skip("needs Linux and root, to mount a small disk")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("needs permission to mount a small disk")
    try:
        volume.pack(file("fits", b"1"), file("does-not", random.Random(0).randbytes(4 * MIB)))
        free = os.statvfs(disk).f_bfree
        with open(volume.archive, "rb") as packed, pytest.raises(OSError) as caught:
            extract(packed, disk / "model", max_bytes=64 * MIB, max_files=10)
        assert caught.value.errno == errno.ENOSPC
        assert os.listdir(disk) == []
        assert os.statvfs(disk).f_bfree == free
    finally:
        subprocess.run(["umount", disk], check=True)


KILLED = """
import os, signal, sys
from pathlib import Path
from emulator.archives.extraction import extract

write, calls = os.write, []

def fatal(file, data):
    calls.append(file)
    if len(calls) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return write(file, data)

os.write = fatal
extract(open(sys.argv[1], "rb"), Path(sys.argv[2]), max_bytes=1 << 30, max_files=100)
"""


def test_an_extraction_that_is_killed_leaves_nothing_that_looks_like_a_model(volume):
    volume.pack(*[file(str(number), b"1") for number in range(10)])
    killed = subprocess.run([sys.executable, "-c", KILLED, volume.archive, volume.target], cwd=REPOSITORY)
    assert killed.returncode == -signal.SIGKILL
    left = [name for name in os.listdir(volume.directory) if name != "secret"]
    assert len(left) == 1 and left[0].startswith(UNFINISHED_PREFIX)
    assert os.listdir(volume.directory / left[0])
    assert volume.extract().files == 10


def test_many_extractions_at_once_do_not_disturb_each_other(volume):
    volume.pack(directory("d"), *[file(f"d/{number}", bytes([number]) * 10_000) for number in range(50)])
    targets = [volume.directory / f"model-{number}" for number in range(6)]

    def work(target: Path) -> None:
        with open(volume.archive, "rb") as packed:
            extract(packed, target, max_bytes=MIB, max_files=100)

    workers = [threading.Thread(target=work, args=(target,)) for target in targets]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(os.listdir(volume.directory)) == [*(target.name for target in targets), "secret"]
    assert all(contents(target) == contents(targets[0]) for target in targets)


def test_a_file_with_more_links_than_its_file_system_counts_is_copied(tmp_path, monkeypatch):
    """ext4 counts 65,000. A copy takes room, which counts."""

    def one_is_enough(source, target):
        if os.stat(source).st_nlink > 1:
            raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))
        link(source, target)

    link = os.link
    monkeypatch.setattr(os, "link", one_is_enough)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo("a")
        member.size = 1000
        tar.addfile(member, io.BytesIO(b"x" * 1000))
        for name in ("b", "c"):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.LNKTYPE, "a"
            tar.addfile(member)
    for limit, fits in ((2000, True), (1999, False)):
        archive, target = io.BufferedReader(io.BytesIO(buffer.getvalue())), tmp_path / str(limit)
        if fits:
            extract(archive, target, max_bytes=limit, max_files=10)
            assert {path.name: path.read_bytes() for path in target.iterdir()} == dict.fromkeys("abc", b"x" * 1000)
            assert (target / "a").stat().st_ino != (target / "c").stat().st_ino
        else:
            with pytest.raises(ArchiveError, match="unpacks to more"):
                extract(archive, target, max_bytes=limit, max_files=10)
