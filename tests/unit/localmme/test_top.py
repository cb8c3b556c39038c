"""``localmme top``: what it shows of messages that come, and its keys, in textual's own test harness."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from textual.pilot import Pilot
from textual.widgets import Input

from emulator.errors import SetupError
from localmme.event_stream import LOST, Message
from localmme.grid import ORDERS
from localmme.top.app import Confirmation, Top
from localmme.top.model_grid import ModelGrid
from tests.support import live_states as live

END = None


class Feed:
    """Messages that a test sends, in place of an emulator's."""

    def __init__(self) -> None:
        self._messages: queue.Queue[Message | None] = queue.Queue()
        self.acted: list[tuple[str, dict[str, Any]]] = []
        self.refusal: Exception | None = None

    def send(self, kind: str, data: Any) -> None:
        self._messages.put(Message(kind, data))

    def messages(self) -> Iterator[Message]:
        while (message := self._messages.get()) is not END:
            yield message

    def close(self) -> None:
        self._messages.put(END)

    def act(self, name: str, members: dict[str, Any]) -> dict[str, Any]:
        self.acted.append((name, members))
        if self.refusal is not None:
            raise self.refusal
        return {"message": "It is unloaded."}


class Screen:
    """The application, as a user sees it."""

    def __init__(self, pilot: Pilot[None], feed: Feed) -> None:
        self.pilot, self.feed = pilot, feed

    @property
    def app(self) -> Top:
        assert isinstance(self.pilot.app, Top)
        return self.pilot.app

    def text(self) -> str:
        lines = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in line).rstrip() for line in lines)

    async def until(self, there: Callable[[], Any], what: str) -> None:
        for _ in range(600):
            await self.pilot.pause(0.02)
            if there():
                return
        raise AssertionError(f"{what}:\n{self.text()}")

    async def sees(self, text: str) -> None:
        await self.until(lambda: text in self.text(), f"{text!r} is not there")

    async def does_not_see(self, text: str) -> None:
        await self.until(lambda: text not in self.text(), f"{text!r} is there")

    def names(self) -> list[str]:
        return [*self.app.query_one(ModelGrid)._names]

    def selected(self) -> str:
        row = self.app.query_one(ModelGrid).selected
        return row.target_model if row else ""


@asynccontextmanager
async def top(*endpoints: dict[str, Any], size: tuple[int, int] = (100, 24)) -> AsyncIterator[Screen]:
    """One that has been sent the state of these endpoints."""
    feed = Feed()
    app = Top(feed, feed.act, "http://127.0.0.1:8080")
    async with app.run_test(size=size, notifications=True) as pilot:
        screen = Screen(pilot, feed)
        feed.send("hello", live.hello())
        feed.send("state", live.state(*endpoints))
        await screen.until(lambda: app.state.run, "the state has come")
        yield screen


def cities() -> dict[str, Any]:
    models = [
        live.model("asia/osaka.tar.gz", invocations=9, memory_bytes=3 * live.MIB),
        live.model("asia/tokyo.tar.gz", invocations=2),
        live.model("europe/rome.tar.gz"),
    ]
    first = live.instance("i-1", live.loaded("asia/osaka.tar.gz"), next_victim="asia/osaka.tar.gz")
    return live.endpoint("E", models, first, live.instance("i-2", healthy=False))


def test_models_instances_and_events_are_shown_and_follow_the_messages() -> None:
    async def scenario() -> None:
        async with top(cities(), size=(80, 24)) as screen:
            await screen.sees("europe/rome.tar.gz")
            assert "E InService" in screen.text() and "goes next" in screen.text()
            assert "i-1 healthy  0 calls  memory █░░░░░░░ 1 MiB/10 MiB" in screen.text()
            assert "i-2 UNHEALTHY" in screen.text()
            moved = {**live.model("europe/rome.tar.gz"), "locations": {"i-2": "loading"}}
            update = live.update("E", live.instance("i-1"), live.instance("i-2"), models=[moved], removed=[])
            screen.feed.send("models", update)
            screen.feed.send("entries", {"entries": [live.event(1, "a call wants it", "europe/rome.tar.gz")]})
            await screen.sees("i-1 europe/rome.tar.gz: a call wants it")
            await screen.until(lambda: "load" in screen.text().split("europe/rome")[1], "it loads")
            await screen.does_not_see("UNHEALTHY")
            assert all(len(line) <= 80 for line in screen.text().splitlines())

    asyncio.run(scenario())


