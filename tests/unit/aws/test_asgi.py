"""A request's body read within a limit, read again, and an answer sent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from emulator.aws.asgi import BodyBrokenOff, BodyTooLong, Receive, read_body, replayed, send_answer


def receiving(*parts: bytes, breaks_off: bool = False) -> Receive:
    """A body in these parts, then a caller that has gone; ``breaks_off``: before the body is complete."""
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": part, "more_body": breaks_off or at < len(parts)}
        for at, part in enumerate(parts, 1)
    ]
    messages.append({"type": "http.disconnect"})

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    return receive


@pytest.mark.parametrize("parts", [(b"",), (b"abc",), (b"a", b"", b"bc"), (b"abc", b"")])
def test_a_body_within_the_limit_is_read(parts: tuple[bytes, ...]) -> None:
    seen: list[bytes] = []
    assert asyncio.run(read_body(receiving(*parts), 3, seen.append)) == b"".join(parts)
    assert tuple(seen) == parts


@pytest.mark.parametrize("parts", [(b"abcd",), (b"ab", b"cd"), (b"abcd", b""), (b"abc", b"d")])
def test_a_body_over_the_limit_is_read_to_its_end(parts: tuple[bytes, ...]) -> None:
    seen: list[bytes] = []
    receive = receiving(*parts)
    with pytest.raises(BodyTooLong) as caught:
        asyncio.run(read_body(receive, 3, seen.append))
    assert (caught.value.size, b"".join(seen)) == (4, b"abcd")
    assert asyncio.run(receive())["type"] == "http.disconnect"  # type: ignore[arg-type]


@pytest.mark.parametrize(("parts", "size"), [((), 0), ((b"ab",), 2), ((b"ab", b"cd"), 4)])
def test_a_body_that_breaks_off_says_after_how_many_bytes(parts: tuple[bytes, ...], size: int) -> None:
    with pytest.raises(BodyBrokenOff) as caught:
        asyncio.run(read_body(receiving(*parts, breaks_off=True), 3))
    assert caught.value.size == size


def test_a_body_can_be_read_again_and_what_follows_it_is_received() -> None:
    async def read_twice() -> None:
        receive = receiving(b"ab", b"c")
        again = replayed(await read_body(receive, 3), receive)
        assert await read_body(again, 3) == b"abc"
        assert (await again())["type"] == "http.disconnect"
        with pytest.raises(BodyTooLong):
            await read_body(replayed(BodyTooLong(4), receive), 9)

    asyncio.run(read_twice())


@pytest.mark.parametrize(
    ("status", "is_head", "length", "body"),
    [(200, False, b"3", b"abc"), (200, True, b"3", b""), (204, False, None, b""), (304, False, None, b"")],
)
def test_an_answer_has_the_length_of_its_body(status: int, is_head: bool, length: bytes | None, body: bytes) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(send_answer(send, status, [(b"a", b"b")], b"abc" if length else b"", is_head=is_head))
    start, end = sent
    assert (start["status"], dict(start["headers"]).get(b"content-length"), end["body"]) == (status, length, body)
