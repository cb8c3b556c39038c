"""The emulator's page in a real browser: each view under real traffic, by mouse and by keyboard, read by axe-core."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from botocore.exceptions import ClientError

from emulator.what_if import FACTORS, FEWEST_CALLS
from localmme import read_trace
from tests.support.emulator_process import Emulator
from tests.support.real_clients import axe, browser
from tests.support.real_servers.making import NotProvisioned
from tests.support.shown_emulator import BROKEN, HOSTILE, MODELS, QUOTED, call_all, shown_emulator
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Dialog, Locator, Page

pytestmark = pytest.mark.real

VIEWS = ["now", "models", "calls", "try", "logs", "faults"]
PHONE = {"width": 380, "height": 800}
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "placeholder", "AWS_SECRET_ACCESS_KEY": "placeholder", "AWS_MAX_ATTEMPTS": "1"}


@pytest.fixture(scope="module")
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def chromium(stack: ExitStack) -> Browser:
    try:
        return stack.enter_context(browser.launched(names={}))
    except NotProvisioned as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def emulator(stack: ExitStack, tmp_path_factory: pytest.TempPathFactory) -> Emulator:
    """One with two instances, whose models have been called."""
    emulator = shown_emulator(tmp_path_factory.mktemp("shown"), "--instances", "2")
    stack.callback(emulator.stop)
    call_all(emulator)
    return emulator


class Seen:
    """A page in the browser, and what it has done that it must not do."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.wrong: list[str] = []
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("dialog", self._asked)
        page.on("console", self._wrote)
        page.on("request", lambda request: self._requested(request.url))

    def _asked(self, dialog: Dialog) -> None:
        self.wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _wrote(self, message: ConsoleMessage) -> None:
        if "Security Policy" in message.text:
            self.wrong.append(message.text)

    def _requested(self, url: str) -> None:
        if not url.startswith((self.url, "about:")):
            self.wrong.append(f"request: {url}")

    def go(self, view: str = "now") -> Page:
        self.page.goto(f"{self.url}/_localmme/#{view}")
        self.page.get_by_text("live", exact=True).wait_for()
        return self.page


@pytest.fixture(scope="module")
def tab(chromium: Browser, emulator: Emulator) -> Seen:
    """One for all tests: a browser starts a process for each, and compiles the page anew."""
    return Seen(chromium.new_page(), emulator.url)


@pytest.fixture
def seen(tab: Seen) -> Iterator[Seen]:
    """A page as if it were new, which asks nobody but the emulator for anything, and has no error."""
    tab.page.set_viewport_size({"width": 1300, "height": 900})
    tab.page.goto("about:blank")
    tab.wrong.clear()
    yield tab
    assert tab.wrong == []
    assert tab.page.locator("body :is(img, script, iframe, b)").count() == 0  # nobody's text has become an element


def rows(page: Page, table: str) -> list[str]:
    """The rows in sight of one of the page's tables, as text."""
    found: list[str] = (
        page.get_by_role("grid", name=table).locator("tbody tr:not(.spacer):not([hidden])").all_inner_texts()
    )
    return found


def row(page: Page, table: str, text: str) -> Locator:
    return page.get_by_role("grid", name=table).locator("tbody tr").filter(has_text=text).first


