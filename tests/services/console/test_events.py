"""The stream of what changes: what readers get, also after a break, and if they are slow, or leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emulator.console import live_updates
from emulator.containers.contract import Answer
from emulator.events import LogLine
from emulator.hosting.definition import ModelDefinition, VariantDefinition
from tests.support.console_pages import Message, Pages, Reader
from tests.support.virtual_containers import VirtualContract
from tests.support.virtual_endpoint import MANY, VirtualEndpoint, resources

VARIANT = VariantDefinition(ModelDefinition([MANY]), resources(models_in_memory=2), name="A")


@pytest.fixture
def pages(tmp_path: Path) -> Pages:
    """Of an instance with room for two models."""
    return Pages(VirtualEndpoint(tmp_path, VARIANT))


async def models(reader: Reader, until: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """All that is said of models, until one of them is so."""
    said: list[dict[str, Any]] = []
    while not any(map(until, said)):
        said += (await reader.next("models")).data["models"]
    return said


def sequences(message: Message) -> list[int]:
    return [entry["sequence"] for entry in message.data["entries"]]


def test_a_reader_gets_the_whole_first_and_then_what_changes(pages: Pages) -> None:
    async def story() -> None:
        await pages.virtual.invoke("a.tar.gz")
        with pages.reader() as reader:
            hello = (await reader.next("hello")).data
            assert hello["run"] == pages.virtual.entries.run
            assert hello.keys() == {"run", "url", "region", "version", "sequence"}
            state = (await reader.next("state")).data
            assert state == (await pages.state())
            first = await reader.next("entries")
            assert sequences(first) == list(range(1, pages.virtual.entries.sequence + 1))
            assert first.id == f"{hello['run']}.{pages.virtual.entries.sequence}"
            await reader.next("models")
            pages.virtual.events.publish(LogLine("more"))
            more = await reader.next("entries")
            assert [entry["line"] for entry in more.data["entries"]] == ["more"]
            assert more.data["left_out"] == 0
            assert dict(reader.start["headers"])[b"content-type"].startswith(b"text/event-stream")

    pages.live(story)


def test_a_model_is_followed_from_place_to_place(pages: Pages) -> None:
    async def story() -> None:
        with pages.reader() as reader:
            await reader.next("state")
            for name in ("a.tar.gz", "b.tar.gz", "c.tar.gz"):
                await pages.virtual.invoke(name)
            await asyncio.sleep(5)
            said = [each for message in reader.unread() if message.kind == "models" for each in message.data["models"]]
        places = [each["locations"].get("i-1") for each in said if each["target_model"] == "a.tar.gz"]
        order = ["downloading", "loading", "in_memory", "unloading", "on_disk"]
        assert [place for place in dict.fromkeys(places) if place != "pinned"] == order
        last = {each["target_model"]: each for each in said}
        assert [last[name]["locations"]["i-1"] for name in sorted(last)] == ["on_disk", "in_memory", "in_memory"]
        known = {model["target_model"]: model for model in (await pages.state())["endpoints"][0]["models"]}
        assert {name: {**each, "locations": 0} for name, each in last.items()} == {
            name: {**each, "locations": 0} for name, each in known.items()
        }

    pages.live(story)


class Failing(VirtualContract):
    async def load(self, name: str, target_model: str, url: str, deadline: float) -> Answer:
        return Answer(500, [], b"cannot")


def test_a_load_that_failed_is_seen_also_by_who_comes_later(tmp_path: Path) -> None:
    pages = Pages(VirtualEndpoint(tmp_path, VARIANT, contract=Failing))

    async def story() -> None:
        with pytest.raises(Exception, match="cannot"):
            await pages.virtual.invoke("a.tar.gz")
        with pages.reader() as reader:
            [model] = await models(reader, bool)
            assert model["locations"] == {"i-1": "failed"}

    pages.live(story)


def test_figures_of_instances_come_with_the_models(pages: Pages) -> None:
    async def story() -> None:
        with pages.reader() as reader:
            await reader.next("models")
            await pages.virtual.invoke("a.tar.gz")
            await asyncio.sleep(5)
            [instance] = [message for message in reader.unread() if message.kind == "models"][-1].data["instances"]
        [variant] = (await pages.state())["endpoints"][0]["variants"]
        [whole] = variant["instances"]
        assert instance["variant_name"] == "A"
        assert instance["memory"].items() <= dict(whole["memory"]).items()
        assert instance["volume"].items() <= dict(whole["volume"]).items()
        assert instance["memory"]["next_victim"] == "a.tar.gz"

    pages.live(story)


def test_nothing_is_said_while_nothing_changes(pages: Pages) -> None:
    async def story() -> None:
        await pages.virtual.invoke("a.tar.gz")
        with pages.reader() as reader:
            await asyncio.sleep(5)
            reader.unread()
            await asyncio.sleep(600)
            assert reader.unread() == []  # but lines that keep the connection alive
            assert sum(reader.sizes) > 0

    pages.live(story)


def test_the_state_comes_again_when_instances_come_or_go(pages: Pages) -> None:
    async def story() -> None:
        with pages.reader() as reader:
            await reader.next("state")
            await pages.act("lose-instance")
            state = (await reader.next("state")).data
            [variant] = state["endpoints"][0]["variants"]
            assert [instance["instance_id"] for instance in variant["instances"]] == ["i-2"]
            pages.virtual.endpoint.begin_update()
            assert (await reader.next("state")).data["endpoints"][0]["status"] == "Updating"
            pages.endpoints.clear()
            assert (await reader.next("state")).data["endpoints"] == []

    pages.live(story)


def test_instances_of_several_variants_are_named_with_their_variant(tmp_path: Path) -> None:
    pages = Pages(VirtualEndpoint(tmp_path, VARIANT, replace(VARIANT, name="B")))

    async def story() -> None:
        with pages.reader() as reader:
            await reader.next("state")
            await pages.virtual.invoke("a.tar.gz", target_variant="B")
            said = await models(reader, lambda model: model["locations"].get("B/i-1") == "in_memory")
            assert {key for model in said for key in model["locations"]} == {"B/i-1"}

    pages.live(story)


# After a break


def test_a_reader_goes_on_where_it_was(pages: Pages) -> None:
    async def story() -> None:
        await pages.virtual.invoke("a.tar.gz")
        with pages.reader() as reader:
            had = await reader.next("entries")
        await reader.served
        await pages.virtual.invoke("b.tar.gz")
        expected = list(range(sequences(had)[-1] + 1, pages.virtual.entries.sequence + 1))
        for header in ({"Last_Event_ID": had.id}, {}):
            path = "events" if header else f"events?since={sequences(had)[-1]}"
            with pages.reader(path, **header) as again:
                await again.next("state")
                assert sequences(await again.next("entries")) == expected

    pages.live(story)


@pytest.mark.parametrize("last", ["another-run.5", "5", "", "{run}.x", "{run}.-1", "{run}." + "9" * 20])
def test_who_comes_from_another_run_gets_everything(pages: Pages, last: str) -> None:
    async def story() -> None:
        await pages.virtual.invoke("a.tar.gz")
        with pages.reader(Last_Event_ID=last.format(run=pages.virtual.entries.run)) as reader:
            assert sequences(await reader.next("entries"))[0] == 1

    pages.live(story)


def test_who_was_away_long_gets_the_latest_in_parts(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_updates, "MOST_AWAY", 25)
    monkeypatch.setattr(live_updates, "MOST_AT_ONCE", 10)

    async def story() -> None:
        for number in range(100):
            pages.virtual.events.publish(LogLine(str(number)))
        with pages.reader() as reader:
            parts = [await reader.next("entries") for _ in range(3)]
            assert [len(part.data["entries"]) for part in parts] == [10, 10, 5]
            assert [entry["line"] for part in parts for entry in part.data["entries"]] == list(map(str, range(75, 100)))
            assert parts[-1].id.endswith(f".{pages.virtual.entries.sequence}")

    pages.live(story)


# Many calls, slow readers, none


def test_of_very_many_calls_the_latest_are_sent_and_the_others_counted(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_updates, "MOST_CALLS", 3)

    async def story() -> None:
        with pages.reader() as reader:
            await reader.next("models")
            pages.call("a.tar.gz", status=500)
            pages.call("a.tar.gz", times=10)
            message = await reader.next("entries")
            assert [entry["status"] for entry in message.data["entries"]] == [500, 200, 200, 200]
            assert message.data["left_out"] == 7
            assert sequences(message)[-1] == pages.virtual.entries.sequence
            # Of which nothing is known but the calls: it is in no place.
            assert (await reader.next("models")).data["removed"] == ["a.tar.gz"]

    pages.live(story)


def test_a_reader_that_is_slow_gets_the_whole_anew_and_holds_up_nobody(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_updates, "MOST_UNREAD_BYTES", 5_000)

    async def story() -> None:
        with pages.reader() as slow, pages.reader() as other:
            await slow.next("models")
            await other.next("models")
            slow.stop_reading()
            lines: list[str] = []
            for number in range(50):
                pages.virtual.events.publish(LogLine(f"{number} " + "x" * 1_000))
                message = await other.next("entries")
                lines += [entry["line"].split()[0] for entry in message.data["entries"]]
            assert lines == list(map(str, range(50)))
            slow.read_on()
            await slow.next("state")
            got: list[Any] = []
            while not got or not got[-1]["line"].startswith("49 "):
                got += (await slow.next("entries")).data["entries"]
            numbers = [entry["sequence"] for entry in got]
            assert numbers == sorted(set(numbers))

    pages.live(story)


def test_a_reader_that_reads_nothing_is_dropped(pages: Pages) -> None:
    async def story() -> None:
        with pages.reader() as reader:
            await reader.next("models")
            reader.stop_reading()
            pages.virtual.events.publish(LogLine("x"))
            await reader.served
            assert not reader.has_ended  # there is no end that it would read

    pages.live(story)


def test_a_stream_ends_after_an_hour_and_is_gone_on_with(pages: Pages) -> None:
    async def story() -> None:
        with pages.reader() as reader:
            await reader.served
            assert reader.has_ended
            last = reader.unread()[-1].id
        pages.virtual.events.publish(LogLine("meanwhile"))
        with pages.reader(Last_Event_ID=last) as again:
            assert [entry["line"] for entry in (await again.next("entries")).data["entries"]] == ["meanwhile"]

    pages.live(story)


def test_readers_that_have_left_cost_nothing(pages: Pages) -> None:
    async def story() -> None:
        before = asyncio.all_tasks()
        with pages.reader() as one, pages.reader() as two:
            await one.next("models")
            await two.next("models")
        await asyncio.gather(one.served, two.served)
        await asyncio.sleep(0)
        assert {task for task in asyncio.all_tasks() - before if not task.done()} == set()

    pages.live(story)


def test_the_end_of_the_emulator_is_the_end_of_the_stream(pages: Pages) -> None:
    async def story() -> None:
        with pages.reader() as reader, pages.reader() as stopped:
            await reader.next("models")
            await stopped.next("models")
            stopped.stop_reading()
            await pages.gateway.end()
            await asyncio.gather(reader.served, stopped.served)
            assert (reader.has_ended, stopped.has_ended) == (True, False)
            assert (await pages.get("events")).status == 503

    pages.live(story)
