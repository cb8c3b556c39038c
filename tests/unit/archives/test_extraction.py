"""Model archives: what survives packing and extracting, and what is refused."""

import errno
import gzip
import io
import os
import random
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import threading
import tracemalloc
import zipfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.archives.extraction import UNFINISHED_PREFIX, Extracted, extract
from emulator.errors import ArchiveError
from tests.support.repository import REPOSITORY

MIB = 1024 * 1024
ROOT = os.geteuid() == 0
TAR_FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def file(name, data=b"", mode=0o644, **fields):
    return _member(name, tarfile.REGTYPE, mode=mode, size=len(data), **fields), data


def directory(name, mode=0o755, **fields):
    return _member(name, tarfile.DIRTYPE, mode=mode, **fields), b""


def symlink(name, target, **fields):
    return _member(name, tarfile.SYMTYPE, linkname=target, **fields), b""


def hardlink(name, target):
    return _member(name, tarfile.LNKTYPE, linkname=target), b""


def _member(name, kind, **fields):
    member = tarfile.TarInfo(name)
    member.type = kind
    member.mtime = 1_700_000_000
    for field, value in fields.items():
        setattr(member, field, value)
    return member


def raw_header(kind, size=0, name=b"x"):
    """A header block as it is, where tarfile would not write one like it."""
    block = bytearray(name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2)
    block += b"%011o\0" % size if size >= 0 else (size % 2**96).to_bytes(12, "big")
    block += b"14524770400\0" + b" " * 8 + kind
    block = block.ljust(257, b"\0") + b"ustar\x0000"
    block = block.ljust(512, b"\0")
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def tar_bytes(*members, format=tarfile.PAX_FORMAT):
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

    def pack(self, *members, **options):
        self.write(gzip.compress(tar_bytes(*members, **options), 1))

    def write(self, data: bytes) -> None:
        self.archive.write_bytes(data)

    def extract(self, *, max_bytes=64 * MIB, max_files=1000) -> Extracted:
        with open(self.archive, "rb") as file:
            return extract(file, self.target, max_bytes=max_bytes, max_files=max_files)

    def surroundings(self):
        """Everything but the target."""
        entries = snapshot(self.base)
        return {path: entries[path] for path in entries if not (path + "/").startswith("volume/model/")}


def snapshot(root: Path):
    """Every entry below ``root``: its kind and mode, links, time, and content."""
    entries = {}
    for parent, directories, files in os.walk(root):
        for name in directories + files:
            path = os.path.join(parent, name)
            status = os.lstat(path)
            content = None
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                content = Path(path).read_bytes()
            # A directory's own time and link count change when the target appears in it.
            own = (status.st_nlink, status.st_mtime_ns) if not stat.S_ISDIR(status.st_mode) else ()
            entries[os.path.relpath(path, root)] = (status.st_mode, *own, content)
    return entries


@pytest.fixture
def volume(tmp_path):
    return Volume(tmp_path)


def assert_refused(volume, reason, **limits):
    """Extraction fails with one plain sentence, and leaves everything as it was."""
    before = volume.surroundings()
    threads = threading.active_count()
    with pytest.raises(ArchiveError, match=reason) as caught:
        volume.extract(**limits)
    sentence = str(caught.value)
    assert sentence.endswith(".") and "\n" not in sentence and len(sentence) < 700
    sentence.encode()
    assert not volume.target.exists()
    assert volume.surroundings() == before
    assert threading.active_count() == threads


# What is extracted


@pytest.mark.parametrize("format", TAR_FORMATS.values(), ids=TAR_FORMATS)
def test_every_tar_format_is_read(volume, format):
    long_name = "directory-" * 9 + "/" + "name-" * 15
    volume.pack(file(long_name, b"long"), directory("empty"), symlink("link", "empty"), format=format)
    assert volume.extract() == Extracted(size_bytes=4, files=4)
    assert (volume.target / long_name).read_bytes() == b"long"
    assert (volume.target / "empty").is_dir()
    assert os.readlink(volume.target / "link") == "empty"


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["gnu", "pax"])
def test_long_names_and_link_targets_are_read(volume, format):
    deep = "/".join(["directory" * 10] * 10)
    volume.pack(file(f"{deep}/file", b"1"), hardlink("hard", f"{deep}/file"), symlink("soft", deep), format=format)
    volume.extract()
    assert (volume.target / "hard").stat().st_nlink == 2
    assert (volume.target / "soft" / "file").read_bytes() == b"1"


