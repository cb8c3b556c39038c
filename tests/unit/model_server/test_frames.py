"""The frames between the model server and its workers, however the bytes arrive."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.model_server.workers import frames
from emulator.model_server.workers.frames import Decoder, Frame, head, read

KINDS = st.sampled_from([frames.LOAD, frames.INVOKE, frames.RESPONSE, frames.STREAM, frames.CHUNK, frames.END])
FIELDS = st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=20), max_size=3)
FRAMES = st.lists(st.tuples(KINDS, FIELDS, st.binary(max_size=50)), max_size=5)


def written(sent: list[tuple[bytes, dict[str, Any], bytes]]) -> bytes:
    return b"".join(head(kind, fields, len(body)) + body for kind, fields, body in sent)


def expected(sent: list[tuple[bytes, dict[str, Any], bytes]]) -> list[Frame]:
    return [Frame(kind, fields, bytearray(body)) for kind, fields, body in sent]


@settings(max_examples=50)
@given(FRAMES, st.integers(1, 40))
def test_frames_arrive_whole_in_whatever_pieces_they_come(
    sent: list[tuple[bytes, dict[str, Any], bytes]], size: int
) -> None:
    data, decoder = written(sent), Decoder()
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    assert [frame for piece in pieces for frame in decoder.feed(piece)] == expected(sent)
    assert list(decoder.feed(b"")) == []


@settings(max_examples=50)
@given(FRAMES)
def test_a_worker_reads_one_after_the_other_until_the_server_is_gone(
    sent: list[tuple[bytes, dict[str, Any], bytes]],
) -> None:
    assert list(all_of(written(sent))) == expected(sent)


@pytest.mark.parametrize("missing", [1, 3, 5, 6, 20])
def test_half_a_frame_is_none(missing: int) -> None:
    data = written([(frames.INVOKE, {"id": "x"}, b"body")])
    assert list(all_of(data + data[:-missing])) == [Frame(frames.INVOKE, {"id": "x"}, bytearray(b"body"))]
    decoder = Decoder()
    assert list(decoder.feed(data[:-missing])) == []
    assert len(list(decoder.feed(data[-missing:]))) == 1


def all_of(data: bytes) -> Iterator[Frame]:
    file = cast(io.BufferedReader, io.BytesIO(data))
    while (frame := read(file)) is not None:
        yield frame
