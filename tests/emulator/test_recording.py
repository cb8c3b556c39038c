"""A recording of a real run: what it has is documented, it survives ``kill -9``, and ``localmme trace`` reads it."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from botocore.exceptions import ClientError

from emulator import entries, recordings
from emulator.recordings import part_file
from localmme import read_trace
from localmme.trace.command import summarise
from tests.support.emulator_process import Emulator
from tests.support.files import archive
from tests.support.waiting import eventually

HANDLER = "def handle(data, context):\n    return [b'answer']\n"
TYPES: dict[str, type] = {
    "event": entries.EventEntry,
    "call": entries.CallEntry,
    "recording": recordings.RecordingLine,
    "endpoint": recordings.EndpointLine,
    "lost": recordings.LostLine,
}


def calls(file: Path) -> list[dict[str, Any]]:
    """Of the file, which is whole."""
    lines = map(json.loads, gzip.decompress(file.read_bytes()).splitlines())
    return [line for line in lines if line["type"] == "call"]


def test_a_real_run_is_recorded(serve: Callable[..., Emulator], bucket: Path, tmp_path: Path) -> None:
    handler, file = tmp_path / "handler.py", tmp_path / "traffic.jsonl.gz"
    handler.write_text(HANDLER)
    for name in "ab":
        archive(bucket / f"{name}.tar.gz", {"weights": name})
    emulator = serve(
        *("--models", str(bucket), "--handler", str(handler), "--max-loaded-models", "1"),
        *("--record", str(file), "--record-bodies"),
    )
    bodies = [f"{number}".encode() for number in range(6)]
    for number, body in enumerate(bodies):
        emulator.invoke(f"{'aabb'[number % 4]}.tar.gz", body)
    with pytest.raises(ClientError):
        emulator.invoke("no.tar.gz")
    eventually(lambda: len(calls(file)) == 7)
    emulator.worker().kill()
    first = part_file(file, 1)
    eventually(lambda: file.exists() and first.exists())  # another worker goes on
    eventually(lambda: emulator.health() == 200)
    emulator.invoke("a.tar.gz", b"last")
    emulator.stop()

    lines = list(read_trace(file))
    assert [base64.b64decode(call["body"]) for call in calls(first)] == [*bodies, b"{}"]
    assert [base64.b64decode(call["body"]) for call in calls(file)] == [b"last"]
    for line in lines:
        assert set(line) - {"body"} == set(get_type_hints(TYPES[line["type"]])), line
    kinds = [line["kind"] for line in lines if line["type"] == "event"]
    assert {"endpoint_created", "endpoint_status", "model_loaded", "model_unloaded", "load_failed"} <= set(kinds)
    starts = [line for line in lines if line["type"] == "recording"]
    assert [set(start["endpoints"][0]) for start in starts] == [set(get_type_hints(recordings.RecordedEndpoint))] * 2
    variant = starts[0]["endpoints"][0]["variants"][0]
    assert set(variant) == set(get_type_hints(recordings.RecordedVariant)) and variant["max_loaded_models"] == 1

    summary = summarise([file])
    assert len(summary["runs"]) == 2 and summary["torn_files"] == [] and summary["lost_entries"] == 0
    assert summary["calls"] == 8 and summary["cold_starts"] == 5 and summary["evictions"] == 2
    assert {"load", "container"} <= set(summary["cold_steps"])
    a = summary["models"][0]
    assert a["target_model"] == "a.tar.gz" and a["calls"] == 5 and a["loads"] == 3
    assert a["archive_bytes"] == (bucket / "a.tar.gz").stat().st_size and a["unpacked_bytes"] == 1
    assert a["load_seconds"] and a["extract_seconds"] and a["service_seconds"]
