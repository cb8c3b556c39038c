"""The what-if line of an endpoint at virtual time, against what its calls measured."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from emulator.events import CallEnded, EndpointDeleted
from emulator.hosting.definition import ModelDefinition, VariantDefinition
from emulator.observers import model_calls
from tests.support.console_pages import Pages
from tests.support.virtual_endpoint import MANY, VirtualEndpoint, resources

MODELS, ROUNDS = 30, 400
PAUSE_SECONDS = 10.0  # of a client between two calls; a load takes five


async def traffic(virtual: VirtualEndpoint, clients: int) -> None:
    """Calls of a few models often and of others seldom, by several clients at the same time."""
    generator = random.Random(7)
    weights = [1 / (1 + number) for number in range(MODELS)]

    async def client() -> None:
        for name in generator.choices([f"m{number}" for number in range(MODELS)], weights, k=ROUNDS // clients):
            call = await virtual.invoke(name)
            virtual.events.publish(CallEnded(call, virtual.clock.elapsed(), 200, 0, 0))
            await asyncio.sleep(generator.expovariate(1 / PAUSE_SECONDS))

    await asyncio.gather(*(client() for _ in range(clients)))


async def line(pages: Pages) -> Any:
    [variant] = (await pages.get("what-if")).json()["endpoints"]
    return variant


@pytest.mark.parametrize("instances, clients, tolerance", [(1, 1, 0.0), (1, 4, 0.03), (2, 4, 0.03)])
def test_with_the_memory_that_there_is_it_says_what_was_measured(
    tmp_path: Path, instances: int, clients: int, tolerance: float
) -> None:
    """Of calls one after the other exactly; docs/events.md names what is simulated otherwise of several at a time."""
    variant = VariantDefinition(ModelDefinition([MANY]), resources(6, MODELS), name="A", instance_count=instances)
    virtual = VirtualEndpoint(tmp_path, variant)
    pages = Pages(virtual)

    async def story() -> None:
        before = await line(pages)
        assert before["points"] == [] and before["reason"].startswith("0 calls are too few")
        await traffic(virtual, clients)
        first, again = await line(pages), await line(pages)
        assert first == again and first["calls"] == ROUNDS
        ratios = {point["memory_factor"]: point["hit_ratio"] for point in first["points"]}
        assert ratios[1.0] == pytest.approx(first["measured_hit_ratio"], abs=tolerance)
        assert ratios[0.5] < ratios[1.0] < ratios[2.0]

    pages.live(story)


def test_calls_that_nobody_looks_at_are_bounded_and_the_first_of_them_only_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_calls, "KEPT_CALLS", 300)
    virtual = VirtualEndpoint(tmp_path)
    pages = Pages(virtual)

    async def story() -> None:
        await traffic(virtual, 2)
        assert (await line(pages))["calls"] == 150
        virtual.endpoint.events.publish(EndpointDeleted())
        assert (await line(pages))["calls"] == 0

    pages.live(story)
