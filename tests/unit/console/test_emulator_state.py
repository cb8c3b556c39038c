"""The page ``/_localmme/state`` has the names and the values that users of the page read."""

from __future__ import annotations

import asyncio
import json
import time
import typing
from pathlib import Path
from typing import Any

import pytest

from emulator.console.emulator_state import emulator_state
from emulator.invocation import Invocation
from emulator.observers.model_counts import CountsByEndpoint
from emulator.state import EndpointState
from tests.support.fake_containers import DirectControlPlane, FakeContainers
from tests.support.files import archive
from tests.support.repository import REPOSITORY


class Counted:
    """A control plane with one endpoint, E, and what the page says of it."""

    def __init__(self, directory: Path) -> None:
        self.control_plane = DirectControlPlane(directory)
        self.counts = CountsByEndpoint(time.time)
        self.counts.listen_to(self.control_plane.events)

    async def create(self) -> None:
        await self.control_plane.call("CreateEndpoint", EndpointName="E", EndpointConfigName="c")
        while await self.control_plane.status("E") != "InService":
            await asyncio.sleep(0.001)

    async def invoke(self, target_model: str) -> None:
        endpoint = self.control_plane.endpoints.get("E")
        assert endpoint is not None
        invocation = Invocation("E", b"?", time.perf_counter(), target_model=target_model)
        await endpoint.variant_for(invocation).invoke(invocation)

    async def delete(self) -> None:
        await self.control_plane.call("DeleteEndpoint", EndpointName="E")
        while self.control_plane.endpoints.get("E"):
            await asyncio.sleep(0.001)

    async def state(self) -> EndpointState:
        page = await emulator_state("http://127.0.0.1:8080", self.control_plane.endpoints, self.counts)
        assert page["url"] == "http://127.0.0.1:8080"
        [endpoint] = page["endpoints"]
        return endpoint


@pytest.fixture
def models(tmp_path: Path) -> None:
    for name in ("a", "b"):
        archive(tmp_path / "s3" / "bucket" / f"{name}.tar.gz", {"weights": "x" * 100})


@pytest.mark.usefixtures("models")
def test_the_state_of_an_endpoint_is_as_users_know_it(containers: FakeContainers, tmp_path: Path) -> None:
    async def scenario() -> EndpointState:
        counted = Counted(tmp_path)
        async with containers.serving():
            await counted.control_plane.configure("c")
            await counted.create()
            await counted.invoke("a.tar.gz")
            state = await counted.state()
            await counted.control_plane.close()
        return state

    state: Any = json.loads(json.dumps(asyncio.run(scenario())))
    [variant] = state["variants"]
    [instance] = variant["instances"]
    used, unused = state["models"]
    model_name, last_used = (instance["memory"]["models"][0][name] for name in ("model_name", "last_used"))
    assert abs(last_used - used["last_used"]) < 60
    names = ("load_wait_us", "mean_load_wait_us", "model_latency_us", "last_loaded", "last_used")
    times = {name: used.pop(name) for name in names}
    assert all(times.values())
    never = {"loads": 0, "failed_loads": 0, "unloads": 0, "invocations": 0, "cache_hits": 0, "model_errors": 0}
    nowhere = {"on_disk": False, "in_memory": False, "size_on_disk_bytes": 0, "memory_bytes": None, "instances": []}
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "s3" / "bucket").iterdir()}
    assert unused == {
        "target_model": "b.tar.gz",
        "in_s3": True,
        "size_bytes": sizes["b.tar.gz"],
        "downloads": 0,
        "load_wait_us": 0,
        "mean_load_wait_us": 0,
        "model_latency_us": 0,
        "last_loaded": None,
        "last_used": None,
        **nowhere,
        **never,
    }
    assert used == {
        "target_model": "a.tar.gz",
        "in_s3": True,
        "size_bytes": sizes["a.tar.gz"],
        "on_disk": True,
        "in_memory": True,
        "size_on_disk_bytes": used["size_on_disk_bytes"],
        "memory_bytes": 0,
        "instances": ["i-1"],
        **never,
        "downloads": 1,
        "loads": 1,
        "invocations": 1,
    }
    assert (state["endpoint_name"], state["status"], state["failure_reason"]) == ("E", "InService", "")
    assert {**variant, "instances": 1} == {"variant_name": "A", "weight": 1.0, "invocations": 1, "instances": 1}
    assert instance == {
        "instance_id": "i-1",
        "healthy": True,
        "in_flight": 0,
        "containers": [
            {"name": "primary", "healthy": True, "address": f"127.0.0.1:{containers.port}", "restarts": 0},
        ],
        "memory": {
            "budget_bytes": 4 * 2**30,
            "used_bytes": 0,
            "max_loaded_models": None,
            "models": [
                {
                    "target_model": "a.tar.gz",
                    "model_name": model_name,
                    "in_flight": 0,
                    "memory_bytes": 0,
                    "last_used": last_used,
                }
            ],
            "loading": [],
            "unloading": [],
            "next_victim": "a.tar.gz",
            "expected_load_bytes": 0,
        },
        "volume": {
            "capacity_bytes": 100 * 2**30,
            "used_bytes": used["size_on_disk_bytes"],
            "models": [{"target_model": "a.tar.gz", "size_bytes": used["size_on_disk_bytes"]}],
            "downloading": [],
        },
    }


@pytest.mark.usefixtures("models")
def test_an_endpoint_with_the_name_of_a_deleted_one_begins_at_zero(containers: FakeContainers, tmp_path: Path) -> None:
    async def scenario() -> list[list[int]]:
        counted, invocations = Counted(tmp_path), []
        async with containers.serving():
            await counted.control_plane.configure("c")
            for _ in range(2):
                await counted.create()
                invocations.append([model["invocations"] for model in (await counted.state())["models"]])
                await counted.invoke("a.tar.gz")
                invocations.append([model["invocations"] for model in (await counted.state())["models"]])
                await counted.delete()
            await counted.control_plane.close()
        return invocations

    assert asyncio.run(scenario()) == [[0, 0], [1, 0], [0, 0], [1, 0]]


def test_the_python_api_is_documented_with_every_name_of_the_state() -> None:
    text = (REPOSITORY / "docs" / "python-api.md").read_text()
    pending, seen = [EndpointState], set()
    while pending:
        kind = pending.pop()
        for name, of in typing.get_type_hints(kind).items():
            seen.add(name)
            pending += [each for each in (of, *typing.get_args(of)) if typing.is_typeddict(each)]
    assert "loading" in seen and "cache_hits" in seen
    assert [name for name in sorted(seen) if f"`{name}`" not in text] == []
