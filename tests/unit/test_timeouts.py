"""Waiting with a limit: no cancellation is lost, whatever happens at the same moment."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable

import pytest
import uvloop

from emulator.timeouts import in_time

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.SelectorEventLoop, uvloop.new_event_loop]


@pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoop:
    loop = request.param()
    request.addfinalizer(loop.close)
    return loop


def test_a_cancellation_is_never_lost_to_what_ends_at_the_same_moment(loop: asyncio.AbstractEventLoop) -> None:
    async def wait_and_go_on(happened: asyncio.Event) -> None:
        await in_time(happened.wait(), 60)
        await asyncio.Event().wait()  # only a cancellation gets out of here

    async def once(steps_before: int, steps_between: int) -> bool:
        happened = asyncio.Event()
        task = asyncio.create_task(wait_and_go_on(happened))
        for _ in range(steps_before):
            await asyncio.sleep(0)
        happened.set()
        for _ in range(steps_between):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=5)
        if not done:
            task.cancel()
            await asyncio.wait([task])
        return bool(done) and task.cancelled()

    async def often() -> None:
        lost = [steps for steps in itertools.product(range(6), range(6)) for _ in range(60) if not await once(*steps)]
        assert not lost, "steps before it happened, and from there to the cancellation"

    loop.run_until_complete(often())


def test_what_takes_too_long_is_cancelled_and_waited_for(loop: asyncio.AbstractEventLoop) -> None:
    ended: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            ended.append("cancelled")

    async def scenario() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await in_time(slow(), 0)

    loop.run_until_complete(scenario())
    assert ended == ["cancelled"]


def test_results_and_errors_are_passed_on(loop: asyncio.AbstractEventLoop) -> None:
    async def fail() -> None:
        raise ValueError("mine")

    async def scenario() -> None:
        assert await in_time(asyncio.sleep(0, "result"), 60) == "result"
        with pytest.raises(ValueError, match="mine"):
            await in_time(fail(), 60)

    loop.run_until_complete(scenario())


def test_who_is_cancelled_takes_with_it_what_it_waits_for(loop: asyncio.AbstractEventLoop) -> None:
    async def scenario() -> None:
        inner = asyncio.ensure_future(asyncio.sleep(60))
        outer = asyncio.ensure_future(in_time(inner, 60))
        await asyncio.sleep(0)
        outer.cancel()
        await asyncio.gather(outer, return_exceptions=True)
        assert outer.cancelled() and inner.cancelled()

    loop.run_until_complete(scenario())


def test_what_came_in_time_counts_though_the_event_loop_is_late(loop: asyncio.AbstractEventLoop) -> None:
    """A timer that goes off late comes before the connection that was accepted meanwhile."""

    async def connect(port: int) -> str:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return "connected"

    async def main() -> str:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        connecting = asyncio.ensure_future(in_time(connect(server.sockets[0].getsockname()[1]), 0.01))
        await asyncio.sleep(0)
        time.sleep(0.05)
        result = await connecting
        server.close()
        return result

    assert loop.run_until_complete(main()) == "connected"
