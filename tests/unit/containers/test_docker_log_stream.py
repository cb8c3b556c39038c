"""A container's output, out of the frames that the engine sends."""

from __future__ import annotations

import io
import struct

from emulator.containers.container import LONGEST_LOG_LINE
from emulator.containers.docker.log_stream import read_lines

OUT, ERR = 1, 2


def frame(source: int, data: bytes) -> bytes:
    return struct.pack(">BxxxL", source, len(data)) + data


class Trickle(io.BytesIO):
    """A connection that has a few bytes at a time."""

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read1(7)


def lines(*frames: bytes, stream: type[io.BytesIO] = io.BytesIO) -> list[str]:
    return [line for some in read_lines(stream(b"".join(frames))) for line in some]


def test_each_stream_is_cut_into_lines_for_itself() -> None:
    frames = [frame(OUT, b"out "), frame(ERR, b"err "), frame(OUT, b"one\r\n"), frame(ERR, b"two\nmore\n")]
    assert lines(*frames) == lines(*frames, stream=Trickle) == ["out one", "err two", "more"]


def test_what_has_no_end_is_a_line_when_the_stream_ends() -> None:
    assert lines(frame(OUT, b"a\nno end"), frame(ERR, b"either")) == ["a", "no end", "either"]


def test_bytes_that_are_not_utf_8_are_shown_as_such() -> None:
    assert lines(frame(OUT, b"\xff\n")) == ["\N{REPLACEMENT CHARACTER}"]


def test_a_line_that_does_not_end_comes_in_pieces() -> None:
    pieces = lines(*[frame(OUT, b"x" * 10_000)] * (3 * LONGEST_LOG_LINE // 10_000))
    assert len(pieces) > 1 and set("".join(pieces)) == {"x"}
    assert sum(map(len, pieces)) == 3 * LONGEST_LOG_LINE // 10_000 * 10_000


def test_half_a_frame_when_the_connection_is_lost_is_no_line() -> None:
    assert lines(frame(OUT, b"whole\n"), frame(OUT, b"half of it\n")[:12]) == ["whole"]
