"""What was created through the API, kept in SQLite: it is there again when the emulator is started anew.

A record is written before its call is answered, so that what was acknowledged survives a kill at any moment. All of it
is in memory as well, where it is read.
"""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from emulator.errors import SetupError
from emulator.private_files import private_file

FORMAT = 1  # of the file
SMALLEST_BYTES = 512  # of a file that holds anything: SQLite takes a shorter one for a new one
SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    kind TEXT NOT NULL, name TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (kind, name)
)
"""

Kind = Literal["model", "endpoint-config", "endpoint"]  # as in ARNs


def now() -> float:
    """Seconds since 1970, to the millisecond: SDKs keep no more of a time that they hand back as a filter."""
    return time.time_ns() // 10**6 / 1000


@dataclass(eq=False)
class Record:
    """One model, endpoint configuration or endpoint."""

    kind: Kind
    name: str
    asked: dict[str, Any]  # the arguments of the call that created it
    created: float = field(default_factory=now)  # seconds since 1970
    modified: float = 0.0
    tags: dict[str, str] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)  # what else its kind has to remember, as JSON takes it
    stored: bool = True  # False: it was given when the emulator was started, or is being deleted

    def __post_init__(self) -> None:
        self.modified = self.modified or self.created


class Registry:
    """Records by kind and name. Names that differ only in case are one name: in ARNs they are in lower case."""

    def __init__(self, file: Path) -> None:
        """Blocks. Raises SetupError when the file cannot be read."""
        self._records: dict[tuple[str, str], Record] = {}
        try:
            private_file(file)  # it has the environments of containers, and so their secrets
            # Used in threads, by one at a time.
            self._database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
            self._database.execute("PRAGMA synchronous = FULL")
            found = self._database.execute("PRAGMA user_version").fetchone()[0]
            if found not in (0, FORMAT):
                raise SetupError(
                    f"{file} is of another version of localmme. Name another --state-dir, or move the file away: "
                    "what was created through the API is not there then."
                )
            # What stands in it stands nowhere else: no damage is to go unnoticed, and a damaged file stays as it is.
            (problem,) = self._database.execute("PRAGMA integrity_check(1)").fetchone()
            if problem != "ok" or 0 < file.stat().st_size < SMALLEST_BYTES:
                raise sqlite3.DatabaseError(problem if problem != "ok" else "the file is truncated")
            if not found:
                self._database.execute(SCHEMA)
                self._database.execute(f"PRAGMA user_version = {FORMAT}")
            for (document,) in self._database.execute("SELECT document FROM records"):
                record = _record(json.loads(document))
                self._records[_key(record.kind, record.name)] = record
        except (sqlite3.Error, OSError, ValueError, TypeError) as error:
            raise SetupError(
                f"{file}, which keeps what was created through the API, cannot be used: {error}. Free space if there "
                "is none, or put a copy of the file back. Otherwise name another --state-dir, or move the file away: "
                "what was created through the API is not there then."
            ) from None

    def get(self, kind: Kind, name: str) -> Record | None:
        return self._records.get(_key(kind, name))

    def all(self, kind: Kind) -> list[Record]:
        """Those of a kind, in no particular order."""
        # A copy, as another thread may put one in meanwhile.
        return [record for record in list(self._records.values()) if record.kind == kind]

    def put(self, record: Record) -> None:
        """Keep a record, or what has changed of it. Blocks. Raises sqlite3.Error, and nothing has changed then."""
        if record.stored:
            document = {name: value for name, value in vars(record).items() if name != "stored"}
            self._database.execute(
                "INSERT OR REPLACE INTO records VALUES (?, ?, ?)",
                (*_key(record.kind, record.name), json.dumps(document)),
            )
        self._records[_key(record.kind, record.name)] = record

    def unstore(self, record: Record) -> None:
        """The record will not be there after a restart. Blocks. Raises sqlite3.Error."""
        # One that was given may stand before a stored one of its name, which is there again without it.
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


def _record(document: Any) -> Record:
    """Raises TypeError for what is none."""
    record = Record(**document)
    for name, value in vars(record).items():
        kind = {"asked": dict, "tags": dict, "more": dict, "created": float, "modified": float}.get(name, str)
        if name != "stored" and not isinstance(value, kind):
            raise TypeError(f"a record has another {name} than records have")
    if record.kind not in ("model", "endpoint-config", "endpoint"):
        raise TypeError("a record is of no kind")
    return record
