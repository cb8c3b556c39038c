"""Hosting as callers and the container see it: what is loaded, evicted, kept and tried again, and when."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.aws_clients import refused
from tests.support.emulator_in_process import InProcessEmulator
from tests.support.files import archive, files_below
from tests.support.scripted_models import Journal, SharedInProcessEmulator, scripted_arguments, scripted_model, shared
from tests.support.waiting import eventually

MIB = 2**20
Calls = Callable[..., list[str]]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(120) as pool:
        yield pool


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedInProcessEmulator]:
    """For tests whose models do not depend on what else is in memory."""
    with shared(SharedInProcessEmulator, tmp_path_factory.mktemp("hosting")) as emulator:
        yield emulator


@pytest.fixture
def calls_of(emulator: SharedInProcessEmulator) -> Calls:
    """The names of the calls of these kinds that the shared emulator's container got since the test began."""
    before = len(emulator.journal.entries())
    return lambda *calls: [e["call"] for e in emulator.journal.entries()[before:] if e.get("call") in calls]


def models(bucket: Path, *names: str, **script: Any) -> None:
    for name in names:
        scripted_model(bucket / name, f"I am {name}", **script)


def journal_names(emulator: InProcessEmulator) -> dict[str, str]:
    """Target models by the names that the container knows them by."""
    return {m["model_name"]: m["target_model"] for m in emulator.instance()["memory"]["models"]}


def in_flight(emulator: InProcessEmulator, target_model: str) -> int:
    loaded = emulator.instance()["memory"]["models"]
    return sum(model["in_flight"] for model in loaded if model["target_model"] == target_model)


def stored_files(emulator: InProcessEmulator) -> list[Path]:
    return files_below(emulator.state_directory / "instances")


# Loading


def test_many_callers_of_a_cold_model_cause_one_download_and_one_load(
    emulator: SharedInProcessEmulator, calls_of: Calls, pool: ThreadPoolExecutor
) -> None:
    name = emulator.model_of("cold", load={"delay": 0.5})
    calls = [pool.submit(emulator.invoke, name, str(n)) for n in range(100)]
    answers = [call.result() for call in calls]
    assert [answer["body"] for answer in answers] == [str(n) for n in range(100)]
    assert {answer["answer"] for answer in answers} == {name}
    assert calls_of("load") == ["load"]
    model = emulator.model(name)
    assert (model["downloads"], model["loads"], model["invocations"]) == (1, 1, 100)


def test_different_models_load_at_the_same_time(
    emulator: SharedInProcessEmulator, pool: ThreadPoolExecutor, gate: Path
) -> None:
    names = [emulator.model_of("together", load={"lines": 1, "until": str(gate)}) for _ in range(4)]
    calls = [pool.submit(emulator.invoke, name) for name in names]
    eventually(lambda: sum(line.endswith(" line 1") for line in emulator.errors) == 4, what="all are being loaded")
    gate.touch()
    assert [call.result()["answer"] for call in calls] == names


def test_a_model_that_the_container_has_already_counts_as_loaded(scripted, bucket: Path, journal: Journal) -> None:
    models(bucket, "a", unload={"status": 500})
    models(bucket, "b")
    emulator = scripted("--max-loaded-models", "1")
    for name in ("a", "b", "a"):
        assert emulator.invoke(name)["answer"] == f"I am {name}"
    assert [load["status"] for load in journal.entries("load")] == [200, 200, 409, 409]
    assert "did not confirm" in emulator.log


def test_a_container_that_wrongly_says_that_it_has_a_model_is_not_believed(
    scripted, bucket: Path, journal: Journal
) -> None:
    models(bucket, "a", load={"status": 409})
    assert refused(scripted().invoke, "a").from_the_container == ("ModelError", 409)
    assert not journal.entries("invoke")


