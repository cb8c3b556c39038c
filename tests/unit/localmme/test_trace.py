"""``localmme trace``: what a recording shows, wherever it is torn, in however many files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import localmme
from emulator.errors import SetupError
from emulator.recordings import FORMAT
from localmme.cli.main import main
from localmme.trace.command import summarise

MEMORY = 1000
VARIANT = {
    "variant_name": "v",
    "weight": 1.0,
    "instance_type": "ml.m5.large",
    "instance_count": 1,
    "memory_bytes": MEMORY,
    "storage_bytes": 2**30,
    "vcpus": 2,
    "gpus": 0,
    "max_loaded_models": None,
    "caching": True,
    "containers": [{"name": "primary", "multi_model": True}],
}
FIRST = {
    "type": "recording",
    "format": FORMAT,
    "localmme_version": "1.2",
    "run": "a",
    "started": 60.0,
    "part": 1,
    "bodies": False,
    "limits": {"memory_watermark": 1.0},
    "endpoints": [{"endpoint_name": "e", "region": "r", "variants": [VARIANT]}],
}


def event(kind: str, target_model: str = "m", **details: Any) -> dict[str, Any]:
    return {
        "type": "event", "sequence": 1, "time": 60.0, "kind": kind, "endpoint_name": "e", "variant_name": "v",
        "instance_id": "i-1", "container": "primary", "target_model": target_model, "severity": "info", "text": "",
        "details": details,
    }  # fmt: skip


def loaded(target_model: str, memory_bytes: int) -> list[dict[str, Any]]:
    return [
        event("model_downloaded", target_model, seconds=0.1, size_bytes=7, archive_bytes=5, download_seconds=0.075),
        event(
            "model_loaded", target_model, seconds=0.25, total_seconds=0.5, used_before_bytes=0,
            used_after_bytes=memory_bytes + 1, memory_bytes=memory_bytes,
        ),
    ]  # fmt: skip


def call(at: float, target_model: str = "m", *, cold: bool | None = False, code: str = "") -> dict[str, Any]:
    load = [("download", 1000), ("extract", 2000), ("load", 3000)] if cold else []
    parts = [*load, ("container", 500)]
    return {
        "type": "call", "sequence": 1, "time": at, "request_id": "id", "operation": "invocations",
        "endpoint_name": "e", "variant_name": "v", "instance_id": "i-1", "target_model": target_model,
        "status": 424 if code else 200, "error_code": code, "error": "", "cold": cold,
        "duration_us": sum(took for _, took in parts) + 100,
        "steps": [{"name": name, "container": "c", "start_us": 0, "duration_us": took} for name, took in parts],
        "request_bytes": 4, "response_bytes": 2, "request_headers": {},
    }  # fmt: skip


def written(file: Path, *lines: dict[str, Any]) -> Path:
    file.write_bytes(b"".join(gzip.compress(json.dumps(line).encode() + b"\n") for line in lines))
    return file


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Two models of which the memory holds one, called in turn; and some calls that fail."""
    turns = [("a", 100.0 + n) if n % 2 else ("b", 100.0 + n) for n in range(100)]
    return written(
        tmp_path / "r.jsonl.gz",
        FIRST,
        *loaded("a", 600),
        *loaded("b", 700),
        *(call(at, name, cold=True) for name, at in turns),
        *(event("model_unloaded", name, reason="memory pressure", seconds=0.1, made_room_for="x") for name, _ in turns),
        event("model_unloaded", "a", reason="its archive has changed", seconds=0.1, made_room_for=""),
        event("load_failed", "a", reason="no"),
        *(call(900.0, "a") for _ in range(3)),
        call(901.0, "a", code="ModelError"),
        call(902.0, "", cold=None, code="ThrottlingException"),
    )


def test_a_summary(recording: Path) -> None:
    summary = summarise([recording])
    assert summary["calls"] == 105 and summary["cold_starts"] == 100 and summary["hit_ratio"] == 4 / 104
    assert summary["first"] == 60.0 and summary["duration_seconds"] == 842.001
    assert summary["warm"]["count"] == 3 and summary["warm"]["p50_us"] == pytest.approx(600, rel=0.02)
    assert summary["cold"]["count"] == 100 and summary["cold"]["p99_us"] == pytest.approx(6600, rel=0.02)
    steps = {name: times["p90_us"] for name, times in summary["cold_steps"].items()}
    assert steps == pytest.approx({"download": 1000, "extract": 2000, "load": 3000, "container": 500}, rel=0.02)
    assert summary["errors"] == {"ModelError": 1, "ThrottlingException": 1}
    assert summary["busiest_minute"] == {"time": 120.0, "calls": 60}
    assert summary["evictions"] == 100
    assert summary["unload_reasons"] == {"memory pressure": 100, "its archive has changed": 1}
    assert summary["runs"] == [{"run": "a", "localmme_version": "1.2", "started": 60.0}]
    assert summary["endpoints"][0]["variants"][0]["instance_type"] == "ml.m5.large"
    a, b = summary["models"]
    assert (a["target_model"], b["target_model"]) == ("a", "b") and (a["calls"], b["calls"]) == (54, 50)
    assert (a["loads"], a["evictions"], a["unloads"], a["failed_loads"], a["errors"]) == (1, 50, 51, 1, 1)
    assert (a["archive_bytes"], a["unpacked_bytes"], a["memory_bytes"]) == (5, 7, 600)
    seconds = (a["download_seconds"], a["extract_seconds"], a["load_seconds"], a["service_seconds"])
    assert seconds == (0.075, 0.025, 0.25, 0.0005)


