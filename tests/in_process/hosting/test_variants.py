"""Production variants share an endpoint's traffic by weight; instances of a variant share its models."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from tests.support.emulator_in_process import InProcessEmulator, in_process_emulators
from tests.support.endpoint_files import described, many, scripted_container, variant
from tests.support.losing_an_instance import lose_one_under_load
from tests.support.scripted_models import Journal, scripted_model
from tests.support.waiting import eventually

Serve = Callable[..., InProcessEmulator]


def where(emulator: InProcessEmulator, target_model: str) -> set[str]:
    """The instances that have a model in memory."""
    return {
        instance["instance_id"]
        for instance in emulator.instances()
        if any(model["target_model"] == target_model for model in instance["memory"]["models"])
    }


# Variants


@pytest.fixture(scope="module")
def two_variants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessEmulator]:
    directory = tmp_path_factory.mktemp("variants")
    journal, bucket = Journal(directory / "journal.jsonl"), directory / "s3"
    models = {name: [many(scripted_container(journal, invoke={"body": name}), bucket)] for name in ("A", "B")}
    weights = [variant("A", InitialVariantWeight=9), variant("B", InitialVariantWeight=1)]
    scripted_model(bucket / "a.tar.gz")
    with in_process_emulators(directory) as start:
        yield start(described(directory / "endpoint.yaml", models, weights)).wait_in_service()


def test_traffic_is_divided_by_weight(two_variants: InProcessEmulator) -> None:
    def invoke(_: int) -> str:
        response = two_variants.client().invoke_endpoint(EndpointName="local", TargetModel="a.tar.gz", Body=b"")
        answer, named = response["Body"].read().decode(), response["InvokedProductionVariant"]
        assert answer == named
        return named

    def invocations() -> Counter[str]:
        return Counter({each["variant_name"]: each["invocations"] for each in two_variants.state()["variants"]})

    two_variants.client()
    count, before = 1000, invocations()
    with ThreadPoolExecutor(8) as callers:
        share = Counter(callers.map(invoke, range(count)))
    # 100 expected for B, with a standard deviation of 9.5: five of them leave one false alarm in two million runs.
    assert abs(share["B"] - count * 0.1) < 5 * (count * 0.1 * 0.9) ** 0.5
    assert invocations() - before == share
    assert {each["variant_name"]: each["weight"] for each in two_variants.state()["variants"]} == {"A": 9, "B": 1}


def test_a_caller_may_name_the_variant(two_variants: InProcessEmulator) -> None:
    for _ in range(5):
        response = two_variants.client().invoke_endpoint(
            EndpointName="local", TargetModel="a.tar.gz", TargetVariant="B", Body=b""
        )
        assert response["InvokedProductionVariant"] == "B" and response["Body"].read() == b"B"
    with pytest.raises(ClientError, match="Variant C not found") as caught:
        two_variants.invoke("a.tar.gz", TargetVariant="C")
    assert caught.value.response["Error"]["Code"] == "ValidationError"


def test_a_variant_of_no_weight_is_invoked_by_name_only(
    serve: Serve, bucket: Path, journal: Journal, tmp_path: Path
) -> None:
    models = {name: [many(scripted_container(journal, invoke={"body": name}), bucket)] for name in ("A", "B")}
    weights = [variant("A", InitialVariantWeight=0.5), variant("B", InitialVariantWeight=0)]
    scripted_model(bucket / "a.tar.gz")
    emulator = serve(described(tmp_path / "endpoint.yaml", models, weights))
    client = emulator.client()
    shares = Counter(
        client.invoke_endpoint(EndpointName="local", TargetModel="a.tar.gz", Body=b"")["InvokedProductionVariant"]
        for _ in range(30)
    )
    assert shares == {"A": 30}
    named = client.invoke_endpoint(EndpointName="local", TargetModel="a.tar.gz", TargetVariant="B", Body=b"")
    assert named["InvokedProductionVariant"] == "B"


# Instances


@pytest.fixture
def pool() -> Any:
    with ThreadPoolExecutor(64) as pool:
        yield pool


def test_a_model_stays_with_the_instance_that_has_it(scripted: Serve, bucket: Path) -> None:
    for name in "abcdef":
        scripted_model(bucket / name)
    emulator = scripted("--instances", "3")
    for _ in range(4):
        for name in "abcdef":
            emulator.invoke(name)
    assert all(len(where(emulator, name)) == 1 for name in "abcdef")
    assert sorted(len(instance["memory"]["models"]) for instance in emulator.instances()) == [2, 2, 2]
    assert all(emulator.model(name)["loads"] == 1 for name in "abcdef")


def test_a_model_returns_to_the_instance_that_has_it_on_disk(scripted: Serve, bucket: Path) -> None:
    for name in "abcd":
        scripted_model(bucket / name)
    emulator = scripted("--instances", "2", "--max-loaded-models", "1")
    emulator.invoke("a")
    [home] = where(emulator, "a")
    for name in "bcd":
        emulator.invoke(name)
    emulator.invoke("a")
    assert where(emulator, "a") == {home} and emulator.model("a")["downloads"] == 1


def in_flight(emulator: InProcessEmulator) -> list[int]:
    """The invocations under way on each instance."""
    return [instance["in_flight"] for instance in emulator.instances()]


def test_a_model_spreads_when_its_instance_is_busy(
    scripted: Serve, bucket: Path, pool: ThreadPoolExecutor, gate: Path
) -> None:
    scripted_model(bucket / "a", "I am a", invoke={"until": str(gate)})
    emulator = scripted("--instances", "3", "--limit", "busy_invocations=4")
    calls = [pool.submit(emulator.invoke, "a") for _ in range(4)]
    eventually(lambda: sorted(in_flight(emulator)) == [0, 0, 4] and len(where(emulator, "a")) == 1)
    calls += [pool.submit(emulator.invoke, "a") for _ in range(8)]
    eventually(lambda: sum(in_flight(emulator)) == 12 and len(where(emulator, "a")) == 3)
    gate.touch()
    assert {call.result()["answer"] for call in calls} == {"I am a"}


def test_instances_fail_and_are_replaced_while_others_serve(
    scripted: Serve, bucket: Path, journal: Journal, gate: Path
) -> None:
    def kill(_: InProcessEmulator, container: dict[str, Any]) -> None:
        port = int(container["address"].rsplit(":", 1)[1])
        starts = [entry for entry in journal.entries() if entry.get("event") == "start"]
        gate.unlink()
        os.kill(next(entry["pid"] for entry in starts if entry["port"] == port), signal.SIGKILL)

    gate.touch()
    lose_one_under_load(scripted, bucket, kill, {"until": str(gate)}, gate.touch)


def test_calls_go_to_whoever_can_be_reached(scripted: Serve, bucket: Path, journal: Journal) -> None:
    """A container that is gone but not yet known to be: nothing was sent to it, so another one takes the call."""
    for name in "ab":
        scripted_model(bucket / name, f"I am {name}")
    emulator = scripted("--instances", "2")
    for name in "ab":
        emulator.invoke(name)
    pids = [entry["pid"] for entry in journal.entries() if entry.get("event") == "start"]
    os.kill(pids[0], signal.SIGKILL)
    eventually(lambda: not psutil.pid_exists(pids[0]))
    for _ in range(20):
        for name in "ab":
            assert emulator.invoke(name)["answer"] == f"I am {name}"


def test_when_no_instance_is_healthy_calls_wait_for_one(
    scripted: Serve, bucket: Path, journal: Journal, pool: ThreadPoolExecutor, gate: Path
) -> None:
    scripted_model(bucket / "a", "I am a")
    gate.touch()
    emulator = scripted("--instances", "2", start={"until": str(gate)})
    gate.unlink()
    pids = [entry["pid"] for entry in journal.entries() if entry.get("event") == "start"]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not any(instance["healthy"] for instance in emulator.instances()))
    call = pool.submit(emulator.invoke, "a")
    eventually(lambda: sum(in_flight(emulator)) == 1)
    gate.touch()
    assert call.result()["answer"] == "I am a"


def test_requests_for_a_single_model_are_spread_at_random_or_by_load(
    serve: Serve, journal: Journal, tmp_path: Path, pool: ThreadPoolExecutor, gate: Path
) -> None:
    container = scripted_container(journal, invoke={"until": str(gate)})
    least = variant("m", InitialInstanceCount=3, RoutingConfig={"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"})
    emulator = serve(described(tmp_path / "endpoint.yaml", {"m": [container]}, [least]))
    emulator.client()

    def invoke(_: int) -> None:
        emulator.client().invoke_endpoint(EndpointName="local", Body=b"")

    calls = [pool.submit(invoke, number) for number in range(9)]
    eventually(lambda: in_flight(emulator) == [3, 3, 3])
    gate.touch()
    for call in calls:
        call.result()
    assert set(Counter(entry["port"] for entry in journal.entries("invoke")).values()) == {3}


def test_a_random_choice_reaches_every_instance(serve: Serve, journal: Journal, tmp_path: Path) -> None:
    container = scripted_container(journal)
    emulator = serve(described(tmp_path / "endpoint.yaml", {"m": [container]}, [variant("m", InitialInstanceCount=3)]))
    for _ in range(60):
        emulator.client().invoke_endpoint(EndpointName="local", Body=b"")
    share = Counter(entry["port"] for entry in journal.entries("invoke"))
    assert len(share) == 3 and min(share.values()) >= 5  # 20 expected: fewer than 5 is one in 50,000 runs


def test_the_log_says_which_instance(scripted: Serve, bucket: Path) -> None:
    scripted_model(bucket / "a")
    emulator = scripted("--instances", "2")
    emulator.invoke("a")
    [home] = where(emulator, "a")
    assert f"loaded     a on {home} (" in emulator.log
    logs = emulator.state_directory / "logs" / "local" / "AllTraffic"
    eventually(lambda: sorted(path.name for path in logs.glob("*")) == ["i-1", "i-2"])


def test_several_endpoints_have_their_own_containers(
    serve: Serve, bucket: Path, journal: Journal, tmp_path: Path
) -> None:
    path = Path(described(tmp_path / "endpoint.yaml", {"m": [scripted_container(journal)]}))
    described_ = json.loads(path.read_text())
    described_["Endpoints"].append({"EndpointName": "other", "EndpointConfigName": "config"})
    path.write_text(json.dumps(described_))
    emulator = serve(str(path))
    eventually(lambda: emulator.health() == 200)
    for name in ("local", "other", "local"):
        emulator.client().invoke_endpoint(EndpointName=name, Body=b"")
    assert sorted(Counter(entry["port"] for entry in journal.entries("invoke")).values()) == [1, 2]
    assert {line.split()[1] for line in emulator.output} == {"local", "other"}