@pytest.mark.parametrize(
    "cue, status, words",
    [
        ({"status": 500}, 500, "scripted 500"),
        ({"status": 400, "body": "no such layer"}, 400, "no such layer"),
        ({"garbage": True}, 0, "not HTTP"),
        ({"close": True}, 0, "could not get a response"),
    ],
    ids=["500", "400", "garbage", "close"],
)
def test_a_load_that_fails_is_a_model_error_and_is_tried_afresh(
    emulator: SharedInProcessEmulator, calls_of: Calls, cue: dict[str, Any], status: int, words: str
) -> None:
    name = emulator.model_of("failing", load={"times": 1, **cue})
    error = refused(emulator.invoke, name)
    assert error.from_the_container == ("ModelError", status)
    assert words in error.message and words in error.response["OriginalMessage"]
    eventually(lambda: calls_of("load", "unload") == ["load", "unload"], what="the failed model is forgotten")
    assert emulator.invoke(name)["answer"] == name
    model = emulator.model(name)
    assert (model["downloads"], model["failed_loads"], model["loads"], model["unloads"]) == (1, 1, 1, 0)


def test_a_load_that_outlasts_the_call_goes_on_and_the_next_call_finds_the_model(
    scripted, bucket: Path, gate: Path
) -> None:
    models(bucket, "a.tar.gz", load={"until": str(gate)})
    emulator = scripted("--limit", "invocation_seconds=1")
    error = refused(emulator.invoke, "a.tar.gz")
    assert error.code == "ModelNotReadyException"
    assert error.status == 429
    assert emulator.instance()["memory"]["loading"] == ["a.tar.gz"]
    gate.touch()
    eventually(lambda: emulator.in_memory() == {"a.tar.gz"})
    assert emulator.invoke("a.tar.gz")["answer"] == "I am a.tar.gz"
    model = emulator.model("a.tar.gz")
    assert (model["loads"], model["invocations"], model["cache_hits"]) == (1, 1, 1)


def test_a_load_that_takes_too_long_fails_and_the_next_call_tries_afresh(
    scripted, bucket: Path, journal: Journal, gate: Path
) -> None:
    models(bucket, "a.tar.gz", load={"times": 1, "until": str(gate)})
    emulator = scripted("--limit", "load_seconds=1.5")
    error = refused(emulator.invoke, "a.tar.gz")
    assert error.from_the_container == ("ModelError", 0) and "timed out" in error.response["OriginalMessage"]
    eventually(lambda: emulator.model("a.tar.gz")["failed_loads"] == 1)
    eventually(lambda: "unload" in journal.calls("unload"), what="the model is forgotten")
    gate.touch()
    eventually(lambda: "load" in journal.calls("load"), what="the first load has come to its end in the container")

    def answer() -> Any:
        try:
            return emulator.invoke("a.tar.gz")["answer"]
        except ClientError:
            return None

    assert eventually(answer) == "I am a.tar.gz"
    assert emulator.model("a.tar.gz")["loads"] >= 1


# Memory


def test_at_most_as_many_models_as_allowed_are_loaded_and_the_least_recently_used_leaves(
    scripted, bucket: Path, journal: Journal
) -> None:
    models(bucket, "a", "b", "c", "d")
    emulator = scripted("--max-loaded-models", "3")
    for name in ("a", "b", "c", "a", "d"):
        emulator.invoke(name)
    assert emulator.in_memory() == {"a", "c", "d"}
    emulator.invoke("b")
    assert emulator.in_memory() == {"a", "b", "d"}
    assert emulator.on_disk() == {"a", "b", "c", "d"}
    assert [model["downloads"] for model in emulator.state()["models"]] == [1, 1, 1, 1]
    assert emulator.model("b")["loads"] == 2
    assert journal.calls("load", "unload") == ["load"] * 3 + ["unload", "load"] * 2


@pytest.mark.parametrize("option", [("--max-loaded-models", "1"), ("--storage", "1MB")], ids=["memory", "volume"])
def test_a_model_in_flight_is_never_evicted_and_the_next_one_waits_for_it(
    scripted, bucket: Path, journal: Journal, pool: ThreadPoolExecutor, gate: Path, option: tuple[str, str]
) -> None:
    sized(bucket, "a", kib=700, invoke={"until": str(gate)})
    sized(bucket, "b", kib=700)
    emulator = scripted(*option)
    slow = pool.submit(emulator.invoke, "a")
    eventually(lambda: in_flight(emulator, "a"))
    next_one = pool.submit(emulator.invoke, "b")
    eventually(lambda: emulator.instance()["memory"]["loading"] == ["b"])
    gate.touch()
    assert next_one.result()["answer"] == "I am b"
    assert slow.result()["answer"] == "I am a"
    assert journal.calls("load", "unload", "invoke") == ["load", "invoke", "unload", "load", "invoke"]


