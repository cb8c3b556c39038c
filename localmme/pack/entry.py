"""What is in a model archive, or is to be: an entry for each member."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A file, a directory, or what else an archive can hold.

    name: its path in the archive, without ``./`` before and ``/`` after it.
    kind: "file", "directory", "symbolic link", "hard link", or "special file": a device, a pipe or a socket.
    size_bytes: of a file, unpacked; 0 of anything else.
    mode: its permissions.
    target: where a link leads, as it is written in the archive.
    """

    name: str
    kind: str
    size_bytes: int = 0
    mode: int = 0o644
    target: str = ""

    @classmethod
    def of_member(cls, member: tarfile.TarInfo) -> Entry:
        """A member of an archive that somebody else made."""
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