def test_keys_sort_filter_and_leave_out() -> None:
    async def scenario() -> None:
        other = live.endpoint("Other", [live.model("own.tar.gz")], live.instance("i-9"))
        async with top(cities(), other) as screen:
            await screen.sees("europe/rome.tar.gz")
            for order in [*ORDERS][1:]:
                await screen.pilot.press("s")
                await screen.sees(f"by {order}")
            await screen.pilot.press("s", "a")
            await screen.sees("active only")
            assert screen.names() == ["asia/osaka.tar.gz"]
            await screen.pilot.press("a", "slash", *"ROME", "enter")
            await screen.until(lambda: screen.names() == ["europe/rome.tar.gz"], "it is filtered")
            assert screen.app.query_one(ModelGrid).has_focus and screen.app.query_one(Input).display
            await screen.pilot.press("escape", "down", "down")
            await screen.until(lambda: screen.selected() == "europe/rome.tar.gz", "the cursor has moved")
            await screen.pilot.press("home", "e")
            await screen.sees("Other InService (2 of 2)")
            assert screen.names() == ["own.tar.gz"]
            await screen.pilot.press("e")
            await screen.sees("E InService (1 of 2)")

    asyncio.run(scenario())


def test_a_model_is_unloaded_after_a_question_and_only_with_a_yes() -> None:
    async def scenario() -> None:
        async with top(cities()) as screen:
            await screen.sees("asia/osaka.tar.gz")
            await screen.pilot.press("u")
            await screen.sees("Unload asia/osaka.tar.gz from i-1?")
            screen.feed.send(LOST, "gone")  # what comes meanwhile is taken
            await screen.until(lambda: screen.app._problem, "it has come")
            await screen.pilot.press("n")
            await screen.until(lambda: not isinstance(screen.app.screen, Confirmation), "the question is gone")
            await screen.sees("NOT CONNECTED, trying again: gone")
            assert screen.feed.acted == []
            await screen.pilot.press("u", "y")
            await screen.sees("It is unloaded.")
            members = {"endpoint_name": "E", "target_model": "asia/osaka.tar.gz"}
            assert screen.feed.acted == [("unload-model", members)]
            screen.feed.refusal = SetupError("It is in [use].")
            await screen.pilot.press("u", "y")
            await screen.sees("It is in [use].")
            await screen.pilot.press("down", "u")
            await screen.sees("asia/tokyo.tar.gz is not in memory.")
            assert len(screen.feed.acted) == 2

    asyncio.run(scenario())


def test_a_lost_connection_is_said_and_another_run_is_shown_in_its_place() -> None:
    async def scenario() -> None:
        async with top(cities()) as screen:
            screen.feed.send("entries", {"entries": [live.event(1, "of the first run")]})
            await screen.sees("of the first run")
            screen.feed.send(LOST, "Connection refused")
            await screen.sees("NOT CONNECTED, trying again: Connection refused")
            assert "europe/rome.tar.gz" in screen.text()
            screen.feed.send("hello", live.hello("two"))
            screen.feed.send("state", live.state())
            await screen.sees("no endpoint")
            assert "NOT CONNECTED" not in screen.text() and "of the first run" not in screen.text()

    asyncio.run(scenario())


def test_names_are_shown_as_text_and_nothing_is_obeyed() -> None:
    async def scenario() -> None:
        bad = "[red]x[/]\x1b[2J\nz"
        endpoint = live.endpoint(bad, [live.model(bad)], live.instance(bad, live.loaded(bad), next_victim=bad))
        async with top({**endpoint, "failure_reason": bad}, size=(160, 24)) as screen:
            screen.feed.send("entries", {"entries": [live.event(1, bad, bad, endpoint_name=bad, severity="error")]})
            await screen.sees("i-1 [red]x[/]\\x1b[2J\\nz: [red]x[/]\\x1b[2J\\nz")
            assert "\x1b" not in screen.text()
            await screen.pilot.press("u")
            await screen.sees("Unload [red]x[/]\\x1b[2J\\nz from")

    asyncio.run(scenario())


def test_of_ten_thousand_models_only_those_are_drawn_that_are_seen() -> None:
    async def scenario() -> None:
        models = [live.model(f"folder/{number:05}.tar.gz") for number in range(10_000)]
        async with top(live.endpoint("E", models, live.instance("i-1"))) as screen:
            await screen.sees("folder/00000.tar.gz")
            await screen.pilot.press("G")
            await screen.sees("folder/09999.tar.gz")
            assert screen.selected() == "folder/09999.tar.gz"
            assert screen.text().count("folder/") < 24
            await screen.pilot.press("pageup", "up")
            assert "folder/09900" < screen.selected() < "folder/09999"

    asyncio.run(scenario())


def test_of_many_instances_the_fullest_come_first() -> None:
    async def scenario() -> None:
        instances = [
            live.instance(f"i-{number}", *[live.loaded(f"m{m}") for m in range(number)]) for number in range(9)
        ]
        async with top(live.endpoint("E", [live.model("m1")], *instances)) as screen:
            await screen.sees("and 3 instances more")
            assert screen.text().splitlines()[1].startswith("i-8 ")

    asyncio.run(scenario())
