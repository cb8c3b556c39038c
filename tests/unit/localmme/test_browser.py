"""``localmme open``: where a browser is opened, where an address is printed, and with which address."""

from __future__ import annotations

import io
import urllib.error
from email.message import Message
from typing import Any

import pytest

from emulator.errors import SetupError
from localmme import browser, pages

URL = "http://127.0.0.1:8080"
PAGE, LOGIN = f"{URL}/_localmme/", "/_localmme/login?code=c"


class Opened(list[str]):
    """The addresses that were opened in a browser, which is there or not."""

    works = True

    def open(self, address: str) -> bool:
        if self.works:
            self.append(address)
        return self.works


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    """An emulator where nobody has to log in, and a machine with a display."""
    opened = Opened()
    for variable in ("BROWSER", "SSH_CONNECTION", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("webbrowser.open", opened.open)
    monkeypatch.setattr(browser, "health", lambda _: {})
    answer_login(monkeypatch, 400)
    return opened


def answer_login(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    def page_login(url: str) -> str:
        if status == 200:
            return LOGIN
        raise urllib.error.HTTPError(url, status, "no", Message(), io.BytesIO())

    monkeypatch.setattr(browser, "page_login", page_login)


@pytest.mark.parametrize("url", [URL, URL + "/"])
def test_the_page_is_opened_and_its_address_printed(opened: Opened, capsys: Any, url: str) -> None:
    browser.show(url)
    assert (opened, capsys.readouterr().out) == ([PAGE], PAGE + "\n")


@pytest.mark.parametrize(
    "variables, is_opened",
    [
        ({"SSH_CONNECTION": "1.2.3.4 1 2.3.4.5 22"}, False),
        ({"DISPLAY": ""}, False),
        ({"DISPLAY": "", "WAYLAND_DISPLAY": "w"}, True),
        ({"DISPLAY": "", "BROWSER": "an-editor"}, True),
        ({"SSH_CONNECTION": "1.2.3.4 1 2.3.4.5 22", "BROWSER": "an-editor"}, True),
    ],
)
def test_no_browser_is_opened_where_nobody_would_see_it(
    opened: Opened, capsys: Any, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], is_opened: bool
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    browser.show(URL)
    assert (bool(opened), capsys.readouterr().out) == (is_opened, PAGE + "\n")


def test_a_browser_is_logged_in_and_the_login_is_printed_only_where_it_is_needed(
    opened: Opened, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_login(monkeypatch, 200)
    browser.show(URL)
    assert (opened, capsys.readouterr().out) == ([URL + LOGIN], PAGE + "\n")
    opened.works = False
    browser.show(URL)
    assert capsys.readouterr().out == URL + LOGIN + "\n"


def test_what_is_no_emulator_is_not_opened(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    answer_login(monkeypatch, 404)
    with pytest.raises(SetupError, match="has no login"):
        browser.show(URL)
    monkeypatch.setattr(browser, "page_login", pages.page_login)
    monkeypatch.setattr(pages, "opened", _refused)
    with pytest.raises(SetupError, match="does not answer"):
        browser.show(URL)
    assert opened == []


def _refused(*_: Any) -> Any:
    raise ConnectionRefusedError("nobody is there")
