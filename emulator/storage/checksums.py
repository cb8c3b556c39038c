"""S3's checksums: computed while data passes, and compared with the caller's.

CRC32, SHA1 and SHA256 are computed with the standard library, CRC32C and CRC64NVME with awscrt where
it is installed. Without it, those two are kept and given back as the caller said, unverified.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from emulator.storage.errors import ChecksumMismatch, ContentHashMismatch, InvalidChecksum

try:
    from awscrt import checksums as crt
except ImportError:
    crt = None

HEADER = "x-amz-checksum-"
LENGTHS = {"crc32": 4, "crc32c": 4, "crc64nvme": 8, "sha1": 20, "sha256": 32}  # [api] bytes of each
CAN_BE_FULL = ("crc32", "crc32c", "crc64nvme")  # [api] of a multipart object as a whole


class Digest(Protocol):
    """The interface of hashlib's objects."""

    def update(self, data: Any, /) -> None: ...

    def digest(self) -> bytes: ...


class Crc:
    """A cyclic checksum by a function of ``(data, value so far)``."""

    def __init__(self, function: Callable[[Any, int], int], length: int) -> None:
        self._function = function
        self._length = length
        self._value = 0

    def update(self, data: Any, /) -> None:
        self._value = self._function(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._length, "big")


def new(algorithm: str) -> Digest | None:
    """An object that computes a checksum; None if its library is not installed."""
    if algorithm in ("sha1", "sha256", "md5"):
        return hashlib.new(algorithm, usedforsecurity=False)
    if algorithm == "crc32":
        return Crc(zlib.crc32, 4)
    if crt is not None and algorithm in ("crc32c", "crc64nvme"):
        return Crc(getattr(crt, algorithm), LENGTHS[algorithm])
    return None


def encoded(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def decoded(text: str, length: int) -> bytes | None:
    """The bytes of a base64 checksum; None if it is not one of that length."""
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return digest if len(digest) == length else None


class ExpectedDigests:
    """The checksums that a caller states for the data it will send."""

    def __init__(
        self, md5: str | None = None, sha256: str | None = None, checksums: dict[str, str] | None = None
    ) -> None:
        """``md5`` in base64 (Content-MD5), ``sha256`` in hexadecimal digits, ``checksums`` in base64.

        Raises InvalidChecksum when one cannot be a checksum.
        """
        if md5 is not None and decoded(md5, 16) is None:
            raise InvalidChecksum("md5")
        self.md5 = md5
        self.sha256 = sha256
        self.checksums: dict[str, str] = {}
        for algorithm, value in (checksums or {}).items():
            self.add(algorithm, value)

    def add(self, algorithm: str, value: str) -> None:
        """A checksum in base64; those of a trailer come when all data has been read. Raises InvalidChecksum."""
        if decoded(value, LENGTHS[algorithm]) is None:
            raise InvalidChecksum(algorithm)
        self.checksums[algorithm] = value


class Digests:
    """The checksums of one stream of data."""

    def __init__(self, algorithms: Iterable[str] = ()) -> None:
        self._running: dict[str, Digest] = {}
        for algorithm in {"md5", *algorithms}:
            digest = new(algorithm)
            if digest is not None:
                self._running[algorithm] = digest

    def update(self, data: bytes) -> None:
        for digest in self._running.values():
            digest.update(data)

    @property
    def md5(self) -> bytes:
        return self._running["md5"].digest()

    def value(self, algorithm: str) -> str | None:
        """A checksum in base64; None if it was not computed."""
        running = self._running.get(algorithm)
        return None if running is None else encoded(running.digest())

    def verify(self, expected: ExpectedDigests) -> None:
        """Raises ChecksumMismatch or ContentHashMismatch when the data differs from what the caller stated."""
        if expected.md5 is not None and decoded(expected.md5, 16) != self.md5:
            raise ChecksumMismatch("md5", expected.md5, encoded(self.md5))
        if expected.sha256 is not None:
            sha256 = self._running["sha256"].digest().hex()
            if expected.sha256.lower() != sha256:
                raise ContentHashMismatch(expected.sha256, sha256)
        for algorithm, value in expected.checksums.items():
            computed = self.value(algorithm)
            if computed is not None and computed != value:
                raise ChecksumMismatch(algorithm, value, computed)