def entries(emulator: Emulator, query: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{emulator.url}/_localmme/entries?{query}") as answer:
        return json.load(answer)["entries"]


def in_memory(emulator: Emulator) -> set[tuple[str, str]]:
    """Models with the instances that have them in memory, as the state says."""
    return {
        (model["target_model"], instance["instance_id"])
        for instance in emulator.instances()
        for model in instance["memory"]["models"]
    }


def shown_in_memory(page: Page) -> set[tuple[str, str]]:
    """The same, as the grid's cells say."""
    labels = (
        page.get_by_role("grid", name="Models by instance")
        .locator("td[aria-label]")
        .evaluate_all(
            "cells => cells.filter(cell => cell.checkVisibility()).map(cell => cell.getAttribute('aria-label'))"
        )
    )
    found = set()
    for label in labels:
        where, place = label.rsplit(": ", 1)
        if place.split(", ")[0] in ("in memory", "pinned by calls"):
            target_model, instance = where.rsplit(" on ", 1)
            found.add((target_model, instance))
    return found


# What is where


def test_the_grid_shows_where_each_model_is_and_changes_with_it(seen: Seen, emulator: Emulator) -> None:
    page = seen.go()
    eventually(lambda: in_memory(emulator) and shown_in_memory(page) == in_memory(emulator))
    assert len(rows(page, "Models by instance")) == len(MODELS) + 1
    absent = next(name for name in MODELS if name not in emulator.in_memory())
    emulator.invoke(absent, b"{}")
    eventually(lambda: absent in {name for name, _ in shown_in_memory(page)})
    eventually(lambda: shown_in_memory(page) == in_memory(emulator))


def test_the_next_victim_is_marked(seen: Seen, emulator: Emulator) -> None:
    page = seen.go()
    victims = {instance["memory"]["next_victim"] for instance in emulator.instances()} - {""}
    assert victims
    for victim in victims:
        page.locator(f"td.next[aria-label^={json.dumps(victim)}]").first.wait_for()


def test_models_are_found_sorted_grouped_and_reduced_to_the_active_ones(seen: Seen, emulator: Emulator) -> None:
    page = seen.go()
    table = "Models by instance"
    eventually(lambda: len(rows(page, table)) == len(MODELS) + 1)
    page.get_by_label("Search").fill("EUROPE")
    eventually(lambda: [text.split("\t")[0] for text in rows(page, table)] == sorted([BROKEN, *MODELS[2:4]]))
    page.get_by_role("columnheader", name="Model").get_by_role("button").click()
    eventually(
        lambda: [text.split("\t")[0] for text in rows(page, table)] == sorted([BROKEN, *MODELS[2:4]], reverse=True)
    )
    page.get_by_label("Group by folder").check()
    eventually(lambda: rows(page, table)[0].startswith("▾ europe/ (3)"))
    row(page, table, "europe/ (3)").click()
    eventually(lambda: len(rows(page, table)) == 1)
    page.get_by_label("Group by folder").uncheck()
    page.get_by_label("Search").fill("")
    page.get_by_label("Only active").check()
    eventually(lambda: len(rows(page, table)) == len(emulator.in_memory()))


def test_memory_and_disk_are_shown_against_what_the_instance_has(seen: Seen, emulator: Emulator) -> None:
    page = seen.go()
    for name, figures, whole in (("Memory", "memory", "budget_bytes"), ("Disk", "volume", "capacity_bytes")):
        for instance in emulator.instances():
            meter = page.get_by_role("meter", name=f"{name} of {instance['instance_id']}")
            gibibytes = instance[figures][whole] / 2**30
            shown = f"of {gibibytes:.1f} GiB" if gibibytes < 100 else f"of {gibibytes:.0f} GiB"
            assert shown in eventually(lambda meter=meter: meter.get_attribute("aria-valuetext"))  # type: ignore[misc]
    page.get_by_text("the next load is expected to take").first.wait_for()


# What happened, and why


def test_events_are_told_as_sentences_with_their_cause(seen: Seen, emulator: Emulator) -> None:
    page = seen.go()
    events = entries(emulator, "type=event")
    evicted = next(event for event in events if event["kind"] == "model_unloaded")
    page.get_by_label("Model or text").fill(evicted["text"])
    row(page, "Events, the latest first", f"{evicted['target_model']}: {evicted['text']}").wait_for()
    page.get_by_label("Model or text").fill("")
    page.get_by_label("Severity").select_option("error")
    row(page, "Events, the latest first", BROKEN).wait_for()
    errors = [event for event in events if event["severity"] == "error"]
    eventually(lambda: len(rows(page, "Events, the latest first")) == len(errors))


def test_a_model_has_its_figures_its_places_and_its_story(seen: Seen, emulator: Emulator) -> None:
    page = seen.go("models")
    text = eventually(
        lambda: next((text for text in rows(page, "Figures of the models") if text.startswith(MODELS[0])), "")
    )
    state = emulator.model(MODELS[0])
    cells = text.split("\t")
    assert int(cells[1]) == state["invocations"]
    assert cells[2] == f"{round(100 * state['cache_hits'] / state['invocations'])} %"
    assert "no input" in cells[-1]  # the container's words
    row(page, "Figures of the models", MODELS[0]).click()
    sheet = page.get_by_role("dialog")
    story = [event["text"] for event in entries(emulator, "type=event") if event["target_model"] == MODELS[0]]
    told = eventually(lambda: sheet.locator(".story li").all_inner_texts())
    assert len(told) == len(story)
    assert all(text in line for text, line in zip(reversed(story), told, strict=True))


# Calls


def test_calls_are_filtered_and_each_says_where_its_time_was_spent(seen: Seen, emulator: Emulator) -> None:
    page = seen.go("calls")
    calls = entries(emulator, "type=call")
    page.get_by_label("Status").select_option("bad")
    bad = [call for call in calls if call["error_code"]]
    eventually(lambda: len(rows(page, "Calls, the latest first")) == len(bad))
    page.get_by_label("Status").select_option("")
    page.get_by_label("Model was").select_option("cold")
    page.get_by_label("Model or error").fill(MODELS[2])
    cold = [call for call in calls if call["cold"] and call["target_model"] == MODELS[2]][-1]
    row(page, "Calls, the latest first", MODELS[2]).click()
    steps = page.get_by_role("dialog").locator(".time-line tbody th").all_inner_texts()
    assert [step for step in steps if step != "localmme"] == [step["name"] for step in cold["steps"]]
    assert {"load", "container"} <= set(steps)


def test_a_failed_call_shows_the_error_and_what_the_container_wrote(seen: Seen) -> None:
    page = seen.go("calls")
    page.get_by_label("Model or error").fill("is no input")
    row(page, "Calls, the latest first", MODELS[0]).click()
    sheet = page.get_by_role("dialog")
    assert "<script>alert(3)</script> is no input" in sheet.locator(".error-text").inner_text()
    lines = sheet.get_by_label("Lines of the container's log").inner_text()
    assert "it breaks" in lines
    assert "title" not in lines  # what a terminal would take for its title


@pytest.mark.parametrize(
    ("target_model", "body", "names"),
    [
        (HOSTILE, b'it\'s "quoted" $(id) `id` \\n %s\n\xc3\xa9', ["boto3", "curl"]),
        (QUOTED, b'it\'s "quoted" $(id) `id` \\n %s\n\xc3\xa9', ["AWS CLI"]),
        (QUOTED, bytes(range(256)), ["boto3", "curl", "AWS CLI"]),
        (MODELS[2], b"@name", ["curl"]),
        (MODELS[2], b"", ["boto3", "curl"]),
    ],
)
def test_a_copied_call_is_the_same_call(
    seen: Seen, emulator: Emulator, target_model: str, body: bytes, names: list[str]
) -> None:
    request = {"ContentType": "text/x-it's", "Accept": "*/*", "CustomAttributes": "a='$HOME'"}
    emulator.invoke(target_model, body, **request)
    made = entries(emulator, "type=call")[-1]
    page = seen.go("calls")
    page.get_by_label("Model or error").fill(target_model)
    row(page, "Calls, the latest first", target_model).click()
    sheet = page.get_by_role("dialog")
    sheet.locator("[data-copy]").first.wait_for(state="attached")
    texts = {each.get_attribute("data-copy"): each.text_content() or "" for each in sheet.locator("[data-copy]").all()}
    for name in names:
        command = [sys.executable, "-"] if name == "boto3" else ["sh"]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**os.environ, **CREDENTIALS, "PATH": path}
        ended = subprocess.run(command, input=texts[name].encode(), capture_output=True, env=environment, timeout=120)
        assert ended.returncode == 0, (name, texts[name], ended.stderr.decode())
        again = eventually(lambda: entries(emulator, "type=call")[-1])
        same = ("target_model", "status", "request_bytes", "request_headers")
        assert {key: again[key] for key in same} == {key: made[key] for key in same}, name
        assert again["sequence"] > made["sequence"]
        with urllib.request.urlopen(f"{emulator.url}/_localmme/calls/{again['sequence']}/body") as answer:
            assert answer.read() == body, name


