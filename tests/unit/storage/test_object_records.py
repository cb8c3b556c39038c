"""The SQLite file beside the buckets, when it is damaged, or the disk does not take what is written to it."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from emulator.aws.request import AwsRequest
from emulator.services.s3 import app
from emulator.services.s3.app import S3App
from emulator.storage.errors import StorageError
from emulator.storage.multipart_uploads import MultipartUploads
from emulator.storage.object_records import ObjectAttributes
from emulator.storage.object_store import ObjectStore, open_store
from tests.support.damaged_files import DAMAGES, Spoil, a_directory, changed_by, truncated_to

OBJECTS = 20


def put(store: ObjectStore, key: str, **headers: str) -> None:
    incoming = store.incoming()
    incoming.write(key.encode())
    store.commit("bucket", key, incoming, ObjectAttributes("an-etag", headers))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of S3 with objects and an upload, which nobody has open."""
    root = tmp_path_factory.mktemp("whole") / "s3"
    (root / "bucket").mkdir(parents=True)
    store = open_store(root, "us-east-1")
    for n in range(OBJECTS):
        put(store, f"folder-{n % 7}/key-{n}", **{"x-amz-meta-text": "so much to remember " * 75})
    MultipartUploads(store).create("bucket", "upload", ObjectAttributes(""), "", "FULL_OBJECT")
    store.close()
    return root


@pytest.fixture
def root(tmp_path: Path, whole: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(whole, tmp_path / "s3")


def records_of(root: Path) -> Path:
    """The file of records."""
    return root / ".localmme" / "s3.sqlite3"


def used(root: Path, spoil_now: Spoil | None = None) -> set[str]:
    """The keys that are listed when everything is done that a store can do."""
    store = open_store(root, "us-east-1")
    uploads = MultipartUploads(store)
    store.sweep()
    uploads.sweep()
    if spoil_now is not None:
        spoil_now(records_of(root))
    assert [bucket.name for bucket in store.buckets()] == ["bucket"]
    listed = store.entries("bucket", store.listing("bucket"))
    assert all(entry.attributes.etag for entry in listed)
    put(store, "new", **{"content-type": "text/plain"})
    assert store.entry("bucket", "new").attributes.headers == {"content-type": "text/plain"}
    store.change("bucket", "new", {"tag": "value"})
    store.delete("bucket", "new")
    upload_id = uploads.create("bucket", "other", ObjectAttributes(""), "", "FULL_OBJECT")
    uploads.abort(uploads.find("bucket", "other", upload_id))
    uploads.of_bucket("bucket")
    store.create_bucket("another", "us-east-1")
    store.delete_bucket("another")
    store.close()
    return {entry.key for entry in listed}


def of_other_tables(path: Path) -> None:
    path.unlink()
    changed_by("create table objects (something)")(path)


SPOILT: dict[str, Spoil] = {
    **DAMAGES,
    "truncated to 0": truncated_to(0),
    "a directory": a_directory,
    "of other tables": of_other_tables,
    "of other types": changed_by("update objects set key = cast(key as blob)"),
    "of other texts": changed_by("update objects set attributes = '{'", "update uploads set attributes = '[]'"),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_a_damaged_file_is_set_aside_and_the_objects_are_there(
    root: Path, caplog: pytest.LogCaptureFixture, spoil: Spoil
) -> None:
    file = records_of(root)
    spoil(file)
    assert len(used(root)) == OBJECTS
    aside = [path for path in file.parent.iterdir() if "damaged" in path.name]
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == len(aside) and all(str(file) in told[0] and path.name in told[0] for path in aside)
    assert len(used(root)) == OBJECTS and len(caplog.records) == len(told), "what is begun anew is whole"


@pytest.mark.parametrize("name", ["of zeros", "of garbage", "truncated to 512", "a page of garbage 3"])
def test_a_file_that_is_damaged_while_it_is_used_is_set_aside_too(
    root: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    file = records_of(root)

    def spoil(path: Path) -> None:
        # As somebody else does who writes to the disk below: what SQLite keeps in memory of it does not count any more.
        with sqlite3.connect(path) as database:
            database.execute("insert into buckets values ('x', 'y', 1)")
        database.execute("pragma wal_checkpoint(truncate)")
        database.close()
        SPOILT[name](path)

    assert len(used(root, spoil)) == OBJECTS
    assert len(used(root)) == OBJECTS
    assert len(caplog.records) == 1 and str(file) in caplog.text


def test_what_is_lost_with_a_file_is_only_what_stood_in_it(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    SPOILT["of zeros"](records_of(root))
    store = open_store(root, "us-east-1")
    entry = store.entry("bucket", "folder-0/key-0")
    store.close()
    assert (entry.size, entry.attributes.headers) == (len("folder-0/key-0"), {})
    assert "damaged" in caplog.text and "metadata, tags and checksums, and uploads in parts, are lost" in caplog.text


def test_a_directory_that_takes_no_file_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s3" / "bucket").mkdir(parents=True)

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    store = open_store(tmp_path / "s3", "us-east-1")
    assert store.listing("bucket").objects == []
    store.close()
    assert "s3.sqlite3 cannot be used: Permission denied" in caplog.text and "kept in memory only" in caplog.text


def full(store: ObjectStore) -> None:
    """The file takes nothing more."""
    (pages,) = store.records.run("pragma page_count")[0]
    store.records.run(f"pragma max_page_count = {pages}")


def test_a_disk_that_takes_no_more_records_is_insufficient_storage_and_what_was_there_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "bucket").mkdir()
    sent: list[dict[str, Any]] = []

    async def call(s3: S3App, method: str, path: str, body: bytes = b"", **query: str) -> tuple[int, bytes]:
        del sent[:]
        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "headers": [
                (b"host", b"127.0.0.1"), (b"x-amz-meta-text", b"x" * 2000), (b"content-length", b"%d" % len(body))
            ],
            "query_string": "&".join(f"{name}={value}" for name, value in query.items()).encode(),
        }  # fmt: skip

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        request = AwsRequest(scope)
        request.service = "s3"
        await s3(request, receive, send)
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])

    async def scenario() -> None:
        s3 = S3App(tmp_path)
        assert (await call(s3, "PUT", "/bucket/first", b"1"))[0] == 200
        store, _ = await s3._open()
        full(store)
        statuses = [(await call(s3, "PUT", f"/bucket/key-{n}", b"1")) for n in range(20)]
        refused = [body for status, body in statuses if status != 200]
        assert refused and all(b"<Code>InsufficientStorage</Code>" in body for body in refused)
        assert {status for status, _ in statuses} <= {200, 507}
        assert 507 in [(await call(s3, "POST", "/bucket/upload", uploads=""))[0] for _ in range(20)]
        assert (await call(s3, "GET", "/bucket/first")) == (200, b"1")
        (tmp_path / "bucket" / "by-hand").write_bytes(b"12345")
        assert (await call(s3, "GET", "/bucket/by-hand")) == (200, b"12345")
        stored = sum(status == 200 for status, _ in statuses) + 2
        status, listing = await call(s3, "GET", "/bucket")
        assert status == 200 and listing.count(b"<Contents>") == stored
        await s3.stop()

    asyncio.run(scenario())
    assert not caplog.records, "no traceback"


