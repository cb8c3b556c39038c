"""``localmme fault``: what it asks of the emulator, and what it prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from emulator.errors import SetupError
from localmme import pages
from localmme.cli.main import main
from localmme.faults import fault

URL = "http://localhost:4711"
ANSWERS: dict[str, dict[str, Any]] = {
    "fault": {"message": "ModelError: 2 calls.", "number": 7},
    "clear-faults": {"message": "1 fault cleared."},
    "faults": {"message": "ModelError: 2 calls", "faults": [{"number": 7}], "sentences": ["ModelError: 2 calls"]},
}
Asked = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """The actions that an emulator was asked for."""
    asked: Asked = []

    def act(url: str, action: str, members: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        assert url == URL
        asked.append((action, dict(members)))
        return ANSWERS[action]

    monkeypatch.setattr(pages, "act", act)
    monkeypatch.setattr("localmme.faults.act", act)
    return asked


@pytest.mark.parametrize(
    ("words", "action", "members", "printed"),
    [
        (
            "ModelError --times 2 --model europe/* --status 503",
            "fault",
            {"fault": "ModelError", "times": 2, "target_model": "europe/*", "status": 503},
            "ModelError: 2 calls.\n",
        ),
        (
            "Latency --seconds 0.5 --jitter 1 --endpoint e",
            "fault",
            {"fault": "Latency", "seconds": 0.5, "jitter_seconds": 1.0, "endpoint_name": "e"},
            "ModelError: 2 calls.\n",
        ),
        ("clear", "clear-faults", {}, "1 fault cleared.\n"),
        ("clear --number 7", "clear-faults", {"number": 7}, "1 fault cleared.\n"),
        ("list", "faults", {}, "7  ModelError: 2 calls\n"),
        ("list --json", "faults", {}, '[\n  {\n    "number": 7\n  }\n]\n'),
    ],
)
def test_it_asks_for_an_action_and_prints_what_was_done(
    asked: Asked,
    capsys: pytest.CaptureFixture[str],
    words: str,
    action: str,
    members: dict[str, Any],
    printed: str,
) -> None:
    main(["fault", *words.split(), "--url", URL], standalone_mode=False)
    assert asked == [(action, members)]
    assert capsys.readouterr().out == printed


def test_a_fault_from_python_is_cleared_at_the_end_of_its_block(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALMME_URL", URL + "/")
    with fault("ModelError", times=2, model="a") as made:
        assert repr(made) == "<localmme fault ModelError: 2 calls.>"
    assert asked == [
        ("fault", {"fault": "ModelError", "times": 2, "target_model": "a"}),
        ("clear-faults", {"number": 7}),
    ]


def test_without_an_emulator_it_says_so() -> None:
    with pytest.raises(SetupError, match="No emulator answers"):
        fault("ModelError", url="http://127.0.0.1:9")