def test_an_archive_of_several_gzip_members_is_read(volume):
    tar = tar_bytes(file("a", b"1" * 3000), file("b", b"2"))
    volume.write(gzip.compress(tar[:1000]) + gzip.compress(tar[1000:]) + b"\0" * 512)
    volume.extract()
    assert (volume.target / "b").read_bytes() == b"2"


def test_a_leading_dot_and_needless_slashes_are_dropped(volume):
    volume.pack(directory("."), file("./a", b"1"), file("d//./b", b"2"))
    volume.extract()
    assert sorted(os.listdir(volume.target)) == ["a", "d"]
    assert (volume.target / "d" / "b").read_bytes() == b"2"


def test_the_files_that_macos_adds_are_extracted(volume):
    volume.pack(file("._model.pt", b"attributes"), file("model.pt", b"weights"))
    volume.extract()
    assert sorted(os.listdir(volume.target)) == ["._model.pt", "model.pt"]


def test_an_empty_tar_becomes_an_empty_directory(volume):
    volume.pack()
    assert volume.extract() == Extracted(size_bytes=0, files=0)
    assert os.listdir(volume.target) == []


def test_global_pax_headers_are_read(volume):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "a commit"}) as tar:
        tar.addfile(file("a")[0])
    volume.write(gzip.compress(buffer.getvalue()))
    assert volume.extract().files == 1


def test_members_and_the_directories_they_imply_are_counted_and_sizes_added(volume):
    volume.pack(file("a/b/one", b"12345"), file("a/two", b"678"), hardlink("three", "a/two"))
    assert volume.extract(max_bytes=8, max_files=5) == Extracted(size_bytes=8, files=5)


def test_of_two_members_with_one_name_the_later_counts(volume):
    volume.pack(
        file("a", b"old", mode=0o700),
        hardlink("keeps-the-old", "a"),
        file("./a", b"new"),
        symlink("b", "a"),
        file("b", b"was a link"),
        file("c", b"will be a link"),
        symlink("c", "a"),
        symlink("d", "b"),
        symlink("d", "c"),
    )
    volume.extract()
    assert (volume.target / "a").read_bytes() == b"new"
    assert stat.S_IMODE((volume.target / "a").stat().st_mode) == 0o644
    assert (volume.target / "keeps-the-old").read_bytes() == b"old"
    assert not (volume.target / "b").is_symlink()
    assert os.readlink(volume.target / "c") == "a"
    assert os.readlink(volume.target / "d") == "c"


def test_a_file_that_tar_was_told_to_pack_twice_is_extracted(volume, tmp_path):
    (tmp_path / "a").write_text("once")
    subprocess.run(["tar", "czf", volume.archive, "-C", tmp_path, "a", "a", "./a"], check=True)
    volume.extract()
    assert (volume.target / "a").read_text() == "once"


def test_links_that_stay_inside_are_kept(volume):
    volume.pack(
        file("lib/libmodel.so.1", b"elf"),
        directory("lib/empty"),
        symlink("lib/libmodel.so", "libmodel.so.1"),
        symlink("lib64", "./lib/"),
        symlink("bin/deep/link", "../../lib/libmodel.so"),
        symlink("roundabout", "lib/empty/../libmodel.so.1"),
        symlink("lib/top", ".."),
        symlink("dangling", "lib/nothing"),
        symlink("loop", "loop"),
        hardlink("hard", "./lib/libmodel.so.1"),
        hardlink("hard-to-a-link", "lib64"),
    )
    volume.extract()
    for name in ["lib/libmodel.so", "lib64/libmodel.so", "bin/deep/link", "roundabout", "lib/top/hard"]:
        assert (volume.target / name).read_bytes() == b"elf", name
    assert os.readlink(volume.target / "dangling") == "lib/nothing"
    assert os.readlink(volume.target / "loop") == "loop"
    assert os.readlink(volume.target / "hard-to-a-link") == "./lib/"
    assert (volume.target / "hard").stat().st_nlink == 2