# Try it


def test_a_call_is_tried_and_its_answer_shown_in_several_ways(seen: Seen) -> None:
    page = seen.go("try")
    page.get_by_label("Model", exact=True).fill(HOSTILE)
    page.get_by_label("Body").fill(
        '{"predictions": [{"city": "oslo", "price": 2}, {"city": "<b>faro</b>", "price": 3}]}'
    )
    page.get_by_role("button", name="Send").click()
    answer = page.get_by_role("region", name="Answer", exact=True)
    assert '"city": "<b>faro</b>"' in answer.locator("pre").inner_text()
    page.get_by_label("Show as").select_option(label="Table")
    assert answer.locator("tr").all_inner_texts() == ["city\tprice", "oslo\t2", "<b>faro</b>\t3"]
    page.get_by_label("Show as").select_option(label="Hex")
    assert answer.locator("pre").inner_text().startswith("00000000  7b 22 70")
    page.get_by_label("Accept").fill("text/csv")
    page.get_by_role("button", name="Send").click()
    eventually(lambda: answer.locator("tr").all_inner_texts() == ["city\tprice", "oslo\t1,5"])
    page.get_by_label("Accept").fill("image/png")
    page.get_by_role("button", name="Send").click()
    answer.get_by_role("img", name="An image of 2 by 2 pixels").wait_for()
    page.get_by_label("Body").fill("boom")
    page.get_by_role("button", name="Send").click()
    answer.get_by_text("is no input").wait_for()
    answer.get_by_role("button", name="Where its time was spent").click()
    page.get_by_role("dialog").get_by_text("424 ModelError").wait_for()


