"""How much an archive may hold, and how little memory it takes to find out."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

import pytest

from emulator.archives.extraction import Extracted
from tests.support.tar_archives import (
    MIB,
    SPARSE_FORMATS,
    assert_refused,
    directory,
    file,
    pack_sparse,
    raw_header,
    symlink,
    tar_bytes,
)


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
