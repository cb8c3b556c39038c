"""The files that a handler consists of, to see when one of them has changed."""

from __future__ import annotations

import os
from collections.abc import Iterable

_ENDINGS = (".py", "requirements.txt")
Stamp = tuple[int, int]  # time of change in nanoseconds, size in bytes


class Sources:
    """The files as they are when this is made, which is before they are imported: no change is missed."""

    def __init__(self, directory: str, more: Iterable[str] = ()) -> None:
        """``directory`` is that of the handler. Its Python files belong to it, also those that are yet to come.

        So do its requirements.txt, and ``more``.
        """
        self._directory = directory
        self._more = frozenset(more)
        self._seen = self._stamps()

    def anew(self) -> Sources:
        """The same files as they are now."""
        return Sources(self._directory, self._more)

    def add(self, files: Iterable[str]) -> None:
        """Further files, such as those of a package beside the handler, once they have been imported."""
        self._more |= frozenset(files)
        self._seen = {**self._stamps(), **self._seen}

    def changed(self) -> list[str]:
        """The files that have changed, have come or have gone."""
        now = self._stamps()
        return sorted(file for file in now.keys() | self._seen.keys() if now.get(file) != self._seen.get(file))

    def _stamps(self) -> dict[str, Stamp]:
        try:
            beside = [entry.path for entry in os.scandir(self._directory) if entry.name.endswith(_ENDINGS)]
        except OSError:
            beside = []
        stamps = {}
        for file in {*beside, *self._more}:
            try:
                status = os.stat(file)
            except OSError:
                continue
            stamps[file] = status.st_mtime_ns, status.st_size
        return stamps