@pytest.mark.parametrize("packed, expected", [(0o755, 0o755), (0o500, 0o700), (0o7777, 0o755), (0, 0o600)], ids=oct)
def test_a_file_keeps_its_mode_but_for_what_is_unsafe_or_unreadable(volume, packed, expected):
    volume.pack(file("a", mode=packed))
    umask = os.umask(0o077)
    try:
        volume.extract()
    finally:
        os.umask(umask)
    assert stat.S_IMODE((volume.target / "a").stat().st_mode) == expected


def test_directories_can_be_entered_and_removed_whatever_their_mode(volume):
    members = [directory(".", mode=0), directory("a", mode=0), file("a/b", mode=0), directory("a/c", mode=0o3777)]
    volume.pack(*members)
    volume.extract()
    modes = [stat.S_IMODE((volume.target / name).stat().st_mode) for name in [".", "a", "a/b", "a/c"]]
    assert modes == [0o700, 0o700, 0o600, 0o755]


def test_times_are_kept(volume):
    volume.pack(
        directory(".", mtime=1_000_000_000),
        directory("d", mtime=1_100_000_000),
        file("d/f", b"1", mtime=1_200_000_000.123456),
        symlink("d/l", "f", mtime=1_300_000_000),
        file("before-1970", mtime=-86400),
    )
    volume.extract()
    times = {name: (volume.target / name).lstat().st_mtime_ns for name in [".", "d", "d/f", "d/l", "before-1970"]}
    assert times == {
        ".": 1_000_000_000 * 10**9,
        "d": 1_100_000_000 * 10**9,
        "d/f": 1_200_000_000_123_456_000,
        "d/l": 1_300_000_000 * 10**9,
        "before-1970": -86400 * 10**9,
    }


@pytest.mark.parametrize("time", ["nan", "inf", "-inf", "1e300", "-1e300", "9e18", "soon"])
def test_an_impossible_time_does_no_harm(volume, time):
    member, data = file("a", b"1")
    member.pax_headers = {"mtime": time}
    volume.pack((member, data))
    volume.extract()
    assert (volume.target / "a").read_bytes() == b"1"


def test_files_belong_to_the_current_user(volume):
    volume.pack(file("a", uid=12345, gid=12345, uname="nobody"))
    volume.extract()
    assert (volume.target / "a").stat().st_uid == os.geteuid()


SPARSE_FORMATS = {
    "gnu": ["--format=gnu"],
    "pax-0.0": ["--format=pax", "--sparse-version=0.0"],
    "pax-0.1": ["--format=pax", "--sparse-version=0.1"],
    "pax-1.0": ["--format=pax", "--sparse-version=1.0"],
}


