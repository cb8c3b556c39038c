"""Decides from a series of figures whether a container's memory grows with each load and unload.

A leak adds to the memory in every round, for as long as there are rounds. Correct code makes memory rise too:
allocators keep an arena for each thread, a JVM touches its heap bit by bit, collectors let it rise and fall. That comes
to an end, or comes in a few steps, or is given back. So a series grows only if the least that is in use rises in nearly
all of its parts. All numbers here are [ours].
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

WARM_UP_ROUNDS = 10  # a quarter of them, if they are few
ENOUGH_ROUNDS = 50  # for a failure; fewer give a warning at most
EARLY_ROUNDS = 40  # after which a flat series is complete
PARTS = 10
RISING_SHARE = 0.75  # of the steps from part to part, to count as rising all the time
EVEN_SHARE = 0.25  # of an even step, to count as a step at all
GROWTH_BYTES, GROWTH_SHARE = 50 * 1024, 0.01  # a round, and of a model: what is less than either is not seen
FEW_GROWTH_BYTES = 2 * 1024**2  # a round, where there are few of them
FEW_GROWTH_SHARE = 0.5  # of a model, for few rounds: then only models that stay in memory can be recognized


class Trend(Enum):
    STEADY = "steady"
    GROWING = "growing"


@dataclass(frozen=True)
class MemoryGrowth:
    """The result for a series of figures."""

    rounds: int
    trend: Trend
    before: int  # bytes in use after the first rounds, at least
    after: int  # and after the last, at least
    is_enough: bool  # rounds, for a failure

    @property
    def per_round(self) -> int:
        """Bytes, of those rounds that counted."""
        return (self.after - self.before) // max(1, self.rounds - _warm_up(self.rounds))


def memory_growth(figures: Sequence[int], model_bytes: int = 0) -> MemoryGrowth:
    """The memory after each round, in bytes, of which there must be one; ``model_bytes`` is what a model takes."""
    steady = figures[_warm_up(len(figures)) :]
    lows = [min(part) for part in _parts(steady)]
    # What comes back later was not lost: the floor at any time is the least that there will be from then on.
    floor = list(itertools.accumulate(reversed(lows), min))[::-1]
    steps = [after - before for before, after in itertools.pairwise(floor)]
    rise = floor[-1] - floor[0]
    rising = [step for step in steps if step > EVEN_SHARE * rise / len(steps)]
    is_enough = len(figures) >= ENOUGH_ROUNDS
    if is_enough:
        least = max(GROWTH_BYTES, GROWTH_SHARE * model_bytes)
    else:
        least = max(FEW_GROWTH_BYTES, FEW_GROWTH_SHARE * model_bytes)
    grows = rise > least * len(steady) * (len(steps) / len(lows)) and len(rising) >= RISING_SHARE * len(steps)
    # Steps that become smaller come to an end.
    half = len(steps) // 2
    grows = grows and sum(steps[-half:]) * 2 > sum(steps[:half])
    return MemoryGrowth(len(figures), Trend.GROWING if grows else Trend.STEADY, floor[0], floor[-1], is_enough)


def is_flat(figures: Sequence[int]) -> bool:
    """Whether there are enough rounds to decide that memory does not grow."""
    if len(figures) < EARLY_ROUNDS:
        return False
    steady = figures[WARM_UP_ROUNDS:]
    third = len(steady) // 3
    first, last = statistics.median(steady[:third]), statistics.median(steady[-third:])
    return abs(last - first) < GROWTH_BYTES * len(steady) / 3


def _warm_up(rounds: int) -> int:
    return min(WARM_UP_ROUNDS, rounds // 4)


def _parts(figures: Sequence[int]) -> list[Sequence[int]]:
    """Divided as evenly as can be, into ten or as many as there are."""
    count = min(PARTS, len(figures))
    bounds = [round(number * len(figures) / count) for number in range(count + 1)]
    return [figures[start:end] for start, end in itertools.pairwise(bounds)]
