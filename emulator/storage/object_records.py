"""What S3 knows of an object besides its bytes, in a SQLite file beside the buckets.

A record belongs to one version of a file: its time of modification in nanoseconds and its size. A file
that was changed by hand is another version, of which nothing is known yet.

A SQLite file that is damaged is set aside, whenever that is found out, and begun anew: better to lose metadata than to
refuse objects that are there.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Version = tuple[int, int]  # modification time in nanoseconds, as ``time_of`` has it, size in bytes

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


# What SQLite says of the disk, and of other processes, rather than of its file.
DISK_ERRORS = {
    "database or disk is full": errno.ENOSPC,
    "attempt to write a readonly database": errno.EROFS,
    "unable to open database file": errno.EACCES,
    "database is locked": errno.EAGAIN,
    "disk I/O error": errno.EIO,
}
# What it says of a damaged file, or of one that is another's, beside its plain DatabaseError.
DAMAGES = ("malformed", "no such table", "no such column", "columns but", "decode to UTF-8")
KEYS_AT_ONCE = 500  # in one statement: older versions of SQLite take 999 values

log = logging.getLogger("localmme")


# What a file of ours holds and nothing else, by SQLite's names of types.
COLUMNS: dict[str, dict[str, str]] = {
    "objects": {"bucket": "text", "key": "text", "mtime_ns": "integer", "size": "integer", "attributes": "text"},
    "buckets": {"bucket": "text", "region": "text", "created_ns": "integer"},
    "uploads": {
        "id": "text", "bucket": "text", "key": "text", "started_ns": "integer", "attributes": "text",
        "algorithm": "text", "checksum_type": "text",
    },
    "parts": {
        "upload": "text", "number": "integer", "etag": "text", "size": "integer", "mtime_ns": "integer",
        "checksums": "text", "file": "text",
    },
}  # fmt: skip


def time_of(found: os.stat_result) -> int:
    """A file's modification time in nanoseconds, limited to 1677 to 2262: SQLite has no larger integers."""
    return max(-(2**63), min(found.st_mtime_ns, 2**63 - 1))


def version_of(found: os.stat_result) -> Version:
    return time_of(found), found.st_size


