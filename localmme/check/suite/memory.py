"""Checks of memory: unloads release it, it is not lost over time, and 507 when it runs out."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from emulator.sizes import format_size
from localmme.check.calls import Exchange
from localmme.check.finding import CheckEnded, Finding, fail, failed, passed, skip, skipped, warned
from localmme.check.harness import FullMemory, Harness, TimeLimit
from localmme.check.memory_growth import MemoryGrowth, Trend, is_flat, memory_growth
from localmme.check.models import Model

MEASURABLE_BYTES = 8 * 1024**2  # less than that cannot be distinguished from the server's own memory
MOST_MEASURED, LOADING_SECONDS = 16, 10.0  # models, and for their loads
MEASUREMENTS, MEASURING_SECONDS = 3, 15.0  # of released memory, at most; none begins after that time
RELEASED, HALF_RELEASED = 0.6, 0.3  # shares of the memory taken, for pass and warn
SETTLE_SECONDS, LOOK_SECONDS = 3.0, 0.25  # for memory to be released after the answer
ROUNDS, ROUNDS_SECONDS = 100, 10.0
FEWEST_ROUNDS, FEWEST_SECONDS = 10, 20.0  # needed for a result; these have more time
SETTLED_BYTES, TOLD_BYTES = 1024**2, 4 * 1024**2
MOST_COPIES, FILL_SECONDS = 400, 25.0
HOPELESS_SHARE = 0.25  # of the memory: a server may refuse long before it is full
FORETOLD_COPIES, FORETOLD_SECONDS = 10, 2.0  # after which it is clear whether memory will be full in time


@dataclass(frozen=True)
class MemoryGivenBack:
    """The memory that some models took, and what remained after they were unloaded; in bytes."""

    models: int
    taken: int
    left: int
    answer: Exchange  # to the last unload

    @property
    def share(self) -> float:
        """The share of the taken memory that was released."""
        return (self.taken - self.left) / self.taken

    def __str__(self) -> str:
        back = format_size(max(self.taken - self.left, 0))
        share = max(0.0, min(self.share, 1.0))
        models = f"{self.models} models" if self.models > 1 else "A model"
        return f"{models} took {format_size(self.taken)}; unloading gave {back} back ({share:.0%})."


async def unload_frees_memory(harness: Harness) -> Finding:
    await harness.memory()
    await harness.fresh()
    await harness.model()  # one that stays: what comes with the first model is no model's own
    clock = TimeLimit(MEASURING_SECONDS)
    best = await _given_back(harness)
    for _ in range(MEASUREMENTS - 1):
        if best.share >= RELEASED or clock.is_up:
            break
        # A server may take memory for itself the first few times, as a JVM does for its heap; a model's is never given
        # back, however often one looks.
        try:
            best = max(best, await _given_back(harness), key=lambda each: each.share)
        except CheckEnded:  # it takes no more, for it uses what it did not give back: then the first figure stands
            break
    advice = "The platform unloads models to get their memory"
    if best.share >= RELEASED:
        return passed(str(best), best.answer)
    if best.share >= HALF_RELEASED:
        return warned(f"{best} {advice}, and gets less of it than it expects.", best.answer)
    return failed(f"{best} {advice}: in the end, no model has memory.", best.answer)


async def _given_back(harness: Harness) -> MemoryGivenBack:
    """Load some models and unload them. Ends the check if they take too little memory to measure."""
    clock = TimeLimit(LOADING_SECONDS)
    base = await harness.memory()
    models: list[Model] = []
    taken = 0
    while taken < MEASURABLE_BYTES and len(models) < MOST_MEASURED and not clock.is_up:
        model = await asyncio.to_thread(harness.models.copy)
        answer = await harness.load(model)
        if answer.status == 507:
            harness.loaded.pop(model.name)
            await harness.unload(model)
            break
        if not answer.ok:
            skip("This check needs models that load, and loading one failed: see the check load.", answer)
        models.append(model)
        taken = await harness.memory() - base
    if taken < MEASURABLE_BYTES / 2:
        skip(
            f"{len(models)} models take {format_size(max(taken, 0))} together, which is too little to "
            "distinguish from the server's own memory. Check it with a larger model."
        )
    for model in models:
        answer = await harness.unload(model)
        if not answer.ok:
            skip("This check needs models that unload: see the check unload.", answer)
    settling = TimeLimit(SETTLE_SECONDS)
    left = await harness.memory() - base
    while left > (1 - RELEASED) * taken and not settling.is_up:
        await asyncio.sleep(LOOK_SECONDS)
        left = await harness.memory() - base
    return MemoryGivenBack(len(models), taken, left, answer)


async def load_unload_growth(harness: Harness) -> Finding:
    await harness.memory()
    rounds = LoadUnloadRounds(harness, await asyncio.to_thread(harness.models.copy))
    await rounds.make(ROUNDS, ROUNDS_SECONDS)
    if len(rounds.figures) < FEWEST_ROUNDS:
        await rounds.make(FEWEST_ROUNDS - len(rounds.figures), FEWEST_SECONDS - ROUNDS_SECONDS)
    if len(rounds.figures) < FEWEST_ROUNDS:
        return skipped(
            f"{len(rounds.figures)} rounds in {rounds.seconds:.0f} s are too few for a result.", rounds.answer
        )
    growth = memory_growth(rounds.figures, rounds.model_bytes)
    if growth.trend is Trend.GROWING and await _settles(harness, growth.before):
        return passed(f"{rounds.summary(growth)}. It rises, and falls again when the container rests.", rounds.answer)
    if growth.trend is Trend.GROWING and growth.is_enough:
        # What comes with the first hundred rounds may come to an end; what comes with the next as well does not.
        first = len(rounds.figures)
        await rounds.make(ROUNDS, ROUNDS_SECONDS)
        growth = memory_growth(rounds.figures[first // 2 :], rounds.model_bytes)
    if growth.trend is Trend.GROWING:
        detail = f"{rounds.summary(growth)}. It rises all the time, by {format_size(max(growth.per_round, 0))} a round"
        if growth.is_enough:
            return failed(f"{detail}: in the end the container runs out of memory.", rounds.answer)
        return warned(f"{detail}. So few rounds are no proof: look at more of them.", rounds.answer)
    risen = growth.after - growth.before
    few = " It rises in few steps, not with every round." if risen > TOLD_BYTES else ""
    return passed(f"{rounds.summary(growth)}.{few}", rounds.answer)


class LoadUnloadRounds:
    """A model that is loaded and unloaded again and again, and the memory in use after each time."""

    def __init__(self, harness: Harness, model: Model) -> None:
        self._harness, self._model = harness, model
        self.figures: list[int] = []  # bytes
        self.model_bytes = 0  # that one model takes
        self.seconds = 0.0
        self.answer: Exchange | None = None  # to the last unload

    async def make(self, count: int, seconds: float) -> None:
        """So many more, or as many as the time allows, or until it is plain that memory stays as it is.

        Ends the check where a round does not succeed.
        """
        harness, clock, before = self._harness, TimeLimit(seconds), len(self.figures)
        while len(self.figures) - before < count and not clock.is_up and not is_flat(self.figures[before:]):
            answer = await harness.load(self._model)
            if not answer.ok and not self.figures:
                skip("This check needs models that load, and loading one failed: see the check load.", answer)
            if not answer.ok:
                fail(f"In round {len(self.figures) + 1} of load and unload, the load failed.", answer)
            loaded = 0 if self.figures else await harness.memory()
            self.answer = await harness.unload(self._model)
            if not self.answer.ok:
                skip("This check needs models that unload: see the check unload.", self.answer)
            self.figures.append(await harness.memory())
            self.model_bytes = self.model_bytes or max(0, loaded - self.figures[-1])
        self.seconds += clock.seconds

    def summary(self, growth: MemoryGrowth) -> str:
        """What was measured, in words."""
        figures = f"at least {format_size(growth.before)} in use at first, {format_size(growth.after)} at last"
        return f"{len(self.figures)} rounds in {self.seconds:.0f} s: {figures}"


async def _settles(harness: Harness, before: int) -> bool:
    """Whether the memory in use goes back to about what it was, if the container is left alone for a moment."""
    clock = TimeLimit(SETTLE_SECONDS)
    while await harness.memory() > before + SETTLED_BYTES:
        if clock.is_up:
            return False
        await asyncio.sleep(LOOK_SECONDS)
    return True


async def memory_full(harness: Harness) -> Finding:
    full = await fill(harness)
    if full.answer.status != 507:
        return failed(
            f"With {len(full.loaded)} models in memory, the next load fails with another status than 507: the platform "
            "does not unload models and try again.",
            full.answer,
        )
    ping = await harness.ping()
    if ping.status != 200:
        return failed(f"After a load was answered with 507, with {len(full.loaded)} models, pings fail.", ping)
    for model in (full.loaded[0], full.loaded[-1]):
        found = await harness.get(model)
        if found.status != 200:
            return failed("After a load was answered with 507, a model that was loaded before is gone.", found)
        invoked = await harness.invoke(model)
        if invoked.status != full.served:
            return failed("After a load was answered with 507, a model that was loaded before is not served.", invoked)
    harness.full = full
    return passed(f"507 with {len(full.loaded)} models in memory, and it goes on serving.", full.answer)


async def reload_after_507(harness: Harness) -> Finding:
    full = harness.full or await fill(harness)
    if full.answer.status != 507:
        return skipped("This check needs a container that answers 507: see the check memory-full.", full.answer)
    # The platform unloads what is not in use, one by one, and tries again. It does not unload what was refused.
    loaded = list(full.loaded)
    again = full.answer
    while again.status == 507 and loaded:
        unloaded = await harness.unload(loaded.pop())
        if not unloaded.ok:
            return failed("When memory is full, a model cannot be unloaded.", unloaded)
        again = await harness.load(full.refused)
        if len(loaded) < len(full.loaded) / 2:
            break
    gone = len(full.loaded) - len(loaded)
    if again.status == 507:
        return failed(f"With {gone} of {len(full.loaded)} models unloaded, the load is still refused.", again)
    if again.ok:
        invoked = await harness.invoke(full.refused)
        if invoked.status != full.served:
            return failed("The model was loaded at the second attempt, and cannot be invoked.", invoked)
        return passed(f"With {gone} of {len(full.loaded)} models unloaded, it was loaded.", again)
    if again.status == 409:
        # It has kept the model that it refused. Then the platform takes it for loaded.
        invoked = await harness.invoke(full.refused)
        if invoked.status == full.served:
            return warned("It says that the model it refused was loaded; it can be invoked at least.", again)
        return failed(
            "It refused the model with 507 and kept it registered: to load it again is a 409, by which the platform "
            f"takes it for loaded, and an invocation is answered with {invoked.received}. The load must leave nothing.",
            again,
        )
    return failed(f"With {gone} of {len(full.loaded)} models unloaded, the load fails.", again)


async def fill(harness: Harness) -> FullMemory:
    """Load models until one is refused. Ends the check if none is."""
    if harness.cannot_fill:
        skip(harness.cannot_fill)
    await harness.empty()
    base = await harness.memory()
    clock = TimeLimit(FILL_SECONDS)
    loaded: list[Model] = []
    served = 0
    while len(loaded) < MOST_COPIES and not clock.is_up:
        model = await asyncio.to_thread(harness.models.copy)
        answer = await harness.load(model)
        if answer.status != 507 and not answer.ok and loaded:
            harness.cannot_fill = "This check needs a container that answers 507: see the check memory-full."
        if not answer.status:
            fail(f"With {len(loaded)} models in memory, the next load got no answer.", answer)
        if not answer.ok:
            if not loaded:
                skip("Not even one model can be loaded: see the check load, or set more with --memory.", answer)
            return FullMemory(loaded, model, answer, served)
        loaded.append(model)
        if len(loaded) == 1:
            served = (await harness.invoke(model)).status
        used = await harness.memory()
        if harness.under_test.is_process and used - base > harness.under_test.memory_bytes:
            break
        if clock.seconds > FORETOLD_SECONDS and len(loaded) >= FORETOLD_COPIES:
            share = max(used - base, 1) / max(harness.under_test.memory_bytes - base, 1)
            if share * min(FILL_SECONDS / clock.seconds, MOST_COPIES / len(loaded)) < HOPELESS_SHARE:
                break
    used = await harness.memory()
    detail = f"{len(loaded)} models took {format_size(max(used - base, 0))} and there was no 507."
    if harness.under_test.is_process:
        advice = (
            "A process has no limit: check it with --image, or give the server a limit of its own, such as by --env."
        )
    else:
        advice = "Check it with larger models, or less --memory."
    harness.cannot_fill = "See the check memory-full."
    skip(f"{detail} {advice}")