def pack_sparse(volume, options, holes, size):
    """Pack with GNU tar a file of ``size`` with a block of data after each of its holes. Returns its path."""
    path = volume.base / "sparse"
    with open(path, "wb") as sparse:
        for number in range(holes):
            sparse.seek(number * MIB + 65536)
            sparse.write(os.urandom(5000))
        sparse.truncate(size)
    tar = ["tar", "czf", volume.archive, "--sparse", *options, "-C", volume.base, "sparse", "secret"]
    if subprocess.run(tar, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("needs GNU tar")
    return path


@pytest.mark.parametrize("options", SPARSE_FORMATS.values(), ids=SPARSE_FORMATS)
@pytest.mark.parametrize("holes", [0, 1, 30])
def test_sparse_files_are_read(volume, options, holes):
    path = pack_sparse(volume, options, holes, 32 * MIB)
    volume.extract()
    extracted = volume.target / "sparse"
    assert extracted.read_bytes() == path.read_bytes()
    assert extracted.stat().st_blocks * 512 < 8 * MIB
    assert (volume.target / "secret").read_text() == "untouched"


NAMES = st.one_of(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60),
    st.binary(min_size=1, max_size=20).map(lambda name: os.fsdecode(name.replace(b"/", b"").replace(b"\0", b""))),
    st.sampled_from(["a", "._a", "model.tar.gz", "n" * 101, "ü" * 120, " ", "-", "\\", "new\nline"]),
).filter(lambda name: name not in ("", ".", "..") and len(os.fsencode(name)) < 256)
FILE_MODES = st.integers(0, 0o7777) if ROOT else st.integers(0, 0o7777).map(lambda mode: mode | 0o400)
DIRECTORY_MODES = st.integers(0, 0o7777) if ROOT else st.integers(0, 0o7777).map(lambda mode: mode | 0o500)
TIMES = st.integers(0, 2**32)
FILES = st.tuples(st.just("file"), FILE_MODES, TIMES, st.binary(max_size=2000))
LINKS = st.tuples(st.sampled_from(["symlink", "hardlink"]), st.integers(0, 99))
TREES = st.recursive(
    st.dictionaries(NAMES, FILES | LINKS, max_size=4),
    lambda tree: st.dictionaries(NAMES, FILES | LINKS | st.tuples(DIRECTORY_MODES, TIMES, tree), max_size=4),
    max_leaves=8,
)


def build(tree, root: Path) -> None:
    """Make a tree of the kind that TREES draws."""
    made, links, directories = [root], [], []

    def fill(below, parent):
        for name, entry in below.items():
            path = parent / name
            if entry[0] == "file":
                _, mode, time, content = entry
                path.write_bytes(content)
                path.chmod(mode)
                os.utime(path, (time, time))
                made.append(path)
            elif entry[0] in ("symlink", "hardlink"):
                links.append((path, entry))
            else:
                mode, time, inner = entry
                path.mkdir()
                made.append(path)
                directories.append((path, mode, time))
                fill(inner, path)

    root.mkdir()
    fill(tree, root)
    for path, (kind, choice) in links:
        target = made[choice % len(made)]
        if kind == "hardlink" and target.is_file():
            os.link(target, path)
        else:
            os.symlink(os.path.relpath(target, path.parent), path)
    for path, mode, time in reversed(directories):
        path.chmod(mode)
        os.utime(path, (time, time))


def contents(root: Path, *, packed: bool = False):
    """Every entry below ``root``; of a tree that was packed, as it should be once it is extracted."""
    entries, same_files = {}, {}
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


def pack_with_tar(format):
    def pack(source, archive):
        subprocess.run(["tar", "czf", archive, f"--format={format}", "-C", source, "."], check=True)

    return pack


def pack_with_tarfile(format):
    def pack(source, archive):
        with tarfile.open(archive, "w:gz", format=format, compresslevel=1) as tar:
            tar.add(source, arcname="")

    return pack


PACKERS = {
    "tar-gnu": pack_with_tar("gnu"),
    "tar-pax": pack_with_tar("posix"),
    "tarfile-gnu": pack_with_tarfile(tarfile.GNU_FORMAT),
    "tarfile-pax": pack_with_tarfile(tarfile.PAX_FORMAT),
}


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
@given(tree=TREES)
@settings(max_examples=40, deadline=None)
def test_any_tree_survives_packing_and_extracting(pack, tree):
    with tempfile.TemporaryDirectory() as base:
        volume = Volume(Path(base))
        build(tree, volume.base / "tree")
        pack(volume.base / "tree", volume.archive)
        volume.extract()
        assert contents(volume.target) == contents(volume.base / "tree", packed=True)


# What is refused


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", "1")
    return buffer.getvalue()


