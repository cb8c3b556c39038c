"""Entries of a model archive: one for each member."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass


@dataclass(frozen=True)
class ArchiveEntry:
    """A file, a directory or another member of an archive.

    name: its path in the archive, without a leading ``./`` and a trailing ``/``.
    kind: "file", "directory", "symbolic link", "hard link", or "special file": a device, a pipe or a socket.
    size_bytes: a file's size, unpacked; 0 for all other kinds.
    mode: its permissions.
    target: a link's target, as the archive spells it.
    """

    name: str
    kind: str
    size_bytes: int = 0
    mode: int = 0o644
    target: str = ""

    @classmethod
    def of_member(cls, member: tarfile.TarInfo) -> ArchiveEntry:
        """The entry of a member, whichever tool made the archive."""
        root = "/" if member.name.startswith("/") else ""
        name = root + "/".join(step for step in member.name.split("/") if step not in ("", "."))
        if member.isreg():
            return cls(name, "file", member.size, member.mode)
        if member.isdir():
            return cls(name, "directory", mode=member.mode)
        if member.issym() or member.islnk():
            kind = "symbolic link" if member.issym() else "hard link"
            return cls(name, kind, mode=member.mode, target=member.linkname)
        return cls(name, "special file", mode=member.mode)
