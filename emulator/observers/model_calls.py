"""The latest calls of models, and how large these are: what the what-if line is computed from when somebody looks."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from emulator.events import CallEnded, EndpointDeleted, Events, ModelDownloaded, ModelLoaded, Origin
from emulator.what_if import HitRatioCurve, ModelCall, VariantMemory, WhatIf

KEPT_CALLS = 25_000  # [ours] that nobody has looked at yet: 5 MB
CALLS_AT_ONCE = 250  # [ours] about a millisecond of the event loop's time

VariantKey = tuple[str, str]  # endpoint name, variant name
ModelKey = tuple[str, str]  # endpoint name, target model


class ModelCalls:
    """Keeps calls until somebody looks, and of those before only the curves."""

    def __init__(self) -> None:
        # Of each: endpoint name, variant name, target model, whether it was a hit, when it came, how long it waited.
        self._calls: deque[tuple[str, str, str, bool, float, int]] = deque(maxlen=KEPT_CALLS)
        self._on_disk: dict[ModelKey, int] = {}  # bytes
        self._in_memory: dict[ModelKey, int] = {}  # bytes, of those that were measured
        self._base: dict[VariantKey, int] = {}  # the least bytes that were in use before a load
        self._curves: dict[VariantKey, HitRatioCurve] = {}

    def listen_to(self, events: Events) -> None:
        events.subscribe(self._called, CallEnded)
        events.subscribe(self._downloaded, ModelDownloaded)
        events.subscribe(self._loaded, ModelLoaded)
        events.subscribe(self._deleted, EndpointDeleted)

    async def what_if(self, variants: Iterable[VariantMemory]) -> WhatIf:
        """The curves of these variants. One whose memory has changed begins anew, with the calls that come then."""
        shown = {(memory.endpoint_name, memory.variant_name): memory for memory in variants}
        for key, memory in shown.items():
            known = self._curves.get(key)
            if key in self._base and (known is None or known.memory != memory):
                self._curves[key] = HitRatioCurve(memory, self._base[key])
        # Where calls before these were dropped, nothing is known of what was in memory: the first only fill it.
        only_fill = KEPT_CALLS // 2 if len(self._calls) == KEPT_CALLS else 0
        for done in range(len(self._calls)):
            if done % CALLS_AT_ONCE == 0:
                await asyncio.sleep(0)
            if not self._calls:  # somebody else looks as well
                break
            endpoint_name, variant_name, target_model, hit, received, wait_us = self._calls.popleft()
            curve = self._curves.get((endpoint_name, variant_name))
            model = endpoint_name, target_model
            size = self._in_memory.get(model, self._on_disk.get(model))
            if curve is not None and size is not None:
                curve.add(ModelCall(target_model, hit, received, wait_us / 1e6), size, counts=done >= only_fill)
        curves = [self._curves.get(key) or HitRatioCurve(memory, 0) for key, memory in shown.items()]
        return {"endpoints": [curve.result() for curve in curves]}

    def _called(self, event: CallEnded, _: Origin) -> None:
        """Each call passes here: it only keeps. What no container of many models has answered does not count."""
        invocation = event.invocation
        measured = invocation.measurements
        if measured.model_latency_us and measured.cache_hit is not None:
            self._calls.append(
                (
                    invocation.endpoint_name,
                    measured.variant_name,
                    invocation.target_model,
                    measured.cache_hit,
                    invocation.received,
                    measured.load_wait_us,
                )
            )

    def _downloaded(self, event: ModelDownloaded, origin: Origin) -> None:
        self._on_disk[origin.endpoint_name, event.target_model] = event.size_bytes

    def _loaded(self, event: ModelLoaded, origin: Origin) -> None:
        if event.memory_bytes is not None:
            self._in_memory[origin.endpoint_name, event.target_model] = event.memory_bytes
        variant = origin.endpoint_name, origin.variant_name
        self._base[variant] = min(event.used_before_bytes, self._base.get(variant, event.used_before_bytes))

    def _deleted(self, _: EndpointDeleted, origin: Origin) -> None:
        """Its name may be another's soon."""
        name = origin.endpoint_name
        self._calls = deque((call for call in self._calls if call[0] != name), KEPT_CALLS)
        for known in (self._on_disk, self._in_memory, self._base, self._curves):
            for key in [key for key in known if key[0] == name]:
                del known[key]
