"""What was created through the API, stored in SQLite so that it survives a restart.

A record is written before its request is answered: what was acknowledged survives a kill at any moment. All records
are in memory as well, and are read there.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from emulator.errors import SetupError
from emulator.private_files import private_file
from emulator.services.sagemaker.records import Record, document, read

FORMAT = 1  # of the file
SMALLEST_BYTES = 512  # of a file with content: SQLite treats a shorter file as a new one
SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    kind TEXT NOT NULL, name TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (kind, name)
)
"""

R = TypeVar("R", bound=Record)


class Registry:
    """Records by kind and name. Names that differ only in case are one name: in ARNs they are in lower case."""

    def __init__(self, database: sqlite3.Connection, records: Iterable[Record]) -> None:
        """Use ``open``. ``records`` are those in ``database``."""
        self._database = database  # used in threads, by one at a time
        self._records = {_key(record.kind, record.name): record for record in records}

    @classmethod
    def open(cls, file: Path) -> Registry:
        """The registry in that file, which is created if it does not exist. Blocks.

        Raises SetupError when the file cannot be used.
        """
        try:
            private_file(file)  # it contains environments of containers, and so secrets
            database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
            database.execute("PRAGMA synchronous = FULL")
            found = database.execute("PRAGMA user_version").fetchone()[0]
            if found not in (0, FORMAT):
                raise SetupError(
                    f"{file} is of another version of localmme. Name another --state-dir, or move the file away: "
                    "the emulator then starts without what was created through the API."
                )
            # There is no other copy: damage must not go unnoticed, and a damaged file is left as it is.
            (problem,) = database.execute("PRAGMA integrity_check(1)").fetchone()
            if problem != "ok" or 0 < file.stat().st_size < SMALLEST_BYTES:
                raise sqlite3.DatabaseError(problem if problem != "ok" else "the file is truncated")
            if not found:
                database.execute(SCHEMA)
                database.execute(f"PRAGMA user_version = {FORMAT}")
            return cls(
                database, [read(json.loads(text)) for (text,) in database.execute("SELECT document FROM records")]
            )
        except (sqlite3.Error, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise SetupError(
                f"{file}, which keeps what was created through the API, cannot be used: {error}. If the disk "
                "is full, free some space. Otherwise restore a copy of the file, name another --state-dir, or move the "
                "file away: the emulator then starts without what was created through the API."
            ) from None

    def get(self, kind: type[R], name: str) -> R | None:
        """The record of that kind and name; None if it does not exist."""
        record = self._records.get(_key(kind.kind, name))
        assert record is None or isinstance(record, kind)
        return record

    def all(self, kind: type[R]) -> list[R]:
        """All records of a kind, in no particular order."""
        # A copy, as another thread may add one meanwhile.
        return [record for record in list(self._records.values()) if isinstance(record, kind)]

    def put(self, record: Record) -> None:
        """Store a new or changed record. Blocks. Raises sqlite3.Error; nothing has changed then."""
        if record.stored:
            self._database.execute(
                "INSERT OR REPLACE INTO records VALUES (?, ?, ?)",
                (*_key(record.kind, record.name), json.dumps(document(record))),
            )
        self._records[_key(record.kind, record.name)] = record

    def unstore(self, record: Record) -> None:
        """Delete the record from the file, but not from memory. Blocks. Raises sqlite3.Error."""
        # A record created at the start may hide a stored one of its name, which must stay in the file.
        if record.stored:
            self._database.execute("DELETE FROM records WHERE kind = ? AND name = ?", _key(record.kind, record.name))
        record.stored = False

    def forget(self, record: Record) -> None:
        """Delete the record from memory, after ``unstore``."""
        self._records.pop(_key(record.kind, record.name), None)

    def close(self) -> None:
        self._database.close()


def _key(kind: str, name: str) -> tuple[str, str]:
    return kind, name.lower()
