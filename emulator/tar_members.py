"""Members of a tar archive that is made while it is read, so that no more than a piece of a file is in memory."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from io import RawIOBase
from typing import BinaryIO

END = bytes(2 * tarfile.BLOCKSIZE)  # of an archive
_PIECE_BYTES = 256 * 1024


def header(name: str, kind: bytes, mode: int, *, size: int = 0, time: float = 0, link: str = "") -> bytes:
    """What comes before a member's content, in the POSIX format of 2001; the owner is root.

    ``kind`` is one of tarfile's types, ``size`` in bytes, ``time`` in seconds since 1970.
    """
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.size, member.mtime, member.linkname = kind, mode, size, int(time), link
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def content(file: BinaryIO | RawIOBase, size: int) -> Iterator[bytes]:
    """The first ``size`` bytes of a file in pieces, and what fills the last block. Raises EOFError if it has fewer."""
    left = size
    while left:
        piece = file.read(min(left, _PIECE_BYTES))
        if not piece:
            raise EOFError
        left -= len(piece)
        yield piece
    yield bytes(-size % tarfile.BLOCKSIZE)
