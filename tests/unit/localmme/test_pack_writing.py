"""Packing: any directory comes out of its archive as it went in, and its bytes are the same each time."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.archives.left_out import is_macos_metadata
from emulator.errors import SetupError
from localmme.pack.gzip_stream import GzipStream
from localmme.pack.writing import time_of_members, write
from tests.support.packed_models import (
    contents,
    extracted,
    found_in,
    packed,
    snapshot,
    tree,
)

# What is packed comes out again


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=30).filter(
    lambda name: name not in (".", "..", "__pycache__") and not is_macos_metadata(name)
)


TREES = st.recursive(
    st.tuples(st.binary(max_size=2000), st.sampled_from([0o400, 0o600, 0o644, 0o666, 0o700, 0o755, 0o4755])),
    lambda below: st.dictionaries(NAMES, below, max_size=4),
    max_leaves=12,
)


@settings(max_examples=30)
@given(st.dictionaries(NAMES, TREES, max_size=4), st.booleans())
def test_any_tree_comes_out_of_the_emulators_extraction_as_it_went_in(model, compressed):
    def make(directory: str, entries: dict) -> int:
        count = 0
        for name, entry in entries.items():
            path = os.path.join(directory, name)
            if isinstance(entry, dict):
                os.mkdir(path)
                count += make(path, entry)
            else:
                with open(path, "wb") as file:
                    file.write(entry[0])
                os.chmod(path, entry[1])
                count += 1
        return count

    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "in").mkdir()
        count = make(str(work / "in"), model)
        found = contents(work / "in")
        assert ("empty" in found_in(found.mistakes)) == (count == 0)
        write(found, work / "a.tar.gz", compressed=compressed)
        assert snapshot(extracted(work / "a.tar.gz", work / "out")) == snapshot(work / "in")
        with tarfile.open(work / "a.tar.gz") as tar:  # nothing but what every tar can extract
            assert all(entry.isreg() or entry.isdir() for entry in tar)


@pytest.mark.parametrize("compressed", [True, False])
def test_files_of_every_size_around_a_block_are_packed_whole(tmp_path, compressed):
    sizes = [0, 1, 511, 512, 513, 65_535, 65_536, 16 * 65_535, 16 * 65_535 + 1, 3_000_000]
    data = os.urandom(max(sizes))
    tree(tmp_path / "in", {str(size): data[:size] for size in sizes})
    archive = packed(tmp_path / "in", tmp_path / "a.tar.gz", compressed=compressed)
    assert snapshot(extracted(archive, tmp_path / "out")) == snapshot(tmp_path / "in")
    subprocess.run(["gzip", "-t", archive], check=True)
    subprocess.run(["tar", "tzf", archive], check=True, capture_output=True)


def test_what_links_lead_to_is_packed(tmp_path):
    blobs = tree(tmp_path / "blobs", {"weights": "1, 2", "tokenizer/vocabulary.txt": "a b"})
    model = tree(tmp_path / "model", {"real": "data"})
    (model / "weights.bin").symlink_to("../blobs/weights")
    (model / "tokenizer").symlink_to(blobs / "tokenizer")
    (model / "same").symlink_to("real")
    os.link(model / "real", model / "hard")
    found = contents(model)
    assert found_in(found.mistakes) == {"outside-links": "warn"}
    assert "tokenizer, weights.bin" in found.mistakes[0].detail
    out = extracted(packed(model, tmp_path / "a.tar.gz"), tmp_path / "out")
    files = {name: data for name, (_, data) in snapshot(out).items() if (out / name).is_file()}
    assert files == {
        "real": b"data",
        "hard": b"data",
        "same": b"data",
        "weights.bin": b"1, 2",
        "tokenizer/vocabulary.txt": b"a b",
    }
    assert not any(path.is_symlink() for path in out.rglob("*"))
    assert (out / "hard").stat().st_nlink == 1


@pytest.mark.parametrize("now", ["", "123456"])
def test_a_file_that_changes_while_it_is_packed_is_an_error(tmp_path, now):
    model = tree(tmp_path / "model", {"weights": "12345"})
    found = contents(model)
    (model / "weights").write_text(now)
    with pytest.raises(SetupError, match="weights has changed while it was packed"):
        write(found, tmp_path / "a.tar.gz", compressed=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


# The same bytes each time


def test_without_compression_the_bytes_are_the_same_on_every_machine(tmp_path):
    long_name = "directory/" * 12 + "é"
    model = tree(
        tmp_path / "model", {"weights": bytes(range(256)) * 1000, long_name: "1", "code/inference.py": "pass\n"}
    )
    archive = packed(model, tmp_path / "a.tar.gz", compressed=False)
    assert archive.read_bytes()[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    # Of this tree, whatever system, CPU, Python and libraries there are.
    digest = "e3e4bda1f192931fd3d5de8ce6d5a2f3fdf438d8fa6acf266adebcaa72b9265c"
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == digest


@given(st.lists(st.integers(0, 1_500_000), max_size=5), st.booleans())
@settings(max_examples=20)
def test_how_the_data_comes_in_does_not_change_the_stream(lengths, compressed):
    data = (b"some weights " * 120_000)[: sum(lengths)]
    streams = []
    for cuts in (lengths, [sum(lengths)]):
        buffer, rest = io.BytesIO(), data
        stream = GzipStream(buffer, compressed=compressed)
        for cut in cuts:
            stream.write(rest[:cut])
            rest = rest[cut:]
        stream.close()
        streams.append(buffer.getvalue())
    assert streams[0] == streams[1]
    assert gzip.decompress(streams[0]) == data


@pytest.mark.parametrize("text", ["-1", "now", "1.5", "²", "9" * 20])
def test_a_source_time_that_is_none_is_refused(text):
    with pytest.raises(SetupError, match="SOURCE_DATE_EPOCH must be a number of seconds"):
        time_of_members(text)
