"""aws-chunked: the framing that SDKs put around a body, so that signatures or a checksum can follow the data. [api]

    <size in hexadecimal digits>[;chunk-signature=...] CRLF <that many bytes> CRLF   ... and so on, up to a size of 0;
    then trailers (name:value CRLF) if any were announced; then an empty line.

The chunks' signatures are verified where access is controlled.
"""

from __future__ import annotations

import hashlib
import re
from typing import Protocol

from emulator.aws.errors import AwsError
from emulator.services.s3.errors import chunk_signature_mismatch, incomplete_body, invalid_request

SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}")
LINE_BYTES = 4096  # no honest chunk header or trailer is longer
CHUNK_SIGNATURE = b"chunk-signature="
TRAILER_SIGNATURE = "x-amz-trailer-signature"


class Signatures(Protocol):
    """Verifies the signatures of a body's chunks, in order."""

    has_trailer: bool

    def is_of_chunk(self, sha256: str, signature: str) -> bool: ...

    def is_of_trailer(self, trailer: str, signature: str) -> bool: ...


class AwsChunked:
    """Decodes a body piece by piece; ``trailers`` are complete when ``is_complete``."""

    def __init__(self, signatures: Signatures | None = None) -> None:
        """``signatures`` verifies those of the chunks; None = they are not verified."""
        self._signatures = signatures
        self._signature = ""  # of the chunk under way
        self._sha256 = hashlib.sha256()
        self.trailers: dict[str, str] = {}
        self.is_complete = False
        self._left = 0  # bytes of the chunk under way
        self._line = b""  # of what is not data: the beginning of a line that has not ended
        self._state = "size"  # or data, end (of a chunk), trailers

    def feed(self, data: bytes) -> list[bytes]:
        """The decoded pieces of the body in ``data``.

        Raises InvalidRequest when it is not framed so, and SignatureDoesNotMatch.
        """
        pieces, position = [], 0
        while position < len(data) and not self.is_complete:
            if self._state == "data":
                piece = data[position : position + self._left]
                pieces.append(piece)
                position += len(piece)
                self._left -= len(piece)
                if self._signatures is not None:
                    self._sha256.update(piece)
                if self._left == 0:
                    self._check_chunk()
                    self._state = "end"
                continue
            end = data.find(b"\n", position)
            self._line += data[position:] if end < 0 else data[position : end + 1]
            position = len(data) if end < 0 else end + 1
            if len(self._line) > LINE_BYTES:
                raise malformed()
            if end >= 0:
                line, self._line = self._line.rstrip(b"\r\n"), b""
                self._take(line)
        return pieces

    def finish(self) -> None:
        """To be called at the body's end. Raises IncompleteBody (no last chunk), SignatureDoesNotMatch."""
        # Some clients leave out the empty line at the very end.
        if not self.is_complete and self._state != "trailers":
            raise incomplete_body()
        if self._signatures is not None:
            signature = self.trailers.pop(TRAILER_SIGNATURE, "")
            trailer = "".join(f"{name}:{value}\n" for name, value in self.trailers.items())
            is_signed = self._signatures.has_trailer and self._signatures.is_of_trailer(trailer, signature)
            if not is_signed and (trailer or self._signatures.has_trailer):
                raise chunk_signature_mismatch()

    def _check_chunk(self) -> None:
        if self._signatures is None:
            return
        if not self._signatures.is_of_chunk(self._sha256.hexdigest(), self._signature):
            raise chunk_signature_mismatch()
        self._sha256 = hashlib.sha256()

    def _take(self, line: bytes) -> None:
        if self._state == "size":
            digits, _, extension = (part.strip() for part in line.partition(b";"))
            if not SIZE.fullmatch(digits):
                raise malformed()
            self._left = int(digits, 16)
            self._signature = extension.removeprefix(CHUNK_SIGNATURE).decode("latin-1")
            if not self._left:
                self._check_chunk()
            self._state = "data" if self._left else "trailers"
        elif self._state == "end":
            if line:
                raise malformed()
            self._state = "size"
        elif not line:
            self.is_complete = True
        else:
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon:
                raise malformed()
            self.trailers[name.strip().lower()] = value.strip()


def malformed() -> AwsError:
    return invalid_request("The aws-chunked body is malformed.")
