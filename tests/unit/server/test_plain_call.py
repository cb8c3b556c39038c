"""A coroutine that is run without a task: up to each wait at once, and on when what it waits for is there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import pytest

from emulator.aws.asgi import Response
from emulator.server.plain_call import PlainCall

ANSWER: Response = (200, [], b"answer")
Ended = list[Response | None]


def call(response: Coroutine[Any, Any, Response | None], ended: Ended) -> PlainCall:
    return PlainCall(b"/", [], response, lambda _, answer: ended.append(answer))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_what_waits_for_nothing_has_ended_when_run_returns() -> None:
    async def respond() -> Response:
        return ANSWER

    ended: Ended = []
    call(respond(), ended).run()  # no event loop is needed
    assert ended == [ANSWER]


def test_it_goes_on_when_what_it_waits_for_is_there() -> None:
    async def main() -> None:
        first, second = asyncio.get_running_loop().create_future(), asyncio.Event()
        steps: list[str] = []

        async def respond() -> Response:
            steps.append(await first)
            await second.wait()
            await asyncio.sleep(0)
            steps.append("second")
            return ANSWER

        ended: Ended = []
        call(respond(), ended).run()
        first.set_result("first")
        await settle()
        assert (steps, ended) == (["first"], [])
        second.set()
        await settle()
        assert (steps, ended) == (["first", "second"], [ANSWER])

    asyncio.run(main())


def test_an_error_of_what_it_waits_for_is_raised_where_it_waits() -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()

        async def respond() -> Response:
            try:
                await future
            except ValueError as error:
                return 500, [], str(error).encode()
            return ANSWER

        ended: Ended = []
        call(respond(), ended).run()
        future.set_exception(ValueError("broken"))
        await settle()
        assert ended == [(500, [], b"broken")]

    asyncio.run(main())


@pytest.mark.parametrize("waits", ["for a future", "for the event loop", "not yet"])
def test_one_that_is_cancelled_ends_without_an_answer_once_it_has_tidied_up(waits: str) -> None:
    async def main() -> None:
        tidied: list[str] = []

        async def respond() -> Response:
            try:
                await (asyncio.sleep(0) if waits == "for the event loop" else asyncio.Event().wait())
            finally:
                await asyncio.sleep(0)
                tidied.append("up")
            return ANSWER

        ended: Ended = []
        one = call(respond(), ended)
        if waits != "not yet":
            one.run()
        one.cancel()
        if waits == "not yet":
            one.run()
        await settle()
        assert ended == [None]
        assert tidied == ([] if waits == "not yet" else ["up"])

    asyncio.run(main())


def test_one_that_answers_all_the_same_has_answered() -> None:
    async def main() -> None:
        async def respond() -> Response:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            return ANSWER

        ended: Ended = []
        one = call(respond(), ended)
        one.run()
        one.cancel()
        await settle()
        assert ended == [ANSWER]

    asyncio.run(main())