def test_a_model_that_never_gets_room_is_refused_in_the_end(
    scripted, bucket: Path, pool: ThreadPoolExecutor, gate: Path
) -> None:
    models(bucket, "a", invoke={"until": str(gate)})
    models(bucket, "b")
    emulator = scripted("--max-loaded-models", "1", "--limit", "load_seconds=1")
    slow = pool.submit(emulator.invoke, "a")
    eventually(lambda: in_flight(emulator, "a"))
    assert refused(emulator.invoke, "b").code == "ServiceUnavailable"
    gate.touch()
    assert slow.result()["answer"] == "I am a"
    assert emulator.invoke("b")["answer"] == "I am b"


def test_used_memory_stays_under_the_budget(scripted, bucket: Path, journal: Journal) -> None:
    names = [str(n) for n in range(8)]
    models(bucket, *names, load={"megabytes": 60})
    emulator = scripted("--memory", "300MB")
    for name in [*names, *names]:
        assert emulator.invoke(name)["answer"] == f"I am {name}"
        assert emulator.instance()["memory"]["used_bytes"] <= 300 * MIB
    assert 3 <= len(emulator.in_memory()) <= 4
    assert emulator.in_memory() == set(names[-len(emulator.in_memory()) :])


def test_out_of_memory_at_a_load_unloads_the_least_recently_used_and_forgets_the_refused_model(
    scripted, bucket: Path, journal: Journal
) -> None:
    for name in "abc":
        scripted_model(bucket / name, f"I am {name}", load={"keep": True})
    emulator = scripted(max_models=2)
    for name in "ab":
        emulator.invoke(name)
    names = journal_names(emulator)
    assert emulator.invoke("c")["answer"] == "I am c"
    names |= journal_names(emulator)
    assert emulator.in_memory() == {"b", "c"}
    calls = [(entry["call"], names.get(entry["model"]), entry["status"]) for entry in journal.entries()[3:]]
    calls = [call for call in calls if call[0] in ("load", "unload")]
    assert calls[-4][:3] == ("load", "c", 507)
    assert sorted(calls[-3:-1]) == [("unload", "a", 200), ("unload", "c", 200)]
    assert calls[-1] == ("load", "c", 200)


def test_out_of_memory_is_answered_by_unloading_until_the_model_fits(scripted, bucket: Path, journal: Journal) -> None:
    models(bucket, "a", "b", "c")
    models(bucket, "large", load={"times": 3, "status": 507})
    emulator = scripted()
    for name in ("b", "a", "c", "large"):
        assert emulator.invoke(name)["answer"] == f"I am {name}"
    assert emulator.in_memory() == {"large"}
    assert [emulator.model(name)["unloads"] for name in "abc"] == [1, 1, 1]


def test_out_of_memory_with_nothing_left_to_unload_is_a_model_error_and_the_model_is_forgotten(
    scripted, bucket: Path, journal: Journal
) -> None:
    models(bucket, "a")
    models(bucket, "large", load={"times": 2, "status": 507, "keep": True, "body": "CUDA out of memory"})
    emulator = scripted()
    emulator.invoke("a")
    error = refused(emulator.invoke, "large")
    assert error.from_the_container == ("ModelError", 507)
    assert error.response["OriginalMessage"] == "CUDA out of memory"
    assert emulator.in_memory() == set()
    eventually(lambda: journal.entries("unload")[-1]["model"] == journal.entries("load")[-1]["model"])
    assert emulator.invoke("large")["answer"] == "I am large"


def test_out_of_memory_waits_for_what_is_being_unloaded(scripted, bucket: Path, pool: ThreadPoolExecutor) -> None:
    models(bucket, "a", unload={"delay": 1})
    models(bucket, "b")
    emulator = scripted("--no-cache", max_models=1)
    assert emulator.invoke("a")["answer"] == "I am a"
    assert emulator.invoke("b")["answer"] == "I am b"


def test_out_of_memory_at_an_invocation_is_a_model_error_and_an_idle_model_is_unloaded(scripted, bucket: Path) -> None:
    models(bucket, "idle")
    models(bucket, "a", invoke={"times": 1, "status": 507})
    emulator = scripted()
    emulator.invoke("idle")
    assert refused(emulator.invoke, "a").from_the_container == ("ModelError", 507)
    eventually(lambda: emulator.in_memory() == {"a"})
    assert emulator.invoke("a")["answer"] == "I am a"


