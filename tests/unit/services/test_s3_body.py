"""The body of a request to S3, read no faster than it is written."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from emulator.aws.errors import AwsError
from emulator.services.s3.body import BATCH_BYTES, Body


class Caller:
    """One that sends these parts, and then has gone if the body is not complete."""

    def __init__(self, *parts: bytes, complete: bool = True) -> None:
        self.messages: list[dict[str, Any]] = [
            {"type": "http.request", "body": part, "more_body": number < len(parts) or not complete}
            for number, part in enumerate(parts, 1)
        ]
        self.asked = 0

    async def receive(self) -> dict[str, Any]:
        self.asked += 1
        return self.messages.pop(0) if self.messages else {"type": "http.disconnect"}


HALF = bytes(BATCH_BYTES // 2)


@pytest.mark.parametrize(
    "parts, batches",
    [
        ([b""], [b""]),
        ([b"a", b"", b"b"], [b"ab"]),
        ([HALF, HALF, b"rest"], [HALF + HALF, b"rest"]),
        ([HALF + HALF + b"more", b"rest"], [HALF + HALF + b"more", b"rest"]),
        ([HALF, HALF], [HALF + HALF]),
    ],
    ids=["empty", "small", "larger than a batch", "in one part", "a batch"],
)
def test_it_comes_in_batches(parts: list[bytes], batches: list[bytes]) -> None:
    async def main() -> None:
        caller = Caller(*parts)
        body = Body(caller.receive)
        assert not body.has_begun  # so that one who waits to be told to go on is still waiting
        read = []
        while not body.is_complete:
            read.append(await body.batch())
            assert body.has_begun
        assert read == batches
        assert caller.asked == len(parts)

    asyncio.run(main())


def test_no_more_is_read_than_a_batch_takes() -> None:
    async def main() -> None:
        caller = Caller(HALF, HALF, HALF, HALF)
        await Body(caller.receive).batch()
        assert caller.asked == 2

    asyncio.run(main())


def test_a_caller_that_has_gone_has_sent_an_incomplete_body() -> None:
    async def main() -> str:
        with pytest.raises(AwsError) as raised:
            await Body(Caller(b"half", complete=False).receive).batch()
        return raised.value.code

    assert asyncio.run(main()) == "IncompleteBody"


@pytest.mark.parametrize(
    "caller, code, left",
    [
        (Caller(b"1234", b"5"), "", 0),
        (Caller(b"1234", b"56", b"78"), "MaxMessageLengthExceeded", 0),  # it is read to its end all the same
        (Caller(b"12", complete=False), "IncompleteBody", 0),
    ],
)
def test_a_document_is_read_whole_up_to_a_limit(caller: Caller, code: str, left: int) -> None:
    async def main() -> None:
        if not code:
            assert await Body(caller.receive).document(5) == b"12345"
            return
        with pytest.raises(AwsError) as raised:
            await Body(caller.receive).document(5)
        assert raised.value.code == code

    asyncio.run(main())
    assert len(caller.messages) == left


@pytest.mark.parametrize("complete", [True, False])
def test_what_is_dropped_is_read_to_its_end(complete: bool) -> None:
    async def main() -> None:
        caller = Caller(HALF, HALF, HALF, complete=complete)
        await Body(caller.receive).drop()
        assert caller.messages == []

    asyncio.run(main())
