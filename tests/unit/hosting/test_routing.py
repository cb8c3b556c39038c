"""Which variant and which instance an invocation goes to, for any state that they can be in."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from emulator.hosting import routing
from emulator.hosting.multi_model_container import ModelLocation

BUSY = 8


@dataclass(eq=False)
class Seen:
    """An instance as it is seen from outside."""

    healthy: bool
    in_flight: int
    loaded_count: int
    where: ModelLocation

    def location_of(self, _: str) -> ModelLocation:
        return self.where


INSTANCES = st.lists(
    st.builds(Seen, st.booleans(), st.integers(0, 2 * BUSY), st.integers(0, 3), st.sampled_from(ModelLocation)),
    min_size=1,
    max_size=6,
)


@given(INSTANCES, st.data())
def test_who_can_serve_at_once_goes_before_who_cannot(instances: list[Seen], data: st.DataObject) -> None:
    unreachable = data.draw(st.lists(st.sampled_from(instances), unique_by=id, max_size=len(instances) - 1))
    for chosen in (
        routing.for_model(instances, "a", BUSY, unreachable),
        routing.for_any(instances, True, random.Random(0), unreachable),
        routing.for_any(instances, False, random.Random(0), unreachable),
    ):
        assert chosen in instances
        if len(instances) > 1:
            assert chosen not in unreachable
            assert chosen.healthy or not any(each.healthy for each in instances if each not in unreachable)


@given(INSTANCES)
def test_a_model_stays_where_it_is_unless_that_is_busy(instances: list[Seen]) -> None:
    chosen = routing.for_model(instances, "a", BUSY)
    candidates = [each for each in instances if each.healthy] or instances
    if chosen.where < max(each.where for each in candidates):
        closest = [each for each in candidates if each.where == max(c.where for c in candidates)]
        assert all(each.in_flight >= BUSY for each in closest)
        assert chosen.in_flight < BUSY
    else:
        having = [each for each in candidates if each.where == chosen.where]
        assert chosen.in_flight == min(each.in_flight for each in having)


@given(INSTANCES)
def test_a_new_model_goes_to_the_idlest(instances: list[Seen]) -> None:
    for each in instances:
        each.where = ModelLocation.NOWHERE
    chosen = routing.for_model(instances, "a", BUSY)
    candidates = [each for each in instances if each.healthy] or instances
    assert (chosen.in_flight, chosen.loaded_count) == min((each.in_flight, each.loaded_count) for each in candidates)


@dataclass(frozen=True)
class Share:
    """A variant's weight."""

    weight: float


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 20.0]), min_size=1, max_size=4))
def test_a_variant_of_no_weight_is_never_chosen_unless_all_are_alike(weights: list[float]) -> None:
    variants = [Share(weight) for weight in weights]
    generator = random.Random(0)
    chosen = Counter(routing.by_weight(variants, generator) for _ in range(50))
    if any(weights):
        assert all(variant.weight for variant in chosen) or len(variants) == 1
