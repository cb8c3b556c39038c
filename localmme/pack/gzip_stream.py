"""A gzip stream whose bytes depend only on the data and the compression: no time, no name, no system."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import BinaryIO

from isal import isal_zlib

# Deflate; no flags, so no name; no time; no level; unknown operating system.
_HEADER = b"\x1f\x8b\x08\x00" + bytes(4) + b"\x00\xff"
_STORED_BYTES = 65_535  # the most that a stored block of deflate can hold
_BLOCK_BYTES = 16 * _STORED_BYTES
# ISA-L's level 1 gives the same bytes on every x86-64 CPU with SSE4.2; higher levels differ with AVX-512.
_LEVEL = 1
_RAW_DEFLATE = -15


class GzipStream:
    """Compresses to an open file, without seeking. ``close`` ends the stream, but does not close the file.

    compressed: True = by ISA-L, of which another version or another kind of CPU may give other bytes; False = stored
        uncompressed, with the same bytes everywhere.
    """

    def __init__(self, file: BinaryIO, *, compressed: bool) -> None:
        self._file = file
        self._pending = bytearray()
        self._crc = 0
        self._size = 0
        self._deflate, self._end = _compression() if compressed else (_stored, lambda: b"\x01\x00\x00\xff\xff")
        file.write(_HEADER)

    def write(self, data: bytes) -> None:
        """Add data of any length; the compression always gets blocks of one length."""
        self._pending += data
        while len(self._pending) >= _BLOCK_BYTES:
            self._take(bytes(self._pending[:_BLOCK_BYTES]))
            del self._pending[:_BLOCK_BYTES]

    def close(self) -> None:
        """Write the rest of the data, and the checksum."""
        self._take(bytes(self._pending))
        self._pending.clear()
        self._file.write(self._end() + struct.pack("<LL", self._crc, self._size & 0xFFFFFFFF))

    def _take(self, block: bytes) -> None:
        self._crc = isal_zlib.crc32(block, self._crc)
        self._size += len(block)
        self._file.write(self._deflate(block))


def _compression() -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
    compression = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _RAW_DEFLATE)
    return compression.compress, compression.flush


def _stored(data: bytes) -> bytes:
    blocks = (data[start : start + _STORED_BYTES] for start in range(0, len(data), _STORED_BYTES))
    return b"".join(struct.pack("<BHH", 0, len(block), len(block) ^ 0xFFFF) + block for block in blocks)