def test_a_bucket_that_cannot_be_written_down_is_not_made(tmp_path: Path) -> None:
    store = open_store(tmp_path, "us-east-1")
    full(store)
    made = []
    with pytest.raises(OSError, match="No space left"):
        for n in range(1000):
            store.create_bucket(f"bucket-{n}-{'x' * 40}", "us-east-1")
            made.append(n)
    assert len(store.buckets()) == len(made)
    with pytest.raises(StorageError):
        store.directory(f"bucket-{len(made)}-{'x' * 40}")
    store.close()


def test_a_time_in_the_future_is_told_as_now(tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    file = tmp_path / "bucket" / "key"
    file.touch()
    written = int(file.stat().st_mtime)
    os.utime(file, (4e9, 4e9))
    store = open_store(tmp_path, "us-east-1")
    assert written <= store.entry("bucket", "key").modified < 4e9
    store.close()


def test_a_start_that_takes_a_while_says_what_it_does(
    root: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = threading.Event()
    monkeypatch.setattr(app, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(ObjectStore, "sweep", lambda _: looked.wait(60))

    async def scenario() -> None:
        s3 = S3App(root)
        starting = asyncio.ensure_future(s3.start())
        while not caplog.records and not starting.done():
            await asyncio.sleep(0.001)
        looked.set()
        await starting
        await s3.stop()

    asyncio.run(scenario())
    assert [record.getMessage() for record in caplog.records] == [
        f"Checking which objects in {root} are unchanged since they were recorded ..."
    ]