def test_the_what_if_line_of_a_recording(recording: Path) -> None:
    [line] = summarise([recording])["what_if"]
    ratios = {point["memory_factor"]: point["hit_ratio"] for point in line["points"]}
    # The 4 calls at the end hit the model of the call before them; with twice the memory, all hit but the first two.
    assert line["calls"] == 104 and ratios[1.0] == line["measured_hit_ratio"] == 4 / 104 and ratios[2.0] == 102 / 104


@pytest.mark.parametrize("shortened_by", [1, 10, 30])
def test_what_is_torn_is_read_up_to_the_last_whole_line(tmp_path: Path, shortened_by: int) -> None:
    file = written(tmp_path / "r.gz", FIRST, call(100.0), call(101.0))
    file.write_bytes(file.read_bytes()[:-shortened_by])
    summary = summarise([file])
    assert summary["torn_files"] == [str(file)] and summary["calls"] in (1, 2)


def test_the_files_of_a_rotated_recording_are_one(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        written(tmp_path / f"r.{number}.jsonl.gz", {**FIRST, "part": number}, call(float(number)))
    file = written(tmp_path / "r.jsonl.gz", {**FIRST, "part": 11}, call(11.0))
    assert [line["time"] for line in localmme.read_trace(file) if line["type"] == "call"] == [1.0, 2.0, 10.0, 11.0]
    both = localmme.read_trace(tmp_path / "r.2.jsonl.gz", str(file))
    assert [line["time"] for line in both if line["type"] == "call"] == [2.0, 1.0, 10.0, 11.0]


def test_what_was_uncompressed_is_read_too(tmp_path: Path) -> None:
    file = written(tmp_path / "r.gz", FIRST, call(100.0))
    (tmp_path / "r.jsonl").write_bytes(gzip.decompress(file.read_bytes()))
    assert summarise([tmp_path / "r.jsonl"])["calls"] == 1


@pytest.mark.parametrize(
    "content, words",
    [
        (b"precious", "is not a recording"),
        (b"", "is not a recording"),
        (gzip.compress(b'{"type": "call"}\n', mtime=0), "line 1 is not one of a recording"),
        (gzip.compress(json.dumps({**FIRST, "format": 99}).encode() + b"\n", mtime=0), "a later localmme"),
        (gzip.compress(json.dumps(FIRST).encode() + b"\nnonsense\n{}\n", mtime=0), "line 2 is not one of a recording"),
        (None, "No such file or directory"),
    ],
)
def test_what_is_not_a_recording_is_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "r.gz"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SetupError, match=words):
        summarise([file])


def test_an_empty_recording_says_so(tmp_path: Path) -> None:
    file = written(tmp_path / "r.gz", {**FIRST, "endpoints": []})
    assert "Nothing has happened" in CliRunner().invoke(main, ["trace", str(file)]).output


def test_what_the_command_prints(recording: Path) -> None:
    text = CliRunner().invoke(main, ["trace", str(recording)]).output
    for expected in (
        "Recorded  14 min 2 s from 1970-01-01 00:01:00 UTC, 105 calls",
        "Endpoint  e/v: 1 instance ml.m5.large with 1000 B of memory",
        "Hit ratio 3.8%, 100 cold starts",
        "100 unloaded: memory pressure",
        "1 ModelError",
        "1 x: 3.8%, 2 x: 98.1%",
    ):
        assert expected in text
    assert json.loads(CliRunner().invoke(main, ["trace", "--json", str(recording)]).output)["calls"] == 105
    rows = CliRunner().invoke(main, ["trace", "--csv", str(recording)]).output.splitlines()
    assert rows[:2] == ["timestamp,target_model", "100.000000,b"] and len(rows) == 105


def test_names_of_models_are_only_text(tmp_path: Path) -> None:
    file = written(tmp_path / "r.gz", FIRST, call(100.0, "\x1b[31m[red]x"))
    text = CliRunner().invoke(main, ["trace", str(file)]).output
    assert "\\x1b[31m[red]x" in text and "\x1b" not in text
