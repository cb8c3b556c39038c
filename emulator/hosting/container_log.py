"""A container's output: kept in a file, and passed on as events."""

from __future__ import annotations

import contextlib
from pathlib import Path

from emulator.events import Events, LogLine
from emulator.private_files import private_opener


class ContainerLog:
    """Takes the output line by line. The file is appended to, so that earlier runs stay readable."""

    def __init__(self, path: Path, events: Events) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "a", encoding="utf-8", buffering=1, opener=private_opener)  # noqa: SIM115
        self._events = events

    def __call__(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # a full disk must not end the serving
            self._file.write(line + "\n")
        self._events.publish(LogLine(line))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