def test_the_body_is_a_file_the_last_one_or_a_kept_sample(seen: Seen, emulator: Emulator, tmp_path: Path) -> None:
    page = seen.go("try")
    page.get_by_label("Model", exact=True).fill(QUOTED)
    body = page.get_by_label("Body")
    body.fill("sample of é")
    page.get_by_role("button", name="Keep as its sample").click()
    (tmp_path / "some.bin").write_bytes(b"\x00\xff")
    page.get_by_label("or a file").set_input_files(tmp_path / "some.bin")
    page.get_by_text("the file some.bin, 2 B").wait_for()
    page.get_by_role("button", name="Send").click()
    eventually(lambda: entries(emulator, "type=call")[-1]["request_bytes"] == 2)
    page.get_by_role("button", name="The kept sample").click()
    assert body.input_value() == "sample of é"
    emulator.invoke(QUOTED, b"the last one", ContentType="text/plain")

    def last_body() -> str:
        page.get_by_role("button", name="The last body").click()
        return body.input_value()

    eventually(lambda: last_body() == "the last one")


# Logs, and what an operator does


def test_logs_are_followed_as_plain_text(seen: Seen, emulator: Emulator) -> None:
    page = seen.go("logs")
    line = "loaded <img src=x onerror=alert(2)>"
    table = "Lines of the containers' logs"
    row(page, table, line).wait_for()
    page.get_by_label("With the text").fill("it breaks")
    eventually(lambda: rows(page, table) and all(text.endswith("it breaks") for text in rows(page, table)))
    before = len(rows(page, table))
    with pytest.raises(ClientError, match="no input"):
        emulator.invoke(MODELS[1], b"boom")
    eventually(lambda: len(rows(page, table)) == before + 1)


