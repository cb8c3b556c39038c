"""``localmme models``: what it lists of an emulator's state."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from localmme import emulator_client
from localmme.cli.main import main

NOWHERE = {
    "target_model": "tpyo.tar.gz",
    "in_s3": False,
    "on_disk": False,
    "in_memory": False,
    "size_bytes": 0,
    "size_on_disk_bytes": 0,
    "memory_bytes": None,
    "instances": [],
    **dict.fromkeys(
        ("downloads", "loads", "unloads", "cache_hits", "model_errors", "load_wait_us", "mean_load_wait_us"), 0
    ),
    "failed_loads": 1,
    "invocations": 1,
    "model_latency_us": 0,
    "last_loaded": None,
    "last_used": None,
}


def listed(monkeypatch: pytest.MonkeyPatch, models: list[dict[str, Any]], *options: str) -> str:
    endpoint = {"endpoint_name": "local", "status": "InService", "failure_reason": "", "models": models, "variants": []}
    state = {"url": "http://127.0.0.1:9", "endpoints": [endpoint]}
    monkeypatch.setattr(emulator_client, "page", lambda *_: state)
    result = CliRunner().invoke(main, ["models", "--url", "http://127.0.0.1:9", *options])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_name_that_was_mistyped_in_an_invocation_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    models = [NOWHERE, {**NOWHERE, "target_model": "a.tar.gz", "in_s3": True}]
    assert [model["target_model"] for model in json.loads(listed(monkeypatch, models, "--json"))] == ["a.tar.gz"]
    table = listed(monkeypatch, models)
    assert "a.tar.gz" in table and "tpyo" not in table
    assert listed(monkeypatch, [NOWHERE]) == "There are no model archives yet.\n"