SOUND = gzip.compress(tar_bytes(directory("d"), file("d/a", bytes(range(256)) * 8), symlink("l", "d/a")))
NOT_ARCHIVES = {
    "empty": (b"", "empty"),
    "text": (b"not a model", "not compressed with gzip"),
    "tar": (tar_bytes(file("a")), "tar file that is not compressed"),
    "zip": (zipped(), "zip"),
    "gzip-magic-only": (b"\x1f\x8b", "truncated"),
    "gzip-of-nothing": (gzip.compress(b""), "not a tar"),
    "gzip-of-text": (gzip.compress(b"not a model"), "not a tar"),
    "gzip-of-much-text": (gzip.compress(b"not a model" * 1000), "not a tar"),
    "bad-deflate": (SOUND[:10] + b"\xff" * 100, "corrupt"),
    "bad-crc": (SOUND[:-8] + b"0000" + SOUND[-4:], "corrupt"),
    "bad-length": (SOUND[:-4] + b"0000", "corrupt"),
    "trailing-garbage": (SOUND + b"garbage" * 10, "corrupt"),
}


@pytest.mark.parametrize("data, reason", NOT_ARCHIVES.values(), ids=NOT_ARCHIVES)
def test_what_is_no_model_archive_is_refused(volume, data, reason):
    volume.write(data)
    assert_refused(volume, reason)


def test_an_archive_is_refused_wherever_it_is_truncated(volume):
    for length in range(len(SOUND)):
        volume.write(SOUND[:length])
        assert_refused(volume, "truncated|empty|not compressed")


def test_a_tar_that_was_cut_before_it_was_compressed_is_refused(volume):
    tar = tar_bytes(file("a", b"1" * 2000), file("b", b"2" * 2000))
    for length in [1, 100, 513, 1000, 2500, 2561, 2600, 3073]:
        volume.write(gzip.compress(tar[:length]))
        assert_refused(volume, "truncated|corrupt|not a tar")


def test_a_damaged_header_in_the_middle_is_not_taken_for_the_end(volume):
    tar = bytearray(tar_bytes(file("a"), file("b"), file("c")))
    tar[512] ^= 1
    volume.write(gzip.compress(tar))
    assert_refused(volume, "header cannot be read")


