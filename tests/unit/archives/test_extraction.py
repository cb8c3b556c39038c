"""What survives packing and extracting."""

from __future__ import annotations

import gzip
import io
import os
import stat
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.archives.extraction import Extracted
from tests.support.tar_archives import (
    MIB,
    ROOT,
    SPARSE_FORMATS,
    TAR_FORMATS,
    Volume,
    contents,
    directory,
    file,
    hardlink,
    pack_sparse,
    symlink,
    tar_bytes,
)


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
@settings(max_examples=15)
def test_any_tree_survives_packing_and_extracting(pack, tree):
    with tempfile.TemporaryDirectory() as base:
        volume = Volume(Path(base))
        build(tree, volume.base / "tree")
        pack(volume.base / "tree", volume.archive)
        volume.extract()
        assert contents(volume.target) == contents(volume.base / "tree", packed=True)