def test_a_model_is_unloaded_and_deleted_by_buttons(seen: Seen, emulator: Emulator) -> None:
    page = seen.go()
    emulator.invoke(MODELS[3], b"{}")
    instance = next(where for name, where in in_memory(emulator) if name == MODELS[3])
    row(page, "Models by instance", MODELS[3]).click()
    page.get_by_role("button", name=f"Unload from {instance}").click()
    eventually(lambda: (MODELS[3], instance) not in in_memory(emulator))
    page.get_by_role("button", name=f"Delete from the disk of {instance}").click()
    page.get_by_role("button", name="Cancel").click()
    assert MODELS[3] in emulator.on_disk()
    page.get_by_role("button", name=f"Delete from the disk of {instance}").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()

    def on_disk() -> set[str]:
        volume = next(each for each in emulator.instances() if each["instance_id"] == instance)["volume"]
        return {stored["target_model"] for stored in volume["models"]}

    eventually(lambda: MODELS[3] not in on_disk())
    page.get_by_role("dialog").get_by_text("in S3 only").first.wait_for()


def test_faults_are_injected_and_cleared(seen: Seen, emulator: Emulator) -> None:
    page = seen.go("faults")
    page.get_by_label("Fault", exact=True).select_option("ModelError")
    page.get_by_label("For the model").fill("asia/*")
    page.get_by_label("For so many calls").fill("2")
    page.get_by_role("button", name="Inject").click()
    waiting = page.locator(".faults li")
    waiting.get_by_text("ModelError: 2 calls of asia/*").wait_for()
    with pytest.raises(ClientError, match="ModelError"):
        emulator.invoke(MODELS[1], b"{}")
    waiting.get_by_text("ModelError: the next call of asia/*").wait_for()
    waiting.get_by_role("button", name="Clear").click()
    eventually(lambda: waiting.count() == 0)
    emulator.invoke(MODELS[1], b"{}")


# Whoever reads it, and with what


def test_it_is_used_with_the_keyboard_alone(seen: Seen) -> None:
    page = seen.go()
    row(page, "Models by instance", MODELS[0]).wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the view"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    grid = page.get_by_role("grid", name="Models by instance")
    for _ in range(30):
        page.keyboard.press("Tab")
        if grid.evaluate("grid => document.activeElement === grid"):
            break
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    active = page.locator(f"#{grid.get_attribute('aria-activedescendant')}")
    assert (active.get_attribute("aria-label") or "").startswith(f"{sorted([*MODELS, BROKEN])[1]} on ")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_role("heading", name=sorted([*MODELS, BROKEN])[1], exact=True).wait_for()
    page.keyboard.press("Escape")
    eventually(lambda: not page.get_by_role("dialog").is_visible())
    assert grid.evaluate("grid => document.activeElement === grid")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_any_view(chromium: Browser, emulator: Emulator, scheme: Any) -> None:
    page = chromium.new_page(color_scheme=scheme)
    seen = Seen(page, emulator.url)
    serious = ("serious", "critical")
    try:
        for view in VIEWS:
            seen.go(view)
            page.locator("main h2:visible").first.wait_for()
            found = axe.found_in(page, *serious)
            assert found == [], (view, found)
        seen.go("calls").get_by_label("Model or error").fill(MODELS[0])
        row(page, "Calls, the latest first", MODELS[0]).click()
        assert axe.found_in(page, *serious) == []
        page.get_by_role("button", name="About the model").click()
        assert axe.found_in(page, *serious) == []
        page.keyboard.press("Escape")
        seen.go("now")
        page.locator(".instance button").first.click()
        assert axe.found_in(page, *serious) == []
    finally:
        page.close()
    assert seen.wrong == []


