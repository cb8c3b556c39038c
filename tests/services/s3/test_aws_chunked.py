"""aws-chunked bodies, in whatever pieces they come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from emulator.services.s3.aws_chunked import AwsChunked


@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(0, 300), max_size=6), size=st.integers(1, 50))
def test_aws_chunked_is_taken_apart_however_it_comes(data: bytes, cuts: list[int], size: int) -> None:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    body = b"".join(b"%X;chunk-signature=abc\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    body += b"0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"
    decoder, found, at = AwsChunked(), b"", 0
    for cut in [*sorted(cuts), len(body)]:
        found += b"".join(decoder.feed(body[at:cut]))
        at = max(at, cut)
    decoder.finish()
    assert found == data
    assert decoder.trailers == {"x-amz-checksum-crc32": "AAAAAA=="}
