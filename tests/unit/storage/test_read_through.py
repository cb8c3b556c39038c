"""Listings of buckets that are read through: of any keys here and there, the pages are those of all keys together."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.storage.errors import NoSuchKey, RealS3Unavailable
from emulator.storage.listing import ListedObject, ListingPage, merged
from emulator.storage.object_records import ObjectAttributes
from emulator.storage.object_store import ObjectStore, StoredObject, open_store
from emulator.storage.read_through import ReadThrough
from tests.support.store_as_real_s3 import StoreAsRealS3

KEYS = st.sets(st.sampled_from(["a/1", "a/2", "a/b/1", "b", "c/1", "c/2/3", "d", "é/1", "z/z/z"]))


def store_of(root: Path, keys: set[str]) -> ObjectStore:
    for key in keys:
        (root / "bucket" / key).parent.mkdir(parents=True, exist_ok=True)
        (root / "bucket" / key).write_text(key)
    (root / "bucket").mkdir(parents=True, exist_ok=True)
    return open_store(root, "us-east-1")


def pages(
    listing: ObjectStore | ReadThrough, prefix: str, delimiter: str, limit: int
) -> list[tuple[list[str], list[str]]]:
    found, after = [], ""
    while True:
        page = listing.listing("bucket", prefix, delimiter, after, limit)
        found.append(([one.key for one in page.objects], page.prefixes))
        if page.last is None:
            return found
        after = page.last


@given(KEYS, KEYS, st.sampled_from(["", "a", "a/", "c/2"]), st.sampled_from(["", "/"]), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_pages_are_those_of_all_keys_together(
    here: set[str], there: set[str], prefix: str, delimiter: str, limit: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        together = store_of(Path(directory, "together"), here | there)
        store_of(Path(directory, "here"), here).close()
        real = StoreAsRealS3(store_of(Path(directory, "there"), there))
        read_through = ReadThrough(Path(directory, "here"), "us-east-1", ["bucket"], real)
        try:
            assert pages(read_through, prefix, delimiter, limit) == pages(together, prefix, delimiter, limit)
            listed = [entry.key for entry in read_through.objects("bucket", prefix)]
            assert listed == sorted(key for key in here | there if key.startswith(prefix))
        finally:
            read_through.close()
            together.close()


def test_of_one_key_the_object_here_is_listed() -> None:
    here, there = ListedObject("a", (1, 1)), ListedObject("a", (2, 2), ObjectAttributes("there"))
    assert merged(ListingPage([here]), ListingPage([there]), 10) == ListingPage([here])


def test_after_a_truncated_page_nothing_is_listed_before_its_next_one() -> None:
    a, b, z = (ListedObject(key, (1, 1)) for key in ("a", "b", "z"))
    whole, truncated = ListingPage([a, z]), ListingPage([b], ["c/"], "c/")
    expected = ListingPage([a, b], ["c/"], "c/")
    assert merged(whole, truncated, 1000) == merged(truncated, whole, 1000) == expected


@pytest.mark.parametrize(
    ("name", "covered"),
    [
        ("one", True), ("sage-2", True), ("ones", False), ("Sage-1", False), ("any-thing", True),
        ("any/thing", False), ("any_thing", False), ("_localmme", False), ("endpoints", False),
    ],
)  # fmt: skip
def test_buckets_are_covered_by_name_or_pattern(name: str, covered: bool, tmp_path: Path) -> None:
    real = StoreAsRealS3(store_of(tmp_path / "there", set()))
    read_through = ReadThrough(tmp_path / "here", "us-east-1", ["one", "sage-?", "any*", "_*", "end*"], real)
    assert read_through.covers(name) == covered
    assert read_through.covers(name) or read_through.bring(name, "a") is None
    read_through.close()


def test_a_folder_marker_is_brought_after_what_is_in_its_folder(tmp_path: Path) -> None:
    there = store_of(tmp_path / "there", {"folder/a"})
    there.put("bucket", "folder/", [])
    real = StoreAsRealS3(there)
    read_through = ReadThrough(tmp_path / "here", "us-east-1", ["bucket"], real)
    for key in ("folder/a", "folder/"):
        download = read_through.bring("bucket", key)
        assert download is not None
        download.result(60)
        assert read_through.store.entry("bucket", key).attributes == there.entry("bucket", key).attributes
        assert read_through.bring("bucket", key) is None
    read_through.close()


def test_nobody_waits_for_real_s3_at_the_end(tmp_path: Path) -> None:
    goes_on, has_begun = threading.Event(), threading.Event()

    class Hanging(StoreAsRealS3):
        def entry(self, bucket: str, key: str) -> StoredObject:
            has_begun.set()
            goes_on.wait()
            raise NoSuchKey(key)

    real = Hanging(store_of(tmp_path / "there", set()))
    read_through = ReadThrough(tmp_path / "here", "us-east-1", ["bucket"], real)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(read_through.entry, "bucket", "a")
        assert has_begun.wait(60)
        read_through.end()
        with pytest.raises(RealS3Unavailable, match="The emulator is ending"):
            waiting.result(60)
    read_through.close()
    goes_on.set()


def test_a_download_that_hangs_does_not_hold_up_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on, has_begun = threading.Event(), threading.Event()

    class Hanging(StoreAsRealS3):
        @contextmanager
        def open(self, bucket: str, key: str) -> Iterator[tuple[BinaryIO, StoredObject]]:
            has_begun.set()
            goes_on.wait()
            with super().open(bucket, key) as opened:
                yield opened

        def close(self) -> None: ...

    monkeypatch.setattr("emulator.storage.read_through.END_SECONDS", 0.01)
    real = Hanging(store_of(tmp_path / "there", {"a"}))
    read_through = ReadThrough(tmp_path / "here", "us-east-1", ["bucket"], real)
    download = read_through.bring("bucket", "a")
    assert download is not None and has_begun.wait(60)
    assert read_through.bring("bucket", "a") is download
    read_through.close()
    assert not download.done()
    goes_on.set()
    assert download.exception(60) is not None  # nothing is written any more
    assert not (tmp_path / "here" / "bucket" / "a").exists()
    real.store.close()
