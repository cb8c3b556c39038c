"""The directory as a store, without HTTP: listings of any tree, disks that fail, file systems that differ."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.archives.directory_source import DirectorySource
from emulator.archives.errors import ArchiveNotFound
from emulator.storage import listing
from emulator.storage.object_records import ObjectAttributes
from emulator.storage.object_store import ObjectStore, open_store

NOTHING_KNOWN = ObjectAttributes("etag")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    store = open_store(tmp_path / "s3", "us-east-1")
    store.create_bucket("models", "us-east-1")
    yield store
    store.close()


def put(store: ObjectStore, key: str, data: bytes = b"data") -> None:
    store.put("models", key, [data])


def keys_of(store: ObjectStore, **arguments: Any) -> list[str]:
    return [one.key for one in store.listing("models", **arguments).objects]


names = st.text(st.sampled_from("ab-.!é~0"), min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))
trees = st.lists(st.lists(names, min_size=1, max_size=4).map("/".join), max_size=12, unique=True)


@settings(max_examples=30)
@given(
    tree=trees,
    prefix=st.text(st.sampled_from("ab-./é"), max_size=3),
    delimiter=st.sampled_from(["", "/", "a", "b/", "-"]),
    limit=st.integers(1, 4),
)
def test_a_listing_is_what_the_sorted_keys_say(tree: list[str], prefix: str, delimiter: str, limit: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store, keys = open_store(Path(directory), "us-east-1"), []
        (Path(directory) / "models" / "empty" / "directories").mkdir(parents=True)
        for key in tree:
            path = Path(directory) / "models" / key
            if any(key.startswith(f"{other}/") or other.startswith(f"{key}/") for other in keys):
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            keys.append(key)
        # The plain way: all keys, in the order of their bytes, grouped.
        expected = []
        for key in sorted(keys, key=str.encode):
            if key.startswith(prefix):
                end = key.find(delimiter, len(prefix)) if delimiter else -1
                item = key if end < 0 else key[: end + len(delimiter)]
                if not expected or expected[-1] != item or end < 0:
                    expected.append(item)
        found, after = [], ""
        for _ in range(50):
            page = store.listing("models", prefix, delimiter, after, limit)
            items = [one.key for one in page.objects] + page.prefixes
            assert len(items) <= limit
            found += sorted(items, key=str.encode)
            if page.last is None:
                break
            assert len(items) == limit
            after = page.last
        assert found == expected
        for after in keys:
            page = store.listing("models", prefix, delimiter, after)
            items = {*(one.key for one in page.objects), *page.prefixes}
            assert items == {item for item in expected if item.encode() > after.encode()}
        store.close()


def test_a_full_disk_leaves_the_old_object(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "a", b"old")
    known = list(store.records.all_versions())

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        put(store, "a", b"new")
    assert (store.root / "models" / "a").read_bytes() == b"old"
    assert list(store.records.all_versions()) == known
    assert list(store.incoming_directory.iterdir()) == []


def test_a_bucket_on_another_disk(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def across(source: Path, target: Path) -> None:
        if (store.root / "models") in target.parents and (store.root / "models") not in Path(source).parents:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace(source, target)

    monkeypatch.setattr(os, "replace", across)
    put(store, "a/b", b"data")
    assert (store.root / "models" / "a" / "b").read_bytes() == b"data"
    assert store.entry("models", "a/b").attributes.etag == "8d777f385d3dfec8815d20f7496026dc"
    assert keys_of(store) == ["a/b"]
    assert list((store.root / "models" / ".localmme").iterdir()) == []
    store.delete("models", "a/b")
    store.delete_bucket("models")
    assert not (store.root / "models").exists()


def test_a_directory_that_may_only_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a").write_bytes(b"data")

    def read_only(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", read_only)
    store = open_store(tmp_path, "us-east-1")
    store.sweep()
    assert keys_of(store) == ["a"]
    assert store.entry("models", "a").attributes.etag == "8d777f385d3dfec8815d20f7496026dc"
    with pytest.raises(OSError, match="Read-only"):
        store.incoming()


def test_records_of_files_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    store = open_store(tmp_path, "us-east-1")
    store.create_bucket("models", "us-east-1")
    for key in ("a", "b", "dir/"):
        put(store, key, b"")
    (tmp_path / "models" / "a").unlink()
    shutil.rmtree(tmp_path / "models" / "dir")
    store.sweep()
    assert [key for _, key, _ in store.records.all_versions()] == ["b"]


def test_no_two_versions_have_the_same_time(store: ObjectStore) -> None:
    times = set()
    for number in range(200):
        put(store, "a", str(number % 10).encode())
        times.add(store.entry("models", "a").version)
    assert len(times) == 200
    assert len(list(store.records.all_versions())) == 1


@pytest.mark.parametrize("below", ["", "models", "models/deep"])
def test_what_is_an_object_is_an_archive(store: ObjectStore, tmp_path: Path, below: str) -> None:
    """S3 and the models look at one directory: as a whole, as a bucket, or as a part of one."""
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "deep").mkdir(parents=True)
    for path in ("large", "deep/larger", ".localmme"):
        (elsewhere / path).write_text(path)
    bucket = store.root / "models"
    (bucket / "deep" / "er").mkdir(parents=True)
    for path in ("a", "deep/b", "deep/er/c", "deep/.hidden"):
        (bucket / path).write_text(path)
    (store.root / "linked").symlink_to(elsewhere)
    for folder in (bucket, bucket / "deep", bucket / "deep" / "er", elsewhere / "deep"):
        (folder / "file-link").symlink_to(elsewhere / "large")
        (folder / "folder-link").symlink_to(elsewhere)
        (folder / "loop").symlink_to(folder)
        (folder / "gone").symlink_to("nowhere")
        os.mkfifo(folder / "pipe")
        with open(os.fsencode(folder) + b"/\xff", "wb"):
            pass
    objects = {f"{each.name}/{one.key}" for each in store.buckets() for one in store.listing(each.name).objects}
    assert {"models/deep/er/file-link", "linked/deep/larger", "models/deep/.hidden"} <= objects
    prefix = below and below + "/"
    expected = {name.removeprefix(prefix) for name in objects if name.startswith(prefix)}
    archives = DirectorySource(store.root / below)
    for name in expected:
        assert archives.version(name)
    deep = {"": "models/deep/", "models": "deep/", "models/deep": "er/"}[below]
    for name in ("folder-link/large", "loop/file-link", "gone", "pipe", "folder-link"):
        with pytest.raises(ArchiveNotFound):
            archives.version(deep + name)
    shown = {name for name in expected if "/." not in f"/{name}"}
    found = {name for name, _ in archives.archives()}
    # A directory that is linked to at the top may be a bucket, so that it is looked into; from there on, links are not.
    at_the_top = {name for name in found if name.startswith(("folder-link/", "loop/"))}
    assert found - at_the_top == shown
    assert bool(at_the_top) == bool(below)
    assert not any(link in name.partition("/")[2] for name in at_the_top for link in ("folder-link/", "loop/"))


def test_a_large_directory_is_read_once_for_all_pages_unless_something_comes_or_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "KEPT_NAMES", 4)
    folder = tmp_path / "bucket" / "folder"
    folder.mkdir(parents=True)
    for name in "bdfh":
        (folder / name).touch()
    os.utime(folder, (1e9, 1e9))
    reads: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: reads.append(str(path)) or scandir(path))
    store = open_store(tmp_path, "us-east-1")

    def page(after: str) -> list[str]:
        return [each.key for each in store.listing("bucket", "folder/", after=after, limit=2).objects]

    assert page("") == ["folder/b", "folder/d"] and page("folder/d") == ["folder/f", "folder/h"]
    assert len([path for path in reads if path.endswith("folder/")]) == 1
    (folder / "e").touch()
    assert page("folder/d") == ["folder/e", "folder/f"]
    (folder / "f").unlink()
    assert page("folder/d") == ["folder/e", "folder/h"]
    store.close()
