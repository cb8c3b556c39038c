"""Lives that end at an unlucky moment, in the test's own process: nothing is left half ended, nothing is a fault."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from emulator.hosting.pinned_lru import PinnedEntry, PinnedLru, SingleFlight
from emulator.timeouts import in_time
from tests.support.fake_containers import DirectControlPlane, FakeContainers


async def eventually(endpoint: str, control_plane: DirectControlPlane, status: str) -> None:
    async def look() -> None:
        while not (await control_plane.status(endpoint)).startswith(status):
            await asyncio.sleep(0.001)

    await in_time(look(), 20)


def test_an_endpoint_whose_container_keeps_dying_can_be_deleted_at_any_moment(
    containers: FakeContainers, tmp_path: Path
) -> None:
    rng = random.Random(1)

    async def short(number: int) -> None:
        """The first run of each endpoint is long enough to be healthy."""
        await asyncio.sleep(0.01 if number % 5 == 0 else rng.uniform(0, 0.004))

    async def scenario() -> None:
        control_plane = DirectControlPlane(tmp_path, restart_seconds=0.001)
        containers.life = short
        async with containers.serving():
            await control_plane.configure("c")
            for _ in range(3):
                names = [f"e{n}" for n in range(15)]
                for name in names:
                    await control_plane.call("CreateEndpoint", EndpointName=name, EndpointConfigName="c")
                await asyncio.sleep(rng.uniform(0.005, 0.03))
                while names:
                    refused = []
                    for name in names:
                        status, _ = await control_plane.call("DeleteEndpoint", EndpointName=name)
                        if status != 200:  # it is Creating
                            refused.append(name)
                    names = refused
                    await asyncio.sleep(0.001)
                for n in range(15):
                    await eventually(f"e{n}", control_plane, "Could not find")
            await control_plane.close()
        assert containers.running == 0

    asyncio.run(scenario())


def test_control_plane_calls_of_any_kind_at_any_moment_are_answered_and_never_a_fault(
    containers: FakeContainers, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rng = random.Random(2)
    outcomes: Counter[tuple[str, int]] = Counter()
    faults: list[dict[str, Any]] = []

    async def life(_: int) -> None:
        await asyncio.sleep(rng.choice([0.0, 0.002, 60]))

    def calls(name: str) -> list[tuple[str, dict[str, Any]]]:
        weights = [{"VariantName": "A", "DesiredWeight": rng.random(), "DesiredInstanceCount": rng.randint(1, 2)}]
        return [
            ("CreateEndpoint", {"EndpointName": name, "EndpointConfigName": "c"}),
            ("DeleteEndpoint", {"EndpointName": name}),
            ("DescribeEndpoint", {"EndpointName": name}),
            ("ListEndpoints", {"StatusEquals": rng.choice(["Deleting", "InService", "Failed"])}),
            ("ListEndpoints", {}),
            ("UpdateEndpoint", {"EndpointName": name, "EndpointConfigName": "c"}),
            ("UpdateEndpointWeightsAndCapacities", {"EndpointName": name, "DesiredWeightsAndCapacities": weights}),
        ]

    async def caller(control_plane: DirectControlPlane) -> None:
        for _ in range(70):
            operation, asked = rng.choice(calls(rng.choice("abc")))
            status, told = await control_plane.call(operation, **asked)
            outcomes[operation, status] += 1
            if status >= 500:
                faults.append(told)
            if rng.random() < 0.3:
                await asyncio.sleep(rng.uniform(0, 0.003))

    async def scenario() -> None:
        control_plane = DirectControlPlane(tmp_path, restart_seconds=0.001)
        containers.life = life
        async with containers.serving():
            await control_plane.configure("c")
            await asyncio.gather(*(caller(control_plane) for _ in range(12)))
            for name in "abc":  # and each can still be deleted
                while not (await control_plane.status(name)).startswith("Could not find"):
                    await control_plane.call("DeleteEndpoint", EndpointName=name)
                    await asyncio.sleep(0.001)
            assert await control_plane.call("ListEndpoints") == (200, {"Endpoints": []})
            await control_plane.close()
        assert containers.running == 0

    with caplog.at_level(logging.ERROR):
        asyncio.run(in_time(scenario(), 120))
    assert not faults and not caplog.records
    assert len(outcomes) == 11, "each operation is answered; each but the list is refused at times"


def test_what_fails_after_it_was_given_up_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    async def bring(name: str) -> PinnedEntry:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise OSError("the connection is closed") from None
        return PinnedEntry(name, 1)

    async def scenario() -> None:
        residents: PinnedLru[PinnedEntry] = PinnedLru()
        arrivals = SingleFlight(residents, bring, residents.unpin)
        waiting = [asyncio.ensure_future(arrivals.join(name)) for name in "aab"]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        arrivals.abandon(ValueError("the container has ended"))
        told = await asyncio.gather(*waiting, return_exceptions=True)
        assert [str(error) for error in told] == ["the container has ended"] * 3

    asyncio.run(scenario(), debug=False)
    assert not caplog.records


def test_a_container_that_cannot_be_stopped_or_started_once_is_replaced_and_deleted_nevertheless(
    containers: FakeContainers, tmp_path: Path
) -> None:
    async def scenario() -> None:
        control_plane = DirectControlPlane(tmp_path, restart_seconds=0.001)
        death = asyncio.Event()

        async def life(number: int) -> None:
            await (death.wait() if number == 0 else asyncio.Event().wait())

        containers.life = life
        async with containers.serving():
            await control_plane.configure("c")
            await control_plane.call("CreateEndpoint", EndpointName="e", EndpointConfigName="c")
            await eventually("e", control_plane, "InService")
            containers.failing = ["stop", "start"]
            death.set()
            endpoint = control_plane.endpoints.get("e")
            assert endpoint is not None
            while containers.failing or not endpoint.variants[0].instances[0].healthy:
                await asyncio.sleep(0.001)
            containers.failing = ["stop"]
            assert (await control_plane.call("DeleteEndpoint", EndpointName="e"))[0] == 200
            await eventually("e", control_plane, "Could not find")
            await control_plane.close()
        assert containers.running == 0 and not containers.failing

    asyncio.run(in_time(scenario(), 60))