@pytest.mark.parametrize("cue", [{"status": 404}, {"status": 500}, {"hang": True}], ids=["404", "500", "hang"])
def test_a_container_that_does_not_unload_as_it_should_does_not_hold_up_others(
    scripted, bucket: Path, cue: dict[str, Any]
) -> None:
    models(bucket, "a", unload=cue)
    models(bucket, "b")
    emulator = scripted("--max-loaded-models", "1", *(("--limit", "unload_seconds=0.5") if "hang" in cue else ()))
    for name in ("a", "b", "a"):
        assert emulator.invoke(name)["answer"] == f"I am {name}"
    assert emulator.in_memory() == {"a"}
    assert ("did not confirm" in emulator.log) == (cue != {"status": 404})
    # As TorchServe does at the first unload.
    assert emulator.log.count("The container answered an unload with 500, and may keep") == (cue == {"status": 500})


# Storage


def sized(bucket: Path, *names: str, kib: int, **script: Any) -> None:
    for name in names:
        files = {"answer.txt": f"I am {name}", "script.json": json.dumps(script), "weights": os.urandom(kib * 1024)}
        archive(bucket / name, files)


def test_a_full_volume_drops_the_least_recently_used_model_that_is_not_in_memory(scripted, bucket: Path) -> None:
    sized(bucket, "a", "b", "c", "d", kib=300)
    emulator = scripted("--storage", "1MB", "--max-loaded-models", "2")
    for name in ("a", "b", "c"):
        emulator.invoke(name)
    assert emulator.in_memory() == {"b", "c"} and emulator.on_disk() == {"a", "b", "c"}
    emulator.invoke("d")
    assert emulator.on_disk() == {"b", "c", "d"}
    emulator.invoke("a")
    assert emulator.on_disk() == {"c", "d", "a"} and emulator.model("a")["downloads"] == 2
    volume = emulator.instance()["volume"]
    assert volume["used_bytes"] <= volume["capacity_bytes"]


def test_a_volume_full_of_loaded_models_makes_room_by_unloading(scripted, bucket: Path) -> None:
    sized(bucket, "a", "b", kib=300)
    sized(bucket, "large", kib=800)
    emulator = scripted("--storage", "1MB")
    for name in ("a", "b", "large"):
        assert emulator.invoke(name)["answer"] == f"I am {name}"
    assert emulator.on_disk() == emulator.in_memory() == {"large"}
    assert emulator.model("large")["downloads"] == 1


def test_a_model_larger_than_the_volume_is_refused_and_nothing_of_it_stays(scripted, bucket: Path) -> None:
    sized(bucket, "large", kib=1100)
    emulator = scripted("--storage", "1MB")
    error = refused(emulator.invoke, "large")
    assert error.code == "ValidationError"
    assert "unpacks to more than 1048576 bytes" in error.message
    assert emulator.instance()["volume"]["used_bytes"] == 0
    assert not stored_files(emulator)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    directory = tmp_path / "small"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", str(directory)]
    if os.geteuid() != 0 or not shutil.which("mount") or subprocess.call(mount, stderr=subprocess.DEVNULL):
        pytest.skip("mounting a small file system takes root")
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)


def test_a_disk_that_is_really_full_is_treated_as_a_full_volume(
    bucket: Path, journal: Journal, small_disk: Path
) -> None:
    sized(bucket, "a", "b", "c", kib=3000)
    sized(bucket, "large", kib=9000)
    emulator = InProcessEmulator(*scripted_arguments(bucket, journal, {}), state=small_disk)
    try:
        emulator.wait_in_service()
        for name in ("a", "b", "c", "a"):
            assert emulator.invoke(name)["answer"] == f"I am {name}"
        assert emulator.on_disk() == {"c", "a"}
        error = refused(emulator.invoke, "large")
        assert error.code == "ServiceUnavailable" and "no space left" in error.message
        assert emulator.invoke("b")["answer"] == "I am b"
    finally:
        emulator.stop()


# Without a cache


def test_without_a_cache_a_model_leaves_memory_and_disk_after_each_invocation(
    scripted, bucket: Path, journal: Journal
) -> None:
    models(bucket, "a")
    emulator = scripted("--no-cache")
    for _ in range(3):
        assert emulator.invoke("a")["answer"] == "I am a"
    eventually(lambda: not emulator.in_memory() and not emulator.on_disk())
    eventually(lambda: journal.calls("load", "invoke", "unload") == ["load", "invoke", "unload"] * 3)
    assert emulator.model("a")["downloads"] == 3
    eventually(lambda: not stored_files(emulator))


