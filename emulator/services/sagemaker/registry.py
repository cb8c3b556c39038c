"""What was created through the API, kept in SQLite: it is there again when the emulator is started anew.

A record is written before its call is answered, so that what was acknowledged survives a kill at any moment. All of it
is in memory as well, where it is read.
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
SMALLEST_BYTES = 512  # of a file that holds anything: SQLite takes a shorter one for a new one
SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    kind TEXT NOT NULL, name TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (kind, name)
)
"""

R = TypeVar("R", bound=Record)


class Registry:
    """Records by kind and name. Names that differ only in case are one name: in ARNs they are in lower case."""

    def __init__(self, database: sqlite3.Connection, records: Iterable[Record]) -> None:
        """See ``open``."""
        self._database = database  # used in threads, by one at a time
        self._records = {_key(record.kind, record.name): record for record in records}

    @classmethod
    def open(cls, file: Path) -> Registry:
        """The registry in that file, which is made if it is not there. Blocks.

        Raises SetupError when the file cannot be used.
        """
        try:
            private_file(file)  # it has the environments of containers, and so their secrets
            database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
            database.execute("PRAGMA synchronous = FULL")
            found = database.execute("PRAGMA user_version").fetchone()[0]
            if found not in (0, FORMAT):
                raise SetupError(
                    f"{file} is of another version of localmme. Name another --state-dir, or move the file away: "
                    "what was created through the API is not there then."
                )
            # What stands in it stands nowhere else: no damage is to go unnoticed, and a damaged file stays as it is.
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
                f"{file}, which keeps what was created through the API, cannot be used: {error}. Free space if there "
                "is none, or put a copy of the file back. Otherwise name another --state-dir, or move the file away: "
                "what was created through the API is not there then."
            ) from None

    def get(self, kind: type[R], name: str) -> R | None:
        record = self._records.get(_key(kind.kind, name))
        assert record is None or isinstance(record, kind)
        return record

    def all(self, kind: type[R]) -> list[R]:
        """Those of a kind, in no particular order."""
        # A copy, as another thread may put one in meanwhile.
        return [record for record in list(self._records.values()) if isinstance(record, kind)]

    def put(self, record: Record) -> None:
        """Keep a record, or what has changed of it. Blocks. Raises sqlite3.Error, and nothing has changed then."""
        if record.stored:
            self._database.execute(
                "INSERT OR REPLACE INTO records VALUES (?, ?, ?)",
                (*_key(record.kind, record.name), json.dumps(document(record))),
            )
        self._records[_key(record.kind, record.name)] = record

    def unstore(self, record: Record) -> None:
        """The record will not be there after a restart. Blocks. Raises sqlite3.Error."""
        # One that came with the start may stand before a stored one of its name, which is there again without it.
        if record.stored:
            self._database.execute("DELETE FROM records WHERE kind = ? AND name = ?", _key(record.kind, record.name))
        record.stored = False

    def forget(self, record: Record) -> None:
        """The record is gone, once it is not stored."""
        self._records.pop(_key(record.kind, record.name), None)

    def close(self) -> None:
        self._database.close()


def _key(kind: str, name: str) -> tuple[str, str]:
    return kind, name.lower()
