"""The requests that the options of ``localmme serve`` make."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from emulator.errors import SetupError
from localmme import endpoint_options


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    """What ``localmme serve --models DIR`` passes on."""
    options: dict[str, Any] = dict.fromkeys(inspect.signature(endpoint_options.start_requests).parameters)
    given = {"models": str(tmp_path), "toolkit": "auto", "preloading": True, "instances": 1, "endpoint_name": "local"}
    return {**options, **given, "environment": (), "cache": True, "reload": False}


def environment_of(options: dict[str, Any]) -> dict[str, str] | None:
    [model] = endpoint_options.start_requests(**options).models
    return model["PrimaryContainer"].get("Environment")


def test_a_toolkit_is_a_variable_of_the_container(options: dict[str, Any]) -> None:
    assert environment_of(options) is None
    options["toolkit"] = "pytorch"
    assert environment_of(options) == {"LOCALMME_TOOLKIT": "pytorch"}
    options["environment"] = ("LOCALMME_TOOLKIT=sklearn",)
    assert environment_of(options) == {"LOCALMME_TOOLKIT": "sklearn"}


@pytest.mark.parametrize("container", [{"image": "team/server"}, {"command": "python serve.py"}])
def test_a_toolkit_is_for_handlers(options: dict[str, Any], container: dict[str, str]) -> None:
    with pytest.raises(SetupError, match="--toolkit is for handlers"):
        endpoint_options.start_requests(**{**options, **container, "toolkit": "pytorch"})


def test_in_s3_nothing_is_unpacked(options: dict[str, Any]) -> None:
    assert endpoint_options.start_requests(**{**options, "unpacked": True}).unpacked
    with pytest.raises(SetupError, match="--unpacked needs a directory of this machine"):
        endpoint_options.start_requests(**{**options, "models": "s3://bucket/", "unpacked": True})