def test_without_a_cache_callers_at_the_same_time_share_a_model(
    scripted, bucket: Path, journal: Journal, pool: ThreadPoolExecutor
) -> None:
    models(bucket, "a", load={"delay": 0.5}, invoke={"delay": 0.3})
    emulator = scripted("--no-cache")
    answers = [call.result() for call in [pool.submit(emulator.invoke, "a", str(n)) for n in range(30)]]
    assert sorted(int(answer["body"]) for answer in answers) == list(range(30))
    eventually(lambda: not emulator.in_memory())
    eventually(lambda: len(journal.entries("load")) == len(journal.entries("unload")), what="all loads are undone")


def test_without_a_cache_as_many_models_load_at_once_as_there_are_vcpus(
    scripted, bucket: Path, journal: Journal, pool: ThreadPoolExecutor, gate: Path
) -> None:
    names = [str(n) for n in range(6)]
    models(bucket, *names, load={"lines": 1, "until": str(gate)})
    emulator = scripted("--no-cache", "--instance-type", "ml.m5.large")  # 2 vCPUs
    calls = [pool.submit(emulator.invoke, name) for name in names]
    eventually(lambda: sum(line.endswith(" line 1") for line in emulator.errors) == 2, what="two load at once")
    eventually(lambda: emulator.instance()["in_flight"] == 6)
    gate.touch()
    for call in calls:
        call.result()
    loads = [(load["time"] - load["seconds"], load["time"]) for load in journal.entries("load")]
    assert max(sum(a < end and start < b for a, b in loads) for start, end in loads) <= 3  # one before, one after
    starts = sorted(start for start, _ in loads)
    ends = sorted(end for _, end in loads)
    assert all(ends[n] <= starts[n + 2] + 0.05 for n in range(4))


# Invocations


def test_an_invocation_that_takes_too_long_is_a_model_error_and_the_model_stays(
    scripted, bucket: Path, journal: Journal
) -> None:
    models(bucket, "a", invoke={"times": 1, "delay": 3})
    emulator = scripted("--limit", "invocation_seconds=1")
    error = refused(emulator.invoke, "a")
    assert error.from_the_container == ("ModelError", 0)
    assert (
        "Your invocation timed out while waiting for a response from container primary. Review the latency metrics "
        "for each container in Amazon CloudWatch, resolve the issue, and try again." in error.message
    )
    assert emulator.in_memory() == {"a"} and in_flight(emulator, "a") == 0
    # Were the connection used again, these would get the late answer of the first.
    for n in range(5):
        assert emulator.invoke("a", str(n))["body"] == str(n)
    assert emulator.model("a")["loads"] == 1


def test_a_model_that_the_container_forgot_is_loaded_again_and_the_call_succeeds(
    emulator: SharedInProcessEmulator, calls_of: Calls
) -> None:
    name = emulator.model_of("forgetful", invoke={"times": 2, "forget": True})
    assert refused(emulator.invoke, name).from_the_container == ("ModelError", 404)
    assert emulator.invoke(name)["answer"] == name
    assert len(calls_of("load")) == 3


def test_many_callers_of_a_model_that_the_container_forgot_are_all_answered(
    scripted, bucket: Path, journal: Journal, pool: ThreadPoolExecutor
) -> None:
    models(bucket, "a", load={"delay": 0.2})
    models(bucket, "b")
    emulator = scripted()
    emulator.invoke("a")
    name = next(iter(journal_names(emulator)))
    port = emulator.container()["address"].rsplit(":", 1)[1]
    for _ in range(5):
        http_delete(int(port), f"/models/{name}")
        answers = [call.result() for call in [pool.submit(emulator.invoke, "a") for _ in range(40)]]
        assert {answer["answer"] for answer in answers} == {"I am a"}
    assert emulator.model("a")["loads"] == 6


def http_delete(port: int, path: str) -> None:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("DELETE", path)
    assert connection.getresponse().status == 200
    connection.close()


