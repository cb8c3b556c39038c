"""Which variant an invocation goes to, and which of its instances."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import Protocol, TypeVar


class Weighted(Protocol):
    """Something with a share of the traffic."""

    weight: float


class Candidate(Protocol):
    """What routing has to know about an instance."""

    in_flight: int

    @property
    def healthy(self) -> bool: ...

    @property
    def loaded_count(self) -> int: ...

    def location_of(self, target_model: str) -> int: ...


W = TypeVar("W", bound=Weighted)
C = TypeVar("C", bound=Candidate)


def by_weight(variants: Sequence[W], generator: random.Random) -> W:
    """One of the variants at random, each as often as its share of the sum of the weights. [api]"""
    if len(variants) == 1:
        return variants[0]
    weights = [variant.weight for variant in variants]
    return generator.choices(variants, weights if sum(weights) > 0 else None)[0]


def for_model(instances: Sequence[C], target_model: str, busy: int, without: Collection[C] = ()) -> C:
    """The instance for an invocation of one model of many.

    [dg] A model stays with the instance that has it, and spreads to another one under load; so:
    the instance that has it in memory, else on disk, else the idlest one. When ``busy`` invocations are
    under way there, the idlest of the others takes it, and loads the model too.
    """
    if len(instances) == 1:
        return instances[0]
    candidates = _usable(instances, without)
    closest = max(candidate.location_of(target_model) for candidate in candidates)
    chosen = min((c for c in candidates if c.location_of(target_model) == closest), key=_business)
    if chosen.in_flight >= busy:
        chosen = min(candidates, key=lambda c: (c.in_flight >= busy and c is not chosen, *_business(c)))
    return chosen


def for_any(
    instances: Sequence[C], least_outstanding: bool, generator: random.Random, without: Collection[C] = ()
) -> C:
    """The instance for an invocation of the one model that all have: by the variant's RoutingConfig."""
    if len(instances) == 1:
        return instances[0]
    candidates = _usable(instances, without)
    return min(candidates, key=_business) if least_outstanding else generator.choice(candidates)


def _usable(instances: Sequence[C], without: Collection[C]) -> list[C]:
    rest = [instance for instance in instances if instance not in without] or list(instances)
    return [instance for instance in rest if instance.healthy] or rest


def _business(instance: Candidate) -> tuple[int, int]:
    return instance.in_flight, instance.loaded_count