def test_it_fits_the_width_of_a_phone(seen: Seen) -> None:
    seen.page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    for view in VIEWS:
        page = seen.go(view)
        page.locator("main h2:visible").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], view
    page = seen.go("calls")
    page.get_by_label("Model or error").fill(MODELS[0])
    row(page, "Calls, the latest first", MODELS[0]).click()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_a_hidden_page_rests_and_is_whole_when_it_is_looked_at_again(seen: Seen, emulator: Emulator) -> None:
    page = seen.go("calls")
    hide = """hidden => {
      Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.get_by_label("Model or error").fill(MODELS[1])
    page.evaluate(hide, True)
    emulator.invoke(MODELS[1], b"meanwhile", ContentType="text/plain")
    page.evaluate(hide, False)

    def made() -> int:
        return sum(call["target_model"] == MODELS[1] for call in entries(emulator, "type=call"))

    eventually(lambda: page.get_by_text(f"{made()} calls", exact=True).is_visible())


def test_it_is_whole_again_after_the_emulator_was_killed_and_started_again(chromium: Browser, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    first = shown_emulator(tmp_path / "one")
    page = chromium.new_page()
    seen = Seen(page, first.url)
    try:
        seen.go()
        first.invoke(MODELS[0])
        eventually(lambda: MODELS[0] in {name for name, _ in shown_in_memory(page)})
        for process in first.processes():
            with contextlib.suppress(psutil.NoSuchProcess):  # it has ended with the one before
                process.kill()
        first.wait()
        page.get_by_text("no connection").wait_for()
        second = shown_emulator(tmp_path / "two", "--port", first.url.rsplit(":", 1)[1])
        try:
            second.invoke(MODELS[1])
            page.get_by_text("live", exact=True).wait_for()
            eventually(lambda: {name for name, _ in shown_in_memory(page)} == {MODELS[1]})
            story = entries(second, "type=event")
            eventually(lambda: len(rows(page, "Events, the latest first")) == len(story))
            row(page, "Models by instance", MODELS[1]).click()
            page.get_by_role("button", name="Unload from").click()  # with the token of the new run
            eventually(lambda: not second.in_memory())
            page.keyboard.press("Escape")
            lost = second.instance()["instance_id"]
            page.get_by_role("button", name=lost, exact=True).click()
            page.get_by_role("button", name="Lose the instance").click()
            page.get_by_role("button", name="Lose it").click()
            page.get_by_role("dialog").get_by_text("The instance is gone").wait_for()
            page.keyboard.press("Escape")
            replacement = eventually(lambda: second.instance()["instance_id"])
            page.get_by_role("meter", name=f"Memory of {replacement}").wait_for()
        finally:
            second.stop()
    finally:
        page.close()
        first.stop()


def test_a_recording_is_begun_and_ended_by_a_button(seen: Seen, emulator: Emulator) -> None:
    page = seen.go("calls")
    page.get_by_role("button", name="Record", exact=True).click()
    page.get_by_role("button", name="Stop recording").wait_for()
    emulator.invoke(MODELS[0])
    page.reload()
    page.get_by_role("button", name="Stop recording").click()
    page.get_by_role("button", name="Record", exact=True).wait_for()
    [file] = (emulator.state_directory / "recordings").iterdir()
    assert [line["target_model"] for line in read_trace(file) if line["type"] == "call"] == [MODELS[0]]


def test_the_what_if_line_is_drawn_when_there_are_enough_calls(seen: Seen, emulator: Emulator) -> None:
    for _ in range(FEWEST_CALLS):
        emulator.invoke(MODELS[0])
    page = seen.go("models")
    page.get_by_role("img", name="memory: ").wait_for()
    assert len(page.locator(".what-if li").all_inner_texts()) == len(FACTORS)
