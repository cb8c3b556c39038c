"""Whether a series of figures of memory grows: those of correct code do not, and a leak does, however noisy it is."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localmme.check.memory_growth import ENOUGH_ROUNDS, GROWTH_BYTES, Trend, is_flat, memory_growth

MB = 2**20


def mib(*runs: tuple[float, int]) -> list[int]:
    """A series: so many MiB, so many times."""
    return [int(figure * MB) for figure, times in runs for _ in range(times)]


# Flask behind waitress, with a model of 20 MB and memory of 512: each thread's arena of glibc keeps one model's worth.
FLASK = mib((30, 1), (50, 1), (70, 1), (90, 1), (110, 1), (130, 1), (150, 7), (150.6, 32), (170.8, 55))
# Multi Model Server with a handler: a JVM that comes to itself, and a worker that was left behind in some rounds.
MULTI_MODEL_SERVER = mib(
    *((168, 1), (177, 1), (185, 1), (189, 1), (185, 4), (186, 13), (187, 9), (184, 4), (215, 1), (216, 4), (217, 5)),
    *((218, 4), (219, 5), (222, 13), (223, 1), (232, 3), (233, 1), (228, 15), (259, 2), (255, 8), (261, 2), (262, 3)),
)
# The same with XGBoost, whose rounds are so slow that there are eight of them, of a model of 30 MB.
SLOW = mib((268, 1), (281, 1), (286, 1), (290, 1), (293, 1), (295, 1), (297, 2))


@pytest.mark.parametrize("series", [FLASK, MULTI_MODEL_SERVER, mib((31.4, 100)), mib((31.4, 1))])
def test_series_that_were_recorded_of_correct_code_do_not_grow(series: list[int]) -> None:
    assert memory_growth(series).trend is Trend.STEADY
    assert memory_growth(series[: ENOUGH_ROUNDS + 10]).trend is Trend.STEADY


def test_eight_slow_rounds_of_a_server_that_warms_up_do_not_grow() -> None:
    growth = memory_growth(SLOW, model_bytes=30 * MB)
    assert (growth.trend, growth.is_enough) == (Trend.STEADY, False)


def test_a_collector_s_sawtooth_does_not_grow() -> None:
    series = [100 * MB + (round_ % 37) * MB for round_ in range(100)]
    assert memory_growth(series).trend is Trend.STEADY


def test_a_heap_that_fills_up_more_and_more_slowly_does_not_grow() -> None:
    series = [int(200 * MB + 60 * MB * (1 - 0.95**round_)) for round_ in range(100)]
    assert memory_growth(series).trend is Trend.STEADY


@given(st.lists(st.integers(0, 99), max_size=5), st.integers(1, 50), st.integers(0, 2**31))
def test_a_few_steps_do_not_grow_whenever_they_come(steps: list[int], megabytes: int, seed: int) -> None:
    chance = random.Random(seed)
    series = [
        megabytes * MB * sum(step <= round_ for step in steps) + chance.randrange(GROWTH_BYTES // 4)
        for round_ in range(100)
    ]
    assert memory_growth(series).trend is Trend.STEADY


@given(
    st.integers(2 * GROWTH_BYTES, 20 * MB),
    st.integers(ENOUGH_ROUNDS, 200),
    st.integers(0, 2**31),
    st.integers(0, 500 * MB),
)
def test_a_leak_grows_however_noisy_it_is(leak: int, rounds: int, seed: int, base: int) -> None:
    chance = random.Random(seed)
    series = [base + round_ * leak + chance.randrange(4 * leak) for round_ in range(rounds)]
    growth = memory_growth(series)
    assert (growth.trend, growth.is_enough) == (Trend.GROWING, True)
    assert growth.per_round == pytest.approx(leak, rel=0.3)
    assert not any(is_flat(series[:count]) for count in range(0, rounds, 10))


@given(st.integers(2 * GROWTH_BYTES, 20 * MB), st.integers(2, 6))
def test_a_leak_below_a_collector_s_sawtooth_grows(leak: int, tooth: int) -> None:
    series = [round_ * leak + (round_ % tooth) * 5 * MB for round_ in range(100)]
    assert memory_growth(series).trend is Trend.GROWING


def test_what_is_little_beside_a_model_does_not_grow() -> None:
    series = [round_ * 200 * 1024 for round_ in range(100)]
    assert (memory_growth(series).trend, memory_growth(series, 30 * MB).trend) == (Trend.GROWING, Trend.STEADY)


@pytest.mark.parametrize("rounds", range(4, ENOUGH_ROUNDS))
def test_with_few_rounds_only_whole_models_that_stay_are_told(rounds: int) -> None:
    whole = [round_ * 30 * MB for round_ in range(rounds)]
    part = [round_ * 10 * MB for round_ in range(rounds)]
    assert (memory_growth(whole, 30 * MB).trend, memory_growth(whole, 30 * MB).is_enough) == (Trend.GROWING, False)
    assert memory_growth(part, 30 * MB).trend is Trend.STEADY


def test_what_is_flat_for_forty_rounds_needs_no_more() -> None:
    flat = mib((20, 3), (31.4, 37))
    assert [is_flat(flat[:count]) for count in (39, 40)] == [False, True]
    assert not is_flat(mib((31.4, 20), (41.4, 20)))


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=120))
def test_any_series_can_be_judged(series: list[int]) -> None:
    growth = memory_growth(series)
    assert growth.rounds == len(series)
    assert growth.before <= growth.after or growth.trend is Trend.STEADY
    # What comes before makes no difference to what goes down again.
    assert memory_growth([*series, *itertools.repeat(min(series), len(series))]).trend is Trend.STEADY