HOSTILE = {
    "absolute": ([file("/etc/passwd")], "outside"),
    "absolute-directory": ([directory("/tmp")], "outside"),
    "parent": ([file("../secret")], "outside"),
    "parent-inside": ([file("a/../b")], "outside"),
    "parent-directory": ([directory("..")], "outside"),
    "a-file-named-as-the-root": ([file(".")], "A file in it is named '.'"),
    "a-file-named-as-the-root-at-length": ([file("./")], "A file in it is named '.'"),
    "through-a-link": ([symlink("out", ".."), file("out/secret")], "directory and something else"),
    "through-a-link-that-stays-inside": ([directory("d"), symlink("l", "d"), file("l/a")], "something else"),
    "link-absolute": ([symlink("a", "/etc/passwd")], "may lead outside"),
    "link-above": ([symlink("a", "../secret")], "may lead outside"),
    "link-above-from-below": ([symlink("d/e/a", "../../../secret")], "may lead outside"),
    "link-above-and-back": ([symlink("a", "../model/b"), file("b")], "may lead outside"),
    "link-above-through-a-link": (
        [symlink("d/e/f/top", "../../.."), symlink("out", "d/e/f/top/../secret")],
        "may lead outside",
    ),
    "link-above-through-a-chain": (
        [directory("d"), symlink("l1", "d"), symlink("l2", "l1/.."), symlink("l3", "l2/.."), symlink("l4", "l3/..")],
        "may lead outside",
    ),
    "link-above-through-what-becomes-a-link": (
        [directory("d"), symlink("out", "later/../../secret"), symlink("d/later", "."), symlink("later", "d/later")],
        "may lead outside",
    ),
    "link-above-through-a-file": ([file("a"), symlink("d/out", "../a/../../secret")], "may lead outside"),
    "link-without-a-target": ([symlink("a", "")], "no valid target"),
    "link-hard-absolute": ([hardlink("a", "/etc/passwd")], "outside"),
    "link-hard-above": ([hardlink("a", "../secret")], "outside"),
    "link-hard-through-a-link": ([symlink("out", ".."), hardlink("a", "out/secret")], "not an earlier file"),
    "link-hard-to-a-link-that-leads-outside": (
        [directory("d"), symlink("d/top", ".."), hardlink("top", "d/top")],
        "may lead outside",
    ),
    "link-hard-to-nothing": ([hardlink("a", "b"), file("b")], "not an earlier file"),
    "link-hard-to-itself": ([hardlink("a", "a")], "not an earlier file"),
    "link-hard-to-a-directory": ([directory("d"), hardlink("a", "d")], "not an earlier file"),
    "character-device": ([(_member("null", tarfile.CHRTYPE, devmajor=1, devminor=3), b"")], "not a file"),
    "block-device": ([(_member("disk", tarfile.BLKTYPE), b"")], "not a file"),
    "fifo": ([(_member("fifo", tarfile.FIFOTYPE), b"")], "not a file"),
    "unknown-kind": ([(_member("what", b"Z"), b"")], "not a file"),
    "file-in-a-file": ([file("a"), file("a/b")], "something else"),
    "file-over-a-directory": ([directory("a"), file("a")], "something else"),
    "directory-over-a-file": ([file("a"), directory("a")], "something else"),
    "directory-over-a-link": ([directory("d"), symlink("a", "d"), directory("a")], "something else"),
    "link-over-a-directory": ([directory("a"), symlink("a", "b")], "something else"),
    "file-over-the-model": ([file(".")], "is the model's own directory"),
    "link-over-the-model": ([symlink("./", "a")], "is the model's own directory"),
    "name-too-long": ([file("n" * 256)], "too long"),
    "path-too-long": ([file("/".join(["n" * 250] * 20))], "too long"),
    "link-name-too-long": ([symlink("n" * 256, "a")], "too long"),
    "link-target-too-long": ([symlink("a", "n/" * 4000)], "too long"),
    "too-deep": ([directory("d/" * 101)], "more than 100 directories"),
    "very-deep": ([file("d/" * 5000 + "a")], "more than 100 directories"),
}


@pytest.mark.parametrize("members, reason", HOSTILE.values(), ids=HOSTILE)
def test_what_is_unsafe_is_refused(volume, members, reason):
    volume.pack(file("innocent"), *members)
    assert_refused(volume, reason)


@pytest.mark.parametrize("field", ["path", "linkpath"])
def test_a_name_with_a_nul_is_refused(volume, field):
    member, data = symlink("a", "b")
    member.pax_headers = {field: "in\0valid"}
    volume.pack((member, data))
    assert_refused(volume, "valid")


STEPS = st.sampled_from(["a", "a", "b", "b", "c", "d", ".", "..", "..", "secret", "volume", "model"])
PATHS = st.builds(
    lambda prefix, steps: prefix + "/".join(steps),
    st.sampled_from(["", "", "", "", "./", "../", "/", "BASE/"]),
    st.lists(STEPS, min_size=1, max_size=5),
)
PLAIN_PATHS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=4).map("/".join)
HOSTILE_MEMBERS = st.one_of(
    st.builds(file, PLAIN_PATHS | PATHS, st.binary(max_size=10)),
    st.builds(directory, PLAIN_PATHS | PATHS),
    st.builds(symlink, PLAIN_PATHS, PLAIN_PATHS | PATHS),
    st.builds(hardlink, PLAIN_PATHS, PLAIN_PATHS | PATHS),
)


