"""The emulator's page over a real connection: opened in a browser, through a kill -9 and a new start, until the end."""

from __future__ import annotations

import http.client
import json
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import localmme
from tests.support.emulator_process import Emulator
from tests.support.scripted_models import SCRIPTED_CONTAINER, scripted_model
from tests.support.waiting import eventually


class Stream:
    """A reader of the emulator's events."""

    def __init__(self, url: str, last_id: str = "") -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
        self._connection.request("GET", "/_localmme/events", headers={"Last-Event-ID": last_id})
        self._response = self._connection.getresponse()
        assert self._response.status == 200
        self.last_id = last_id
        self._messages = self._parsed()

    def _parsed(self) -> Iterator[tuple[str, Any]]:
        kind, rest = "", b""
        while chunk := self._response.read1():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                name, _, value = line.decode().partition(": ")
                if name == "event":
                    kind = value
                elif name == "id":
                    self.last_id = value
                elif name == "data":
                    yield kind, json.loads(value)

    def until(self, wanted: str) -> Any:
        return next(data for kind, data in self._messages if kind == wanted)

    def read_to_the_end(self) -> None:
        """Raises HTTPException or OSError when there is none, as the stream breaks off."""
        for _ in self._messages:
            pass

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    """One whose start opens the page in a browser, which writes down the address."""
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf "%s" "$1" > {tmp_path}/written && mv {tmp_path}/written {tmp_path}/opened\n')
    browser.chmod(0o700)
    scripted_model(tmp_path / "s3" / "a.tar.gz")
    words = ("--models", str(tmp_path / "s3"), "--command", SCRIPTED_CONTAINER, "--open")
    emulator = Emulator(*words, state=tmp_path / "state", environment={"BROWSER": f"{browser} %s"})
    try:
        emulator.wait_in_service()
        yield emulator
    finally:
        emulator.stop()


def token_of(emulator: Emulator) -> str:
    """The token of the run that answers now, as its page has it."""
    with urllib.request.urlopen(emulator.url + "/_localmme/") as page:
        return str(page.read().decode().partition('name="localmme-token" content="')[2].partition('"')[0])


def unload(emulator: Emulator, token: str) -> int:
    """The status of the answer."""
    body = json.dumps({"target_model": "a.tar.gz"}).encode()
    request = urllib.request.Request(emulator.url + "/_localmme/actions/unload-model", body)
    request.add_header("X-Localmme-Token", token)
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_a_page_lives_through_a_kill_and_ends_with_the_emulator(emulator: Emulator, tmp_path: Path) -> None:
    page = f"{emulator.url}/_localmme/"
    eventually((tmp_path / "opened").exists)
    assert (tmp_path / "opened").read_text() == page
    assert localmme("open", "--url", emulator.url, check=True, env={"SSH_CONNECTION": "x"}).stdout == page + "\n"

    emulator.invoke("a.tar.gz")
    stream = Stream(emulator.url)
    run = stream.until("hello")["run"]
    first = stream.until("entries")["entries"]
    assert [entry["sequence"] for entry in first] == list(range(1, len(first) + 1))
    old = token_of(emulator)
    kept = emulator.state_directory / "console-token"
    assert (kept.read_text(), stat.S_IMODE(kept.stat().st_mode)) == (old, 0o600)

    emulator.worker().kill()
    with pytest.raises((http.client.HTTPException, OSError)):
        stream.read_to_the_end()
    eventually(lambda: emulator.health() == 200)
    stream = Stream(emulator.url, stream.last_id)
    assert stream.until("hello")["run"] != run
    assert stream.until("state")["endpoints"][0]["endpoint_name"] == "local"
    assert stream.until("entries")["entries"][0]["sequence"] == 1

    assert token_of(emulator) == kept.read_text() != old
    assert unload(emulator, old) == 403
    emulator.invoke("a.tar.gz")
    assert unload(emulator, token_of(emulator)) == 200
    eventually(lambda: emulator.model("a.tar.gz")["unloads"] == 1)

    others = [Stream(emulator.url) for _ in range(3)]
    others[0].close()
    assert emulator.stop() == 0
    for each in (stream, *others[1:]):
        each.read_to_the_end()
    assert not kept.exists()
    assert not [line for line in emulator.errors if "Traceback" in line or "failed inside" in line]
