"""aws-chunked: the framing that SDKs put around a body, so that signatures or a checksum can follow the data. [api]

    <size in hexadecimal digits>[;chunk-signature=...] CRLF <that many bytes> CRLF   ... and so on, up to a size of 0;
    then trailers (name:value CRLF) if any were announced; then an empty line.

The chunks' signatures are not verified.
"""

from __future__ import annotations

from emulator.service.s3.errors import S3Error, incomplete_body, invalid_request

LINE_BYTES = 4096  # no honest chunk header or trailer is longer


class AwsChunked:
    """Takes a body apart as it comes; ``trailers`` are complete when ``is_complete``."""

    def __init__(self) -> None:
        self.trailers: dict[str, str] = {}
        self.is_complete = False
        self._left = 0  # bytes of the chunk under way
        self._line = b""  # of what is not data: the beginning of a line that has not ended
        self._state = "size"  # or data, end (of a chunk), trailers

    def feed(self, data: bytes) -> list[bytes]:
        """The pieces of the body in what has come. Raises InvalidRequest when it is not framed so."""
        pieces, position = [], 0
        while position < len(data) and not self.is_complete:
            if self._state == "data":
                piece = data[position : position + self._left]
                pieces.append(piece)
                position += len(piece)
                self._left -= len(piece)
                if self._left == 0:
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
        """The body has ended. Raises IncompleteBody when its last chunk has not come."""
        # Some clients leave out the empty line at the very end.
        if not self.is_complete and self._state != "trailers":
            raise incomplete_body()

    def _take(self, line: bytes) -> None:
        if self._state == "size":
            digits = line.partition(b";")[0].strip()
            try:
                self._left = int(digits, 16)
            except ValueError:
                raise malformed() from None
            if self._left < 0 or len(digits) > 16:
                raise malformed()
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


def malformed() -> S3Error:
    return invalid_request("The aws-chunked body is malformed.")