def test_a_handlers_own_404_is_a_model_error_and_the_model_stays(
    emulator: SharedInProcessEmulator, calls_of: Calls
) -> None:
    name = emulator.model_of("own-404", invoke={"status": 404, "body": "no such house"})
    for _ in range(2):
        error = refused(emulator.invoke, name)
        assert error.from_the_container == ("ModelError", 404) and "no such house" in error.message
    assert calls_of("load", "invoke", "unload") == ["load", "invoke", "invoke"]


# Archives that change


def test_an_overwritten_archive_is_served_on_in_the_old_version_with_one_warning(scripted, bucket: Path) -> None:
    models(bucket, "a")
    emulator = scripted("--limit", "poll_seconds=0.1")
    emulator.invoke("a")
    scripted_model(bucket / "a", "I am new")
    emulator.wait_until_logged("changed    a in S3")
    assert emulator.invoke("a")["answer"] == "I am a"
    polls = len(Journal(bucket.parent / "journal.jsonl").entries("ping")) + 5
    eventually(lambda: len(Journal(bucket.parent / "journal.jsonl").entries("ping")) > polls)
    assert emulator.log.count("changed    a in S3") == 1


def test_with_reload_an_overwritten_archive_is_served_at_once(scripted, bucket: Path) -> None:
    models(bucket, "a")
    emulator = scripted("--reload")
    assert emulator.invoke("a")["answer"] == "I am a"
    for version in range(3):
        scripted_model(bucket / "a", f"I am version {version}")
        assert emulator.invoke("a")["answer"] == f"I am version {version}"
    eventually(lambda: emulator.model("a")["unloads"] == 3)
    eventually(lambda: len(stored_files(emulator)) == 2)
    eventually(lambda: emulator.instance()["volume"]["used_bytes"] < 200)


def test_with_reload_a_new_version_is_served_while_the_old_one_is_in_flight(
    scripted, bucket: Path, pool: ThreadPoolExecutor, gate: Path
) -> None:
    models(bucket, "a", invoke={"until": str(gate)})
    emulator = scripted("--reload")
    old = pool.submit(emulator.invoke, "a")
    eventually(lambda: in_flight(emulator, "a"))
    scripted_model(bucket / "a", "I am new")
    assert emulator.invoke("a")["answer"] == "I am new"
    assert not old.done(), "the new version did not wait for the old one"
    gate.touch()
    assert old.result()["answer"] == "I am a"
    eventually(lambda: len(stored_files(emulator)) == 2)
    assert emulator.invoke("a")["answer"] == "I am new"
    assert emulator.model("a")["loads"] == 2


def test_with_reload_a_version_that_comes_during_a_load_is_served_to_those_who_call_then(
    scripted, bucket: Path, pool: ThreadPoolExecutor, gate: Path
) -> None:
    models(bucket, "a", load={"until": str(gate)})
    emulator = scripted("--reload")
    old = pool.submit(emulator.invoke, "a")
    eventually(lambda: emulator.model("a")["on_disk"])
    scripted_model(bucket / "a", "I am new")
    new = pool.submit(emulator.invoke, "a")
    eventually(lambda: emulator.instance()["in_flight"] == 2)
    gate.touch()
    assert old.result()["answer"] == "I am a" and new.result()["answer"] == "I am new"


def test_with_reload_a_changed_model_on_disk_only_is_fetched_anew(scripted, bucket: Path) -> None:
    models(bucket, "a", "b")
    emulator = scripted("--reload", "--max-loaded-models", "1")
    emulator.invoke("a")
    emulator.invoke("b")
    scripted_model(bucket / "a", "I am new")
    assert emulator.invoke("a")["answer"] == "I am new"


@pytest.mark.parametrize("options", [(), ("--reload",)], ids=["plain", "reload"])
def test_a_model_deleted_from_s3_is_served_on_while_it_is_loaded_or_on_disk(
    scripted, bucket: Path, options: tuple[str, ...]
) -> None:
    models(bucket, "a", "b")
    emulator = scripted("--max-loaded-models", "1", *options)
    emulator.invoke("a")
    (bucket / "a").unlink()
    assert emulator.invoke("a")["answer"] == "I am a"
    emulator.invoke("b")
    assert emulator.in_memory() == {"b"}
    assert emulator.invoke("a")["answer"] == "I am a"
    model = emulator.model("a")
    assert not model["in_s3"] and model["on_disk"] and model["in_memory"]