@dataclass(frozen=True)
class ObjectAttributes:
    """What responses say of one object, besides its key, size and time."""

    etag: str  # without quotes
    headers: dict[str, str] = field(default_factory=dict)  # returned as received, including x-amz-meta-*
    checksums: dict[str, str] = field(default_factory=dict)  # algorithm → base64
    checksum_type: str = "FULL_OBJECT"  # or COMPOSITE
    parts: list[int] = field(default_factory=list)  # sizes of the parts that it was uploaded in, if it was
    tags: dict[str, str] = field(default_factory=dict)

    def dumped(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def loaded(cls, text: str) -> ObjectAttributes:
        """The attributes of a text that ``dumped`` has made. Raises ValueError for another text."""
        try:
            return cls(**json.loads(text))
        except TypeError as error:
            raise ValueError(str(error)) from None


class Damaged(Exception):
    """The SQLite file cannot be read."""


class ObjectRecords:
    """The SQLite file. Every call is short; a lock makes one connection do for all threads.

    Every call may raise OSError: the disk is full, or may not be written to.
    """

    def __init__(self, path: Path | None) -> None:
        """Use ``open``."""
        self._path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection

    @classmethod
    def open(cls, path: Path | None) -> ObjectRecords:
        """Open or create the file; None = in memory, for a read-only directory."""
        records = cls(path)
        try:
            records._connection = records._opened()
        except Damaged as error:
            records._begin_anew(error)
        return records

    def _opened(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(
                self._path or ":memory:", check_same_thread=False, isolation_level=None, timeout=30
            )
        except sqlite3.Error as error:
            raise self._explained(error) from None
        try:
            # What a power cut may lose can be computed again from the files, or repeated by the caller.
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = off")
            connection.executescript(SCHEMA)
            (found,) = connection.execute("pragma quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(found)
            for table, columns in COLUMNS.items():
                wrong = " or ".join(f"typeof({column}) != '{kind}'" for column, kind in columns.items())
                if connection.execute(f"select 1 from {table} where {wrong} limit 1").fetchone():
                    raise sqlite3.DatabaseError(f"the table {table} has values of a wrong type")
        except sqlite3.Error as error:
            connection.close()
            raise self._explained(error) from None
        return connection

    def _explained(self, error: sqlite3.Error) -> Exception:
        """The error to raise for one of SQLite: Damaged, an OSError, or else the error itself, which is a bug."""
        text = str(error)
        is_there = self._path is not None and os.path.lexists(self._path)
        for words, number in DISK_ERRORS.items():
            if words in text and not (number == errno.EACCES and is_there):  # a directory, or not readable
                return OSError(number, os.strerror(number))
        if type(error) is sqlite3.DatabaseError or any(words in text for words in (*DAMAGES, "unable to open")):
            return Damaged(text)
        return error

    def _begin_anew(self, damage: Damaged) -> None:
        """Rename the damaged file, and create a new one."""
        assert self._path is not None
        aside = f".damaged-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
        for suffix in ("", "-wal", "-shm"):
            path = self._path.with_name(self._path.name + suffix)
            if os.path.lexists(path):
                path.rename(self._path.with_name(self._path.name + aside + suffix))
        log.warning(
            "%s, which keeps what S3 knows of objects beside their bytes, is damaged (%s). It is set aside as %s, and "
            "begun anew: objects are all there; their metadata, tags and checksums, and uploads in parts, are lost.",
            self._path, damage, self._path.name + aside,
        )  # fmt: skip
        self._connection = self._opened()

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is run within it is stored as a whole, or not at all."""
        with self._lock:
            self.run("begin immediate")
            try:
                yield
            except BaseException:
                if self._connection.in_transaction:  # SQLite itself ends it when the disk is full
                    self._connection.execute("rollback")
                raise
            if self._connection.in_transaction:  # not in a file that was created anew meanwhile
                self.run("commit")

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of one statement."""
        with self._lock:
            try:
                return self._execute(statement, values)
            except Damaged as damage:
                self._connection.close()
                self._begin_anew(damage)
                return self._execute(statement, values)

    def _execute(self, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._explained(error) from None

    # Objects

    def get(self, bucket: str, key: str, version: Version) -> ObjectAttributes | None:
        rows = self.run(
            "select attributes from objects where bucket = ? and key = ? and mtime_ns = ? and size = ?",
            bucket, key, *version,
        )  # fmt: skip
        return _read(rows[0][0]) if rows else None

    def get_many(self, bucket: str, keys: Sequence[str]) -> dict[tuple[str, Version], ObjectAttributes]:
        """The records of some keys, by key and version."""
        found = {}
        for start in range(0, len(keys), KEYS_AT_ONCE):
            some = keys[start : start + KEYS_AT_ONCE]
            rows = self.run(
                "select key, mtime_ns, size, attributes from objects where bucket = ? and key in "
                f"({', '.join('?' * len(some))})",
                bucket, *some,
            )  # fmt: skip
            for key, mtime_ns, size, text in rows:
                attributes = _read(text)
                if attributes is not None:
                    found[key, (mtime_ns, size)] = attributes
        return found

    def put(self, bucket: str, key: str, version: Version, attributes: ObjectAttributes) -> None:
        self.run("insert or replace into objects values (?, ?, ?, ?, ?)", bucket, key, *version, attributes.dumped())

    def keep_only(self, bucket: str, key: str, version: Version) -> None:
        """Delete the records of the key's other versions."""
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

    def all_versions(self) -> Iterable[tuple[str, str, Version]]:
        """Bucket, key and version of every record."""
        for bucket, key, mtime_ns, size in self.run("select bucket, key, mtime_ns, size from objects"):
            yield bucket, key, (mtime_ns, size)


def _read(text: Any) -> ObjectAttributes | None:
    """The attributes in a record; None if it is damaged, as if it did not exist."""
    try:
        return ObjectAttributes.loaded(text)
    except ValueError:
        return None
