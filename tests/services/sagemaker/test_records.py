"""What stands in a registry's file, which other versions of localmme have written and will read."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from emulator.errors import SetupError
from emulator.services.sagemaker.records import (
    DesiredVariant,
    EndpointConfigRecord,
    EndpointRecord,
    ModelRecord,
)
from emulator.services.sagemaker.registry import FORMAT, SCHEMA, Registry

MODEL = {"ModelName": "m", "PrimaryContainer": {"Image": "command:true", "Mode": "MultiModel"}}
CONFIG = {"EndpointConfigName": "c", "ProductionVariants": [{"VariantName": "v", "ModelName": "m"}]}
CALL = {"EndpointName": "E", "EndpointConfigName": "c"}
TIMES: dict[str, Any] = {"created": 1795836094.144, "modified": 1795836094.5}


def source(**more: Any) -> dict[str, Any]:
    return {
        "name": "c",
        "config": CONFIG,
        "models": {"m": {"asked": MODEL, "more": {"directory": "/tmp/here", **more}}},
    }


# As they were written before records had types.
DOCUMENTS: dict[str, dict[str, Any]] = {
    "model": {"kind": "model", "name": "m", "asked": MODEL, **TIMES, "tags": {"a": "ö"}, "more": {"directory": "/x"}},
    "config": {"kind": "endpoint-config", "name": "c", "asked": CONFIG, **TIMES, "tags": {}, "more": {}},
    "created": {
        "kind": "endpoint",
        "name": "E",
        "asked": CALL,
        **TIMES,
        "tags": {},
        "more": {"source": source(), "desired": {}},
    },
    "changed": {
        "kind": "endpoint",
        "name": "E2",
        "asked": CALL,
        **TIMES,
        "tags": {},
        "more": {
            "source": source(),
            "desired": {"v": {"DesiredWeight": 2.0, "DesiredInstanceCount": 3}, "w": {"DesiredInstanceCount": 1}},
            "deployment": {"BlueGreenUpdatePolicy": {}},
            "pending": {"source": source(given=True), "desired": {"v": {"DesiredWeight": 0.5}}},
        },
    },
    "failed": {
        "kind": "endpoint",
        "name": "E3",
        "asked": CALL,
        **TIMES,
        "tags": {},
        "more": {"source": source(), "desired": {}, "failure": "it died"},
    },
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path, *DOCUMENTS.values())


def written(directory: Path, *documents: dict[str, Any]) -> Path:
    path = directory / "registry.db"
    with sqlite3.connect(path) as database:
        database.execute(SCHEMA)
        database.execute(f"PRAGMA user_version = {FORMAT}")
        for each in documents:
            row = each["kind"], each["name"].lower(), json.dumps(each)
            database.execute("INSERT INTO records VALUES (?, ?, ?)", row)
    database.close()
    return path


def test_what_an_earlier_version_has_written_is_read(file: Path) -> None:
    registry = Registry.open(file)
    model, config = registry.get(ModelRecord, "M"), registry.get(EndpointConfigRecord, "c")
    created, changed, failed = (registry.get(EndpointRecord, name) for name in ("e", "E2", "E3"))
    registry.close()
    assert model is not None and config is not None
    assert created is not None and changed is not None and failed is not None
    assert (model.directory, model.from_start, model.tags) == ("/x", False, {"a": "ö"})
    assert (config.arguments, config.created, config.modified) == (CONFIG, TIMES["created"], TIMES["modified"])
    assert (created.deployments.pending, created.deployments.failure) == (None, "")
    now, pending = changed.deployments.current, changed.deployments.pending
    assert pending is not None
    assert now.desired == {"v": DesiredVariant(2.0, 3), "w": DesiredVariant(None, 1)}
    assert (now.deployment_config, pending.deployment_config) == ({"BlueGreenUpdatePolicy": {}}, None)
    assert (now.models["m"].from_start, pending.models["m"].from_start) == (False, True)
    assert failed.deployments.failure == "it died"


def test_what_is_written_is_what_earlier_versions_read(file: Path) -> None:
    registry = Registry.open(file)
    for kind in (ModelRecord, EndpointConfigRecord, EndpointRecord):
        for record in registry.all(kind):
            registry.put(record)
    registry.close()
    with sqlite3.connect(file) as database:
        found = [json.loads(text) for (text,) in database.execute("SELECT document FROM records")]
    database.close()
    assert sorted(found, key=str) == sorted(DOCUMENTS.values(), key=str)


@pytest.mark.parametrize(
    "wrong", [{}, {"source": None, "desired": {}}, {"source": {**source(), "config": 1}, "desired": {}}]
)
def test_details_that_are_invalid_are_found_when_the_file_is_opened(tmp_path: Path, wrong: dict[str, Any]) -> None:
    path = written(tmp_path, {**DOCUMENTS["created"], "more": wrong})
    with pytest.raises(SetupError, match="cannot be used"):
        Registry.open(path)
