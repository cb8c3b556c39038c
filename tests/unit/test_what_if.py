"""The what-if line: simulated memories against an independent definition of least recent use."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from emulator.what_if import FACTORS, FEWEST_CALLS, HitRatioCurve, ModelCall, SimulatedMemory, VariantMemory

MEMORY = VariantMemory("e", "v", 1, 100, 1.0, None, True)
names = st.lists(st.sampled_from("abcdefgh"), max_size=200)


def is_hit_of(calls: list[str], at: int, models: int) -> bool:
    """By stack distance: fewer others than fit were called since the last call of the model."""
    before = calls[:at]
    if calls[at] not in before:
        return False
    last = at - 1 - before[::-1].index(calls[at])
    return len(set(calls[last + 1 : at])) < models


@given(names, st.integers(1, 9))
def test_models_of_one_size_are_hits_by_their_stack_distance(calls: list[str], models: int) -> None:
    by_size, by_number = SimulatedMemory(10 * models), SimulatedMemory(10_000, models)
    expected = [is_hit_of(calls, at, models) for at in range(len(calls))]
    for memory in (by_size, by_number):
        assert [memory.call(name, 10, float(at), 0.0) for at, name in enumerate(calls)] == expected


@given(names, st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 60)), st.integers(1, 120))
def test_models_of_different_sizes_are_those_that_a_plain_list_has(
    calls: list[str], sizes: dict[str, int], capacity: int
) -> None:
    memory, there = SimulatedMemory(capacity), list[str]()
    for at, name in enumerate(calls):
        hit = name in there
        if hit:
            there.remove(name)
        while not hit and there and sum(sizes.get(each, 5) for each in (*there, name)) > capacity:
            del there[0]
        there.append(name)
        assert memory.call(name, sizes.get(name, 5), float(at), 0.0) is hit


@given(names)
def test_of_one_size_more_memory_never_has_fewer_hits(calls: list[str]) -> None:
    curve = HitRatioCurve(MEMORY, 0)
    for at, name in enumerate(calls + ["a"] * FEWEST_CALLS):
        curve.add(ModelCall(name, True, float(at), 0.0), 15)
    ratios = [point["hit_ratio"] or 0 for point in curve.result()["points"]]
    assert len(ratios) == len(FACTORS) and ratios == sorted(ratios)


def test_a_call_that_comes_while_its_model_is_loaded_is_no_hit() -> None:
    memory = SimulatedMemory(100)
    assert [memory.call("a", 10, received, 2.0) for received in (0.0, 1.0, 2.0)] == [False, False, True]


def test_what_the_container_takes_is_the_same_for_every_amount() -> None:
    curve = HitRatioCurve(MEMORY, base_bytes=50)  # which leaves room for 0, 0, 5, 15 and 35 models
    for at in range(240):
        curve.add(ModelCall(str(at % 12), False, float(at), 0.0), 10)
    points = {point["memory_factor"]: point["hit_ratio"] for point in curve.result()["points"]}
    assert points == {0.25: None, 0.5: None, 1.0: 0.0, 2.0: 0.95, 4.0: 0.95}


def test_too_few_calls_and_models_that_are_not_kept_have_no_points() -> None:
    few = HitRatioCurve(MEMORY, 0)
    few.add(ModelCall("a", True, 0.0, 0.0), 1)
    assert few.result()["points"] == [] and few.result()["reason"] == "1 calls are too few to tell by: it takes 100"
    not_kept = HitRatioCurve(VariantMemory("e", "v", 1, 100, 1.0, None, False), 0).result()
    assert not_kept["points"] == [] and "ModelCacheSetting" in not_kept["reason"]
