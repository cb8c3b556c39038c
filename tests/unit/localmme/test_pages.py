"""Commands act on an emulator with the token of its run: from its private file, or else from its page."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from emulator.errors import SetupError
from emulator.state_directory import StateDirectory
from localmme import pages, state_directories

URL = "http://emulator:8080"


class Emulator:
    """Answers with its page, and with the token that an action came with."""

    page = b'<meta name="localmme-token" content="of-the_page">'

    def opened(
        self, url: str, name: str, _: float, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Any:
        assert url == URL
        if not name:
            return io.BytesIO(self.page)
        return io.BytesIO(json.dumps({"message": name, "token": (headers or {})["X-Localmme-Token"]}).encode())


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Emulator:
    emulator = Emulator()
    monkeypatch.setattr(pages, "opened", emulator.opened)
    monkeypatch.setattr(state_directories, "living_at", lambda _: None)
    return emulator


@pytest.mark.usefixtures("emulator")
def test_the_token_is_that_of_the_private_file(tmp_path: Path) -> None:
    directory = StateDirectory(tmp_path)
    token = directory.new_console_token()
    assert pages.act(URL, "x", {}, directory=directory) == {"message": "actions/x", "token": token}
    assert directory.new_console_token() != token


def test_of_an_emulator_elsewhere_it_is_in_its_page(emulator: Emulator, tmp_path: Path) -> None:
    for directory in (None, StateDirectory(tmp_path)):
        assert pages.act(URL, "x", {}, directory=directory)["token"] == "of-the_page"
    emulator.page = b"<title>another server</title>"
    with pytest.raises(SetupError, match="no emulator that takes actions"):
        pages.act(URL, "x", {})
