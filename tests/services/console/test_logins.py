"""With an access file, a browser sees the pages as the user who has logged it in, and does what that user may."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from emulator.console.logins import CODE_SECONDS, SESSION_SECONDS
from emulator.gateway.access.access_control import User
from emulator.gateway.access.iam_policy import of_document
from tests.support.asgi_client import Response, respond
from tests.support.console_pages import TOKEN, Pages
from tests.support.signed_requests import signed_scope
from tests.support.virtual_endpoint import VirtualEndpoint


def user(name: str, *actions: str) -> User:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    statements = of_document({"Version": "2012-10-17", "Statement": [statement]}, (), lambda *_: None)
    return User(name, f"KEY{name}", "secret", statements=tuple(statements))


USERS = (
    user("watcher", "localmme:GetEvents"),
    user("operator", "localmme:GetEvents", "localmme:PostActions"),
    user("tenant", "sagemaker:InvokeEndpoint"),
)


class Browser:
    """A browser with its cookies."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self.headers = {"Cookie": "other=[1;2]; b", "Accept": "text/html"}

    def get(self, path: str) -> Response:
        return self._run(self._pages.get(path, self.headers))

    def act(self, name: str, token: str = TOKEN) -> Response:
        return self._run(self._pages.act(name, {}, {**self.headers, "X-Localmme-Token": token}))

    def log_in(self, name: str) -> Response:
        """Open what the command opens, and keep the cookie."""
        answer = self.get(self.path_for(name).removeprefix("/_localmme/"))
        if "set-cookie" in answer.headers:
            self.headers["Cookie"] = f"a=b; {answer.headers['set-cookie'].partition(';')[0]}; c=d"
        return answer

    def path_for(self, name: str) -> str:
        got = self.ask_for_code(name)
        assert got.status == 200, got
        return str(got.json()["path"])

    def ask_for_code(self, name: str) -> Response:
        scope = signed_scope((f"KEY{name}", "secret"), "localmme", "us-east-1", path="/_localmme/login")
        return self._run(respond(self._pages.gateway, scope))

    def _run(self, answer: Coroutine[Any, Any, Response]) -> Response:
        return self._pages.virtual.loop.run_until_complete(answer)


@pytest.fixture
def pages(tmp_path: Path) -> Pages:
    return Pages(VirtualEndpoint(tmp_path), *USERS)


@pytest.fixture
def browser(pages: Pages) -> Browser:
    return Browser(pages)


def test_without_a_login_nothing_is_seen_and_the_refusal_says_what_to_do(browser: Browser) -> None:
    for path in ("", "static/app.js", "entries", "events", "calls/1/body"):
        got = browser.get(path)
        assert (got.status, b"localmme open" in got.body) == (403, True)
    assert browser.act("unload-model").status == 403


def test_a_login_is_a_session_of_its_user(browser: Browser) -> None:
    answer = browser.log_in("operator")
    assert (answer.status, answer.headers["location"]) == (303, "/_localmme/")
    attributes = answer.headers["set-cookie"].split("; ")[1:]
    assert {"HttpOnly", "SameSite=Strict", "Path=/_localmme/"} <= set(attributes)
    page = browser.get("")
    assert (page.status, TOKEN in page.body.decode()) == (200, True)
    assert browser.get("entries").status == 200
    assert browser.act("unload-model").status == 400  # target_model is missing: it was looked at
    assert browser.act("unload-model", token="").status == 403


def test_who_may_only_look_cannot_act(browser: Browser) -> None:
    browser.log_in("watcher")
    assert browser.get("entries").status == 200
    refused = browser.act("unload-model")
    told = b"user/watcher is not authorized to perform: localmme:PostActions"
    assert (refused.status, told in refused.body) == (403, True)


def test_who_may_not_look_gets_no_login(browser: Browser) -> None:
    refused = browser.ask_for_code("tenant")
    assert (refused.status, b"localmme:GetEvents" in refused.body) == (403, True)


def test_a_code_is_good_for_one_browser_and_a_minute(pages: Pages, browser: Browser) -> None:
    path = browser.path_for("watcher").removeprefix("/_localmme/")
    assert pages.virtual.loop.run_until_complete(pages.get(path, method="HEAD")).status == 403  # which uses up nothing
    assert browser.get(path).status == 303
    late = browser.path_for("watcher").removeprefix("/_localmme/")
    pages.virtual.loop.run_until_complete(_pass(CODE_SECONDS))
    for used in (path, late, "login", "login?code=", "login?code=x"):
        got = browser.get(used)
        assert (got.status, "set-cookie" in got.headers) == (403, False)
        assert "localmme open" in got.json()["message"]


def test_a_session_ends(pages: Pages, browser: Browser) -> None:
    browser.log_in("watcher")
    assert browser.get("").status == 200
    pages.virtual.loop.run_until_complete(_pass(SESSION_SECONDS))
    assert browser.get("").status == 403


@pytest.mark.parametrize("cookie", ["localmme-80=x", "localmme-80", "localmme-80=", "other=1", "\xff", ";;="])
def test_another_cookie_is_no_login(browser: Browser, cookie: str) -> None:
    browser.headers["Cookie"] = cookie
    assert browser.get("").status == 403


def test_a_login_is_for_the_pages_alone(pages: Pages, browser: Browser) -> None:
    browser.log_in("operator")
    scope = {**signed_scope(("x", "y"), "localmme", "us-east-1", path="/_localmme/login")}
    scope["headers"] = [*scope["headers"], (b"cookie", browser.headers["Cookie"].encode())]
    assert pages.virtual.loop.run_until_complete(respond(pages.gateway, scope)).status == 403  # a signature counts


def test_codes_and_sessions_are_bounded(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emulator.console.logins.MOST_KEPT", 2)
    paths = [browser.path_for("watcher").removeprefix("/_localmme/") for _ in range(3)]
    assert [browser.get(path).status for path in paths] == [403, 303, 303]


def test_nobody_logs_in_where_everybody_may_do_everything(tmp_path: Path) -> None:
    browser = Browser(Pages(VirtualEndpoint(tmp_path)))
    assert browser.ask_for_code("watcher").status == 400


async def _pass(seconds: float) -> None:
    await asyncio.sleep(seconds)