@given(members=st.lists(HOSTILE_MEMBERS, min_size=1, max_size=7))
@settings(max_examples=150, deadline=None)
def test_no_archive_touches_anything_outside_or_leads_there(members):
    with tempfile.TemporaryDirectory() as base:
        volume = Volume(Path(base))
        for member, _ in members:
            member.name = member.name.replace("BASE", base)
            member.linkname = member.linkname.replace("BASE", base)
        volume.pack(*members)
        before = volume.surroundings()
        try:
            volume.extract()
        except ArchiveError:
            assert not volume.target.exists()
        else:
            inside = os.path.realpath(volume.target)
            for parent, directories, files in os.walk(volume.target):
                for name in directories + files:
                    resolved = os.path.realpath(os.path.join(parent, name))
                    assert resolved == inside or resolved.startswith(inside + "/")
        assert volume.surroundings() == before


EVERYTHING = [
    directory("d", mtime=1.5),
    file("d/" + "long-" * 30, b"x" * 700),
    symlink("l", "d/" + "long-" * 30),
    hardlink("h", "d/" + "long-" * 30),
    file("ü", b"1"),
]


@given(
    format=st.sampled_from(list(TAR_FORMATS.values())[1:]),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=5),
)
@settings(max_examples=150, deadline=None)
def test_a_tar_with_random_changes_is_extracted_or_refused(format, changes):
    tar = bytearray(tar_bytes(*EVERYTHING, format=format))
    tar = tar[: len(tar.rstrip(b"\0")) + 1024]
    for place, value in changes:
        tar[int(place * len(tar))] = value
    for start in range(0, len(tar) - 511, 512):
        if tar[start + 257 : start + 262] == b"ustar":  # mend the checksum, so that the change is read
            tar[start + 148 : start + 156] = b" " * 8
            tar[start + 148 : start + 156] = b"%06o\0 " % sum(tar[start : start + 512])
    with tempfile.TemporaryDirectory() as base:
        volume = Volume(Path(base))
        volume.write(gzip.compress(bytes(tar), 1))
        before = volume.surroundings()
        try:
            volume.extract(max_bytes=MIB)
        except ArchiveError:
            assert not volume.target.exists()
        assert volume.surroundings() == before


# Limits


@pytest.fixture
def written(monkeypatch):
    """Counts the bytes that are written to files."""
    counted = [0]
    write = os.write

    def counting(file, data):
        counted[0] += len(data)
        return write(file, data)

    monkeypatch.setattr(os, "write", counting)
    return counted


