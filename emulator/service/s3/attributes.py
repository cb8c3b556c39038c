"""What S3 knows of an object beside its bytes, kept in a SQLite file that stands beside the buckets.

A record belongs to one version of a file: its time of modification in nanoseconds and its size. A file
that was changed by hand is another version, of which nothing is known yet.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Version = tuple[int, int]  # modification time in nanoseconds, size in bytes

SCHEMA = """
create table if not exists objects (
    bucket text, key text, mtime_ns integer, size integer, attributes text not null,
    primary key (bucket, key, mtime_ns, size)
) without rowid;
create table if not exists buckets (bucket text primary key, region text not null, created_ns integer not null);
create table if not exists uploads (
    id text primary key, bucket text not null, key text not null, started_ns integer not null, attributes text not null,
    algorithm text not null, checksum_type text not null
);
create table if not exists parts (
    upload text, number integer, etag text not null, size integer not null, mtime_ns integer not null,
    checksums text not null, file text not null, primary key (upload, number)
) without rowid;
"""


@dataclass(frozen=True)
class Attributes:
    """Of one object: all that its answers say beside its key, size and time."""

    etag: str  # without quotes
    headers: dict[str, str] = field(default_factory=dict)  # given back as they came, x-amz-meta-* among them
    checksums: dict[str, str] = field(default_factory=dict)  # algorithm → base64
    checksum_type: str = "FULL_OBJECT"  # or COMPOSITE
    parts: list[int] = field(default_factory=list)  # sizes of the parts that it was uploaded in, if it was
    tags: dict[str, str] = field(default_factory=dict)

    def dumped(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def loaded(cls, text: str) -> Attributes:
        return cls(**json.loads(text))


class Records:
    """The SQLite file. Every call is short; a lock makes one connection do for all threads."""

    def __init__(self, path: Path | None) -> None:
        """Opens or makes the file; with None, records live as long as the emulator (a directory that is read-only)."""
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(
            path or ":memory:", check_same_thread=False, isolation_level=None, timeout=30
        )
        # What a power cut may lose can be computed again from the files, or asked for again by the caller.
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = off")
        self._connection.executescript(SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def together(self) -> Iterator[None]:
        """All or none of what is written inside."""
        with self._lock:
            self._connection.execute("begin immediate")
            try:
                yield
            except BaseException:
                self._connection.execute("rollback")
                raise
            self._connection.execute("commit")

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Execute one statement; its rows."""
        with self._lock:
            return self._connection.execute(statement, values).fetchall()

    # Objects

    def get(self, bucket: str, key: str, version: Version) -> Attributes | None:
        rows = self.run(
            "select attributes from objects where bucket = ? and key = ? and mtime_ns = ? and size = ?",
            bucket, key, *version,
        )  # fmt: skip
        return Attributes.loaded(rows[0][0]) if rows else None

    def put(self, bucket: str, key: str, version: Version, attributes: Attributes) -> None:
        self.run("insert or replace into objects values (?, ?, ?, ?, ?)", bucket, key, *version, attributes.dumped())

    def keep_only(self, bucket: str, key: str, version: Version) -> None:
        """Forget the key's other versions."""
        self.run(
            "delete from objects where bucket = ? and key = ? and not (mtime_ns = ? and size = ?)",
            bucket, key, *version,
        )  # fmt: skip

    def forget_version(self, bucket: str, key: str, version: Version) -> None:
        self.run(
            "delete from objects where bucket = ? and key = ? and mtime_ns = ? and size = ?",
            bucket, key, *version,
        )  # fmt: skip

    def forget(self, bucket: str, key: str) -> None:
        self.run("delete from objects where bucket = ? and key = ?", bucket, key)

    def versions(self, bucket: str, key: str) -> list[Version]:
        rows = self.run("select mtime_ns, size from objects where bucket = ? and key = ?", bucket, key)
        return [(mtime_ns, size) for mtime_ns, size in rows]

    def known(self) -> Iterable[tuple[str, str, Version]]:
        """Bucket, key and version of every record."""
        for bucket, key, mtime_ns, size in self.run("select bucket, key, mtime_ns, size from objects"):
            yield bucket, key, (mtime_ns, size)
