"""The emulator's page, its files, the entries, and the actions: what is served, to whom, and what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from emulator.console.actions import ActionRefused, Members
from emulator.console.app import PAGE_POLICY
from emulator.console.static_files import MEDIA_TYPES, static_files
from emulator.events import LogLine
from tests.support.asgi_client import Response, http_scope, respond
from tests.support.console_pages import ALLOWED_PAGE, TOKEN, Pages
from tests.support.virtual_endpoint import VirtualEndpoint


@pytest.fixture
def pages(tmp_path: Path) -> Pages:
    return Pages(VirtualEndpoint(tmp_path))


def answer(pages: Pages, request: Coroutine[Any, Any, Response]) -> Response:
    """One answer of an emulator without an endpoint."""
    got: Response = pages.virtual.loop.run_until_complete(request)
    return got


def test_the_page_is_a_page_with_the_token_in_it(pages: Pages) -> None:
    page = answer(pages, pages.get(""))
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"] == PAGE_POLICY
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert f'<meta name="localmme-token" content="{TOKEN}">' in page.body.decode()
    head = answer(pages, pages.get("", method="HEAD"))
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(page.body)))


def test_nothing_in_the_page_is_inline_or_from_elsewhere(pages: Pages) -> None:
    text = answer(pages, pages.get("")).body.decode().lower()
    assert "<style" not in text
    assert "style=" not in text
    assert "<script>" not in text
    assert "//" not in text.replace("<!doctype", "")


def test_each_file_of_the_page_is_served_as_what_it_is(pages: Pages) -> None:
    assert {"app.js", "style.css", "icon.svg"} <= static_files().keys()
    for name, file in static_files().items():
        got = answer(pages, pages.get(f"static/{name}"))
        assert (got.status, got.body) == (200, file.content)
        assert got.headers["content-type"] == MEDIA_TYPES[Path(name).suffix]
        assert got.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in got.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        "",
        "index.html",
        "../app.py",
        "%2e%2e/app.py",
        "..%2fapp.py",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "no.js",
        "app.js/",
    ],
)
def test_nothing_else_is_a_file_of_the_page(pages: Pages, path: str) -> None:
    got = answer(pages, pages.get(f"static/{path}"))
    assert (got.status, got.headers["content-type"]) == (404, "application/json")


@pytest.mark.parametrize("path", ["page", "entries/", "events/x", "static", "calls", "actions"])
def test_other_paths_are_for_the_other_pages(pages: Pages, path: str) -> None:
    assert answer(pages, pages.get(path)).body.decode() == f"/_localmme/{path}"


def test_an_allowed_page_of_another_origin_may_look_but_does_not_get_the_token(pages: Pages) -> None:
    page = answer(pages, pages.get("", {"Origin": ALLOWED_PAGE}))
    assert not [name for name in page.headers if name.startswith("access-control-")]  # no script there can read it
    entries = answer(pages, pages.get("entries", {"Origin": ALLOWED_PAGE}))
    assert entries.headers["access-control-allow-origin"] == ALLOWED_PAGE
    assert TOKEN not in entries.body.decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Host": "evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Referer": "http://evil.example/page"},
    ],
)
def test_other_pages_and_names_get_nothing_and_do_nothing(pages: Pages, headers: dict[str, str]) -> None:
    for path in ("", "static/app.js", "entries", "events", "calls/1/body"):
        got = answer(pages, pages.get(path, headers))
        assert got.status == 403
        assert TOKEN not in got.body.decode()
    taken: list[Members] = []
    _add(pages, taken)
    assert answer(pages, pages.act("note", {}, {**headers, "X-Localmme-Token": TOKEN})).status == 403
    assert taken == []


# Entries


def test_entries_are_filtered_and_go_on_where_somebody_was(pages: Pages) -> None:
    async def story() -> None:
        await pages.virtual.invoke("a.tar.gz")
        await pages.virtual.invoke("b.tar.gz")
        pages.virtual.events.publish(LogLine("<b>\x1b[1mline"))
        found = (await pages.get("entries")).json()
        assert found["run"] == pages.virtual.entries.run
        assert [each["sequence"] for each in found["entries"]] == list(range(1, found["sequence"] + 1))
        assert found["entries"][-1]["line"] == "<b>\x1b[1mline"  # as data, which is for the reader to show as text
        of_a = (await pages.get("entries?type=event&target_model=a.tar.gz")).json()["entries"]
        assert {(each["type"], each["target_model"]) for each in of_a} == {("event", "a.tar.gz")}
        assert of_a[-1]["kind"] == "model_loaded"
        assert (await pages.get("entries?type=event&target_model=a.tar.gz&limit=1")).json()["entries"] == of_a[-1:]
        assert (await pages.get(f"entries?since={found['sequence']}")).json()["entries"] == []

    pages.live(story)


@pytest.mark.parametrize("query", ["since=x", "since=-1", "since=", "limit=1.5", "type=other", f"since={'9' * 20}"])
def test_a_query_that_is_wrong_is_refused(pages: Pages, query: str) -> None:
    got = answer(pages, pages.get(f"entries?{query}"))
    assert got.status == 400
    assert query.partition("=")[0] in got.json()["message"]


@pytest.mark.parametrize("path", ["calls/1/body", "calls/x/body", "calls/1", "calls/-1/body", f"calls/{'9' * 20}/body"])
def test_a_body_that_is_not_kept_is_not_found(pages: Pages, path: str) -> None:
    assert answer(pages, pages.get(path)).status == 404


# Actions


def _add(pages: Pages, taken: list[Members]) -> None:
    async def note(members: Members) -> dict[str, Any]:
        if "refused" in members:
            raise ActionRefused("It cannot be done now.", 409)
        taken.append(members)
        return {"message": "It is noted.", "more": 1}

    pages.actions.add("note", note)


def test_an_action_is_taken_with_the_token_and_is_an_event(pages: Pages) -> None:
    taken: list[Members] = []
    _add(pages, taken)
    members = {"endpoint_name": "e", "instance_id": "i-1", "target_model": "a.tar.gz"}
    got = answer(pages, pages.act("note", members))
    assert (got.status, got.json()) == (200, {"message": "It is noted.", "more": 1})
    assert taken == [members]
    [entry] = pages.virtual.entries.since(0)
    assert entry["type"] == "event"
    assert entry["text"] == "asked for by an operator: It is noted"
    assert {name: entry[name] for name in members} == members  # type: ignore[literal-required]


@pytest.mark.parametrize("headers", [{}, {"X-Localmme-Token": ""}, {"X-Localmme-Token": "another run's, perhaps ü"}])
def test_without_the_token_of_this_run_nothing_is_done(pages: Pages, headers: dict[str, str]) -> None:
    taken: list[Members] = []
    _add(pages, taken)
    got = answer(pages, pages.act("note", {}, headers))
    assert (got.status, "token of this run" in got.json()["message"]) == (403, True)
    assert (taken, pages.virtual.entries.since(0)) == ([], [])


def test_an_action_is_a_post(pages: Pages) -> None:
    taken: list[Members] = []
    _add(pages, taken)
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        got = answer(pages, pages.get("actions/note", {"X-Localmme-Token": TOKEN}, method))
        assert (got.status, got.headers["allow"]) == (405, "POST")
    assert answer(pages, respond(pages.gateway, http_scope("POST", "/_localmme/entries"))).status == 405
    assert taken == []


@pytest.mark.parametrize(
    "name, body, status, words",
    [
        ("note", b"{", 400, "JSON"),
        ("note", b"[]", 400, "object"),
        ("note", b"\xff", 400, "JSON"),
        ("note", b'{"refused": 1}', 409, "cannot be done now"),
        ("not", b"{}", 404, "did you mean note?"),
        ("", b"{}", 404, "There is no action"),
        ("unload-model", b"{}", 400, "target_model is missing"),
        ("unload-model", b'{"target_model": 1}', 400, "target_model is not a text"),
        ("unload-model", b'{"target_model": "a", "endpoint_name": "e"}', 404, "no endpoint 'e'"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(
    pages: Pages, name: str, body: bytes, status: int, words: str
) -> None:
    _add(pages, [])
    got = answer(pages, pages.act(name, body))
    assert (got.status, words in got.json()["message"]) == (status, True), got
    assert pages.virtual.entries.since(0) == []


def test_an_operator_acts_on_what_is_hosted(pages: Pages) -> None:
    async def story() -> None:
        virtual = pages.virtual
        await virtual.invoke("a.tar.gz")
        for action, members, message in (
            ("unload-model", {"target_model": "a.tar.gz"}, "a.tar.gz is unloaded from i-1 as soon as no call uses it."),
            ("kill-container", {"endpoint_name": "e"}, "The container primary of i-1 is killed, and replaced."),
            (
                "restart-container",
                {"container": "primary"},
                "The container primary of i-1 is stopped, and started again.",
            ),
            ("lose-instance", {"instance_id": "i-1"}, "i-1 is lost, and i-2 takes its place."),
        ):
            got = await pages.act(action, members)
            assert (got.status, got.json()["message"]) == (200, message), got
            assert f"asked for by an operator: {message[:-1]}" in virtual.texts
            virtual.entries.since(0)
            await asyncio.sleep(60)
        assert [each.instance_id for each in virtual.endpoint.variants[0].instances] == ["i-2"]
        for action, members, status, words in (
            ("unload-model", {"target_model": "a.tar.gz"}, 409, "a.tar.gz"),
            ("lose-instance", {"instance_id": "i-1"}, 404, "there is i-2"),
            ("kill-container", {"container": "other"}, 404, "there is primary"),
            ("kill-container", {"variant_name": "B"}, 404, "there is A"),
        ):
            got = await pages.act(action, members)
            assert (got.status, words in got.json()["message"]) == (status, True), got

    pages.live(story)


def test_the_answers_of_the_pages_are_no_pages(pages: Pages) -> None:
    for path in ("entries", "calls/1/body", "static/no", "actions/x"):
        got = answer(pages, pages.get(path))
        assert "sandbox" in got.headers["content-security-policy"]
        assert got.headers["content-type"] == "application/json"
        assert json.loads(got.body)
