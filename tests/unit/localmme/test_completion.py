"""What a shell is offered: the names of emulators that run, and the models of one."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import click
import pytest

from emulator.errors import SetupError
from emulator.state_directory import DEFAULT_URL
from localmme import background, state_directories
from localmme.cli.completion import emulator_names, target_models

STATE = {
    "endpoints": [
        {"endpoint_name": "local", "models": [{"target_model": name} for name in ("a.tar.gz", "b/c.tar.gz", "b/d")]},
        {"endpoint_name": "other", "models": [{"target_model": "e.tar.gz"}]},
    ]
}


def context(**params: Any) -> click.Context:
    made = click.Context(click.Command("invoke"))
    made.params = params
    return made


PARAMETER = click.Argument(["target_model"])


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of which emulators the state was read."""
    read: list[str] = []

    def page(url: str, name: str, seconds: float) -> Any:
        read.append(url)
        assert name == "state"
        if "down" in url:
            raise OSError
        return STATE

    def address_of(name: str | None) -> str:
        if name is None:
            raise SetupError("several run")
        return f"http://{name}"

    monkeypatch.setattr("localmme.pages.page", page)
    monkeypatch.setattr(background, "address_of", address_of)
    return read


@pytest.mark.parametrize(
    "params, incomplete, models",
    [
        ({}, "", ["a.tar.gz", "b/c.tar.gz", "b/d"]),
        ({}, "b/", ["b/c.tar.gz", "b/d"]),
        ({}, "x", []),
        ({"endpoint_name": "other"}, "", ["e.tar.gz"]),
        ({"endpoint_name": "none"}, "", []),
        ({"name": "down"}, "", []),
    ],
)
def test_models_are_those_of_the_endpoint(
    pages: list[str], params: dict[str, Any], incomplete: str, models: list[str]
) -> None:
    assert target_models(context(**params), PARAMETER, incomplete) == models


@pytest.mark.parametrize(
    "params, url",
    [
        ({}, DEFAULT_URL),
        ({"url": DEFAULT_URL}, DEFAULT_URL),
        ({"url": "http://elsewhere/"}, "http://elsewhere"),
        ({"name": "houses"}, "http://houses"),
        ({"name": "houses", "url": DEFAULT_URL}, "http://houses"),
        ({"name": "houses", "url": "http://elsewhere/"}, "http://houses"),
    ],
)
def test_the_emulator_is_the_one_that_the_command_line_names(
    pages: list[str], params: dict[str, Any], url: str
) -> None:
    target_models(context(**params), PARAMETER, "")
    assert pages == [url]


def test_names_are_those_of_emulators_that_run(monkeypatch: pytest.MonkeyPatch) -> None:
    running: Callable[[], Any] = lambda: [SimpleNamespace(name=name) for name in ("8080", "horses", "houses")]  # noqa: E731
    monkeypatch.setattr(state_directories, "all_living", running)
    assert emulator_names(context(), PARAMETER, "ho") == ["horses", "houses"]
    assert emulator_names(context(), PARAMETER, "x") == []