def compressed_zeros(path: Path, header: bytes, zeros: int) -> None:
    """A gzip of ``header`` and then ``zeros`` zeros."""
    with gzip.open(path, "wb", 1) as archive:
        archive.write(header)
        for _ in range(zeros // MIB):
            archive.write(bytes(MIB))


@contextmanager
def few_megabytes():
    """Fails when what is done in it takes more memory than an extraction ever should."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()


def test_the_limits_are_inclusive(volume):
    volume.pack(file("a", b"1" * 500), file("b", b"2" * 500))
    assert volume.extract(max_bytes=1000, max_files=2) == Extracted(1000, 2)


def test_more_bytes_than_allowed_are_refused_before_they_are_written(volume, written):
    volume.pack(*[file(str(number), b"1" * MIB) for number in range(10)])
    assert_refused(volume, "more than 3145728 bytes", max_bytes=3 * MIB)
    assert written[0] <= 3 * MIB


def test_a_bomb_of_zeros_is_refused_early(volume, written):
    compressed_zeros(volume.archive, raw_header(b"0", 8 * 1024 * MIB - 1), 64 * MIB)
    with few_megabytes():
        assert_refused(volume, "more than", max_bytes=MIB)
    assert written[0] == 0


def test_a_bomb_behind_the_end_of_the_tar_is_refused(volume):
    compressed_zeros(volume.archive, tar_bytes(file("a")), 64 * MIB)
    with few_megabytes():
        assert_refused(volume, "more than 10 files of 1000 bytes", max_bytes=1000, max_files=10)


@pytest.mark.parametrize("options", SPARSE_FORMATS.values(), ids=SPARSE_FORMATS)
def test_a_file_of_holes_counts_with_its_holes(volume, options, written):
    pack_sparse(volume, options, 1, 1024 * 1024 * MIB).unlink()
    assert_refused(volume, "more than", max_bytes=MIB)
    assert written[0] == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "-1000"},
        {"GNU.sparse.size": "-1000"},
        {"GNU.sparse.map": "0,600", "GNU.sparse.size": "100"},
        {"GNU.sparse.map": "-1,10", "GNU.sparse.size": "100"},
        {"GNU.sparse.map": "0,10,0,-10", "GNU.sparse.size": "100"},
        {"GNU.sparse.map": "0,5000", "GNU.sparse.size": "5000"},
        {"GNU.sparse.map": "0,a"},
        {"GNU.sparse.map": ""},
        {"size": "-512"},
        {"size": "1000000"},
    ],
    ids=str,
)
def test_sizes_that_lie_are_refused(volume, headers):
    member, data = file("a", b"2\n0\n9\n9\n9\n" + bytes(501) + b"1" * 512)
    member.pax_headers = headers
    volume.pack((member, data), file("b"), file("c"))
    assert_refused(volume, "corrupt|negative|holes|truncated")


@pytest.mark.parametrize("kind", [b"0", b"S", b"x", b"g", b"L", b"K"])
def test_a_negative_size_in_a_header_is_refused(volume, kind):
    volume.write(gzip.compress(tar_bytes(file("a"))[:512] + raw_header(kind, -512) + raw_header(b"0") + bytes(1024)))
    assert_refused(volume, "corrupt|negative|header")


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_a_huge_header_is_refused_and_not_read_into_memory(volume, kind):
    compressed_zeros(volume.archive, raw_header(kind, 64 * MIB), 64 * MIB)
    with few_megabytes():
        assert_refused(volume, "header is too long", max_bytes=1024 * MIB)


def test_a_huge_list_of_holes_is_refused_and_not_read_into_memory(volume):
    member, data = file("a", b"9999999999\n" + b"0\n" * 8 * MIB)
    member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "5"}
    volume.pack((member, data))
    with few_megabytes():
        assert_refused(volume, "header is too long", max_bytes=1024 * MIB)


def test_a_long_chain_of_headers_is_refused(volume):
    volume.write(gzip.compress((raw_header(b"L", 5) + b"name".ljust(512, b"\0")) * 5000 + tar_bytes(file("a"))))
    assert_refused(volume, "corrupt|header is too long")


def test_global_headers_do_not_pile_up(volume):
    tar = b""
    for number in range(40):
        record = b"comment%d=" % number + b"." * 10_000 + b"\n"
        record = b"%d " % (len(record) + 6) + record
        tar += raw_header(b"g", len(record)) + record + bytes(-len(record) % 512) + tar_bytes(file("a"))[:512]
    volume.write(gzip.compress(tar))
    with few_megabytes():
        assert_refused(volume, "global headers")


def test_long_names_do_not_pile_up(volume):
    volume.pack(*[symlink(str(number), "t" * 15_000) for number in range(2300)])
    assert_refused(volume, "names in it are longer", max_files=10_000)


def test_more_files_than_allowed_are_refused(volume):
    volume.pack(*[file(str(number)) for number in range(11)])
    assert_refused(volume, "more than 10 files", max_files=10)


def test_directories_that_are_only_implied_count_as_files(volume):
    volume.pack(*[file(f"{number}/b/c/d/e") for number in range(4)])
    assert_refused(volume, "more than 19 files", max_files=19)


def test_the_same_member_over_and_over_counts_every_time(volume):
    volume.pack(*[directory(".")] * 6, *[file("a")] * 5)
    assert_refused(volume, "more than 10 files", max_files=10)


def test_memory_stays_small_however_large_a_file_is(volume):
    compressed_zeros(volume.archive, raw_header(b"0", 200 * MIB), 201 * MIB)
    with few_megabytes():
        assert volume.extract(max_bytes=200 * MIB).size_bytes == 200 * MIB


# Whole or not at all


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
    before, threads, calls = volume.surroundings(), threading.active_count(), []
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
    assert threading.active_count() == threads


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
