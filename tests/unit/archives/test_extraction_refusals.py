"""Model archives that are refused: broken, unsafe, or no archives."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.errors import ArchiveError
from tests.support.tar_archives import (
    MIB,
    SOUND,
    TAR_FORMATS,
    Volume,
    assert_refused,
    directory,
    file,
    hardlink,
    special,
    symlink,
    tar_bytes,
)


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", "1")
    return buffer.getvalue()


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
    "character-device": ([(special("null", tarfile.CHRTYPE, devmajor=1, devminor=3), b"")], "not a file"),
    "block-device": ([(special("disk", tarfile.BLKTYPE), b"")], "not a file"),
    "fifo": ([(special("fifo", tarfile.FIFOTYPE), b"")], "not a file"),
    "unknown-kind": ([(special("what", b"Z"), b"")], "not a file"),
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
@settings(max_examples=60)
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
@settings(max_examples=60)
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
