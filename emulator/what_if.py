"""The what-if line: which hit ratio calls would have had with other amounts of memory, by simulation.

Each amount has a simulated memory of its own, which takes the calls in the order in which they ended: a call is a hit
if its model is there, and its load was over when the call came. For a model that is not there, the least recently used
ones leave until it fits. What differs from the real thing is in docs/how-it-works.md.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple, TypedDict

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the memory that each instance has
FEWEST_CALLS = 100  # [ours] to tell anything by


class WhatIfPoint(TypedDict):
    memory_factor: float
    hit_ratio: float | None  # None = not even the container alone would fit


class WhatIfVariant(TypedDict):
    """A variant with a multi-model container."""

    endpoint_name: str
    variant_name: str
    calls: int  # that the points are computed from
    measured_hit_ratio: float | None  # of the same calls; None = there were none
    points: list[WhatIfPoint]  # by memory; empty where nothing can be told
    reason: str  # why there are no points; empty = there are


class WhatIf(TypedDict):
    """The page ``/_localmme/what-if``."""

    endpoints: list[WhatIfVariant]


@dataclass(frozen=True)
class VariantMemory:
    """The memory of a variant's instances. Sizes in bytes."""

    endpoint_name: str
    variant_name: str
    instance_count: int
    budget_bytes: int  # of each instance
    watermark: float  # share of it that loading may fill
    most_models: int | None  # on each instance; None = as many as fit
    keeps_models: bool  # False: each is unloaded after its call (ModelCacheSetting)


class ModelCall(NamedTuple):
    """A call that its model's container answered."""

    target_model: str
    hit: bool  # as measured
    received: float  # in seconds, since whatever moment
    wait_seconds: float  # that it waited for its model


class SimulatedMemory:
    """The models in one memory; the least recently used one leaves first."""

    def __init__(self, capacity_bytes: float, most_models: int | None = None) -> None:
        self._capacity_bytes, self._most_models = capacity_bytes, most_models
        self._models: OrderedDict[str, tuple[int, float]] = OrderedDict()  # size, and when its load is over
        self._used = 0

    def call(self, target_model: str, size_bytes: int, received: float, load_seconds: float) -> bool:
        """Whether it is a hit. One model is always let in, however large it is."""
        there = self._models.get(target_model)
        if there is not None:
            self._models.move_to_end(target_model)
            return received >= there[1]
        while self._models and not self._fits(size_bytes):
            _, (size, _) = self._models.popitem(last=False)
            self._used -= size
        self._models[target_model] = size_bytes, received + load_seconds
        self._used += size_bytes
        return False

    def _fits(self, size_bytes: int) -> bool:
        if self._most_models is not None and len(self._models) >= self._most_models:
            return False
        return self._used + size_bytes <= self._capacity_bytes


class HitRatioCurve:
    """The hit ratios of one variant's calls by memory. Its instances count as one memory, as the routing has each
    model on one of them, unless that one is busy."""

    def __init__(self, memory: VariantMemory, base_bytes: int) -> None:
        """``base_bytes`` is what an instance's containers take without models."""
        self.memory = memory
        self._calls = self._measured_hits = 0
        self._load_seconds: dict[str, float] = {}  # by target model, of its last load
        self._memories: dict[float, SimulatedMemory] = {}
        self._hits = dict.fromkeys(FACTORS, 0)
        self._base_bytes = base_bytes
        self.empty()

    def empty(self) -> None:
        """No model is in memory any more: the instances are others."""
        count, most = self.memory.instance_count, self.memory.most_models
        for factor in FACTORS:
            each = self.memory.budget_bytes * factor * self.memory.watermark - self._base_bytes
            if each > 0:
                self._memories[factor] = SimulatedMemory(each * count, None if most is None else most * count)

    def add(self, call: ModelCall, size_bytes: int, counts: bool = True) -> None:
        """One more call. Without ``counts`` it only changes what is in memory."""
        name, hit, received, wait_seconds = call
        if not hit:
            self._load_seconds[name] = wait_seconds
        load_seconds = self._load_seconds.get(name, 0.0)
        for factor, memory in self._memories.items():
            if memory.call(name, size_bytes, received, load_seconds) and counts:
                self._hits[factor] += 1
        if counts:
            self._calls += 1
            self._measured_hits += hit

    def result(self) -> WhatIfVariant:
        reason, points = "", list[WhatIfPoint]()
        if not self.memory.keeps_models:
            reason = "models leave the memory after each call (ModelCacheSetting), however much there is of it"
        elif self._calls < FEWEST_CALLS:
            reason = f"{self._calls} calls are too few to tell by: it takes {FEWEST_CALLS}"
        else:
            for factor in FACTORS:
                ratio = self._hits[factor] / self._calls if factor in self._memories else None
                points.append({"memory_factor": factor, "hit_ratio": ratio})
        return {
            "endpoint_name": self.memory.endpoint_name,
            "variant_name": self.memory.variant_name,
            "calls": self._calls,
            "measured_hit_ratio": self._measured_hits / self._calls if self._calls else None,
            "points": points,
            "reason": reason,
        }
