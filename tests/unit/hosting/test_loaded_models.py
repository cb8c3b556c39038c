"""What stays in memory and on disk, for any order of uses: checked against simple models of both."""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from emulator.archives.directory_source import DirectorySource
from emulator.aws.errors import AwsError
from emulator.clock import Clock
from emulator.containers.contract import Answer, ContainerContract
from emulator.errors import ContainerTimeout, ContainerUnreachable
from emulator.events import Event, Events, LoadFailed, ModelDeleted, ModelDownloaded, ModelLoaded, ModelUnloaded, Origin
from emulator.hosting.errors import VolumeFull
from emulator.hosting.load_progress import LoadProgress
from emulator.hosting.loaded_models import LoadedModels
from emulator.hosting.memory_use import MemoryBudget
from emulator.hosting.model_files import ModelFiles
from emulator.hosting.pinned_lru import PinnedEntry, PinnedLru, SingleFlight
from emulator.hosting.storage_volume import StorageVolume, StoredModel, UnpinOne
from emulator.limits import Limits
from emulator.timeouts import in_time
from tests.support.files import archive, files_below
from tests.support.virtual_time import in_virtual_time

NAMES = st.sampled_from("abcdef")


# Residents


class ResidentsMachine(RuleBasedStateMachine):
    """Residents, against a list of all in the order of their last release."""

    def __init__(self) -> None:
        super().__init__()
        self.residents: PinnedLru[PinnedEntry] = PinnedLru()
        self.order: list[PinnedEntry] = []
        self.removed: list[PinnedEntry] = []

    def here(self, name: str) -> PinnedEntry | None:
        return next((resident for resident in self.order if resident.target_model == name), None)

    def idle(self) -> list[PinnedEntry]:
        return [resident for resident in self.order if not resident.pins]

    @rule(name=NAMES, size=st.integers(0, 100), pins=st.integers(0, 2))
    def add(self, name: str, size: int, pins: int) -> None:
        if self.here(name) is None:
            self.order.append(PinnedEntry(name, size, pins))
            self.residents.add(self.order[-1])

    @rule(name=NAMES)
    def pin(self, name: str) -> None:
        expected = self.here(name)
        before = expected.pins if expected else 0
        assert self.residents.pin(name) is expected
        assert expected is None or expected.pins == before + 1

    @rule(data=st.data())
    def unpin(self, data: st.DataObject) -> None:
        pinned = [resident for resident in [*self.order, *self.removed] if resident.pins]
        if pinned:
            resident = data.draw(st.sampled_from(pinned))
            self.residents.unpin(resident)
            if resident in self.order and not resident.pins:
                self.order.remove(resident)
                self.order.append(resident)

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        resident = self.here(name)
        if resident is not None:
            self.residents.remove(resident)
            self.residents.remove(resident)  # once more changes nothing
            self.order.remove(resident)
            self.removed.append(resident)

    @rule()
    def pop_idle(self) -> None:
        expected = self.idle()[:1]
        popped = self.residents.pop_idle()
        assert [popped] == (expected or [None])
        if popped is not None:
            assert popped.pins == 0
            self.order.remove(popped)

    @precondition(lambda self: len(self.order) > 3)
    @rule()
    def clear(self) -> None:
        assert set(self.residents.clear()) == set(self.order)
        self.removed += self.order
        self.order = []

    @invariant()
    def the_same(self) -> None:
        assert set(self.residents) == set(self.order) and len(self.residents) == len(self.order)
        assert self.residents.used_bytes == sum(resident.size_bytes for resident in self.order)
        assert all(self.residents.get(resident.target_model) is resident for resident in self.order)


TestResidents = ResidentsMachine.TestCase
TestResidents.settings = settings(max_examples=30, stateful_step_count=40)


@given(
    calls=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 12), st.booleans()), min_size=1, max_size=12),
    takes=st.integers(0, 6),
    fails=st.booleans(),
)
@settings(max_examples=80)
def test_a_model_comes_once_for_all_who_wait_and_each_gets_one_pin(
    calls: list[tuple[int, int, bool]], takes: int, fails: bool
) -> None:
    """Calls are: when they begin, how long they wait, whether they are cancelled then instead of giving up."""

    async def main() -> None:
        residents: PinnedLru[PinnedEntry] = PinnedLru()
        brought: list[str] = []

        async def bring(name: str) -> PinnedEntry:
            brought.append(name)
            await asyncio.sleep(takes)
            if fails:
                raise ValueError("cannot come")
            return PinnedEntry(name, 1)

        arrivals = SingleFlight(residents, bring, residents.unpin)

        async def call(begins: int, waits: int, cancelled: bool) -> str:
            await asyncio.sleep(begins)
            if cancelled:
                task = asyncio.current_task()
                cancelling = asyncio.get_running_loop().call_later(waits, task.cancel)  # type: ignore[union-attr]
            try:
                resident = residents.pin("a") or await arrivals.join("a", None if cancelled else waits)
            except asyncio.CancelledError:
                return "cancelled"
            except ValueError:
                return "failed"
            if cancelled:
                cancelling.cancel()
            if resident is None:
                return "gave up"
            assert resident.pins > 0 and residents.get("a") is resident
            await asyncio.sleep(1)
            residents.unpin(resident)
            return "served"

        outcomes = Counter(await asyncio.gather(*(call(*c) for c in calls)))
        await asyncio.sleep(100)
        assert list(arrivals) == []
        assert outcomes["served"] == 0 if fails else outcomes["failed"] == 0
        if not fails:
            assert brought == ["a"]
            assert [resident.pins for resident in residents] == [0]

    in_virtual_time(main())


# The volume

CAPACITY = 1000
SIZES = {"a": 100, "b": 200, "c": 300, "d": 400, "e": 600, "f": 1000, "g": 1001}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("s3")
    for name, size in SIZES.items():
        archive(directory / name, {"part/one": os.urandom(size // 2), "two": os.urandom(size - size // 2)})
    return directory


class Disk:
    """A volume in a directory of its own, with everything that it says happened."""

    def __init__(self, archives: Path, directory: str) -> None:
        self.happened: list[Event] = []
        events = Events()
        events.subscribe(lambda event, _: self.happened.append(event))
        self.directory = Path(directory, "disk")
        files = ModelFiles(self.directory, DirectorySource(archives), Limits().archive_files)
        self.volume = StorageVolume(files, CAPACITY, Limits(), events, Clock())

    def on_disk(self) -> int:
        files = files_below(self.directory)
        return sum(path.stat().st_size for path in files if ".deleted" not in str(path))

    async def fetch(self, name: str, unpin_one: UnpinOne) -> StoredModel:
        return await self.volume.fetch(name, unpin_one, LoadProgress("primary", Clock().elapsed))

    async def settle(self) -> None:
        while self.volume._removals or list(self.volume._downloads):
            await asyncio.sleep(0.001)

    def check(self) -> None:
        assert self.volume.used_bytes <= CAPACITY
        for stored in self.volume.models:
            assert sum(p.stat().st_size for p in stored.directory.rglob("*") if p.is_file()) == stored.size_bytes

    def downloads(self) -> Counter[str]:
        return Counter(event.target_model for event in self.happened if isinstance(event, ModelDownloaded))

    def deletions(self) -> list[str]:
        return [event.target_model for event in self.happened if isinstance(event, ModelDeleted)]


async def nothing_to_spare(_: str) -> bool:
    return False


@given(st.lists(st.tuples(st.sampled_from(["fetch", "fetch", "release", "retire"]), st.sampled_from(list(SIZES)))))
@settings(max_examples=30)
def test_a_volume_drops_the_least_recently_used_model_that_no_one_uses(
    archives: Path, steps: list[tuple[str, str]]
) -> None:
    async def main(disk: Disk) -> None:
        await disk.volume.open()
        held: list[StoredModel] = []
        order: OrderedDict[str, None] = OrderedDict()  # by last release
        deleted: list[str] = []

        def pins(name: str) -> int:
            return sum(stored.target_model == name and not stored.retired for stored in held)

        for action, name in steps:
            if action == "release":
                if held:
                    stored = held.pop(0)
                    disk.volume.release(stored)
                    if stored.retired:
                        if stored not in held:
                            deleted.append(stored.target_model)
                    elif not pins(stored.target_model):
                        order.move_to_end(stored.target_model)
            elif action == "retire":
                present = disk.volume.models.get(name)
                assert (present is not None) == (name in order)
                if present:
                    disk.volume.retire(present, "retired")
                    del order[name]
                    if present not in held:
                        deleted.append(name)
            else:
                used = sum(SIZES[other] for other in order)
                used += sum(stored.size_bytes for stored in set(held) if stored.retired)
                error: type[Exception] | None = None
                if SIZES[name] > CAPACITY:
                    error = AwsError
                elif name not in order:
                    while used + SIZES[name] > CAPACITY and error is None:
                        victim = next((other for other in order if not pins(other)), None)
                        if victim is None:
                            error = VolumeFull
                        else:
                            used -= SIZES[victim]
                            del order[victim]
                            deleted.append(victim)
                if error:
                    with pytest.raises(error):
                        await disk.fetch(name, nothing_to_spare)
                else:
                    stored = await disk.fetch(name, nothing_to_spare)
                    assert stored.target_model == name and stored.pins == pins(name) + 1
                    held.append(stored)
                    order.setdefault(name)
            disk.check()
            assert disk.deletions() == deleted
            assert {stored.target_model: stored.pins for stored in disk.volume.models} == {n: pins(n) for n in order}
        for stored in held:
            disk.volume.release(stored)
        await disk.settle()
        assert disk.on_disk() == disk.volume.used_bytes == disk.volume.models.used_bytes

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(main(Disk(archives, directory)))


@given(
    calls=st.lists(
        st.tuples(st.sampled_from(list(SIZES)), st.integers(0, 10), st.integers(0, 10), st.booleans()),
        min_size=2,
        max_size=20,
    )
)
@settings(max_examples=20)
def test_a_volume_serves_any_callers_at_the_same_time(archives: Path, calls: list[tuple[str, int, int, bool]]) -> None:
    """Calls are: the model, when they begin and for how long they hold it, in milliseconds; cancelled after that."""

    async def main(disk: Disk) -> None:
        await disk.volume.open()
        freed = asyncio.Event()

        async def spare(_: str) -> bool:
            freed.clear()
            await freed.wait()
            return True

        async def hold(name: str, holds: int) -> None:
            try:
                stored = await disk.fetch(name, spare)
            except AwsError:
                assert SIZES[name] > CAPACITY
                return
            try:
                assert stored.pins > 0
                await asyncio.sleep(holds / 1000)
                disk.check()
                assert sum(p.stat().st_size for p in stored.directory.rglob("*") if p.is_file()) == SIZES[name]
            finally:
                disk.volume.release(stored)
                freed.set()

        async def call(name: str, begins: int, holds: int, cancelled: bool) -> None:
            await asyncio.sleep(begins / 1000)
            task = asyncio.ensure_future(hold(name, holds))
            if cancelled:
                await asyncio.sleep(holds / 1000)
                task.cancel()
            await asyncio.gather(task, return_exceptions=cancelled)

        await in_time(asyncio.gather(*(call(*c) for c in calls)), 60)
        freed.set()
        await in_time(disk.settle(), 60)
        disk.check()
        present = Counter(stored.target_model for stored in disk.volume.models)
        assert disk.downloads() == present + Counter(disk.deletions()), "nothing is downloaded that is there"
        assert all(stored.pins == 0 for stored in disk.volume.models)
        assert disk.on_disk() == disk.volume.used_bytes

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(main(Disk(archives, directory)))


# Memory

ORIGIN = Origin("local", "us-east-1", container="primary")
MEMORY_SIZES = {name: 10 * (number + 1) for number, name in enumerate("abcdef")}


class FakeVolume:
    """A volume with room for everything, in no time."""

    def __init__(self) -> None:
        self.models: PinnedLru[StoredModel] = PinnedLru()
        self.retired: list[StoredModel] = []

    async def fetch(self, target_model: str, *_: Any) -> StoredModel:
        await asyncio.sleep(0)
        stored = self.models.pin(target_model)
        if stored is None:
            size, path = MEMORY_SIZES[target_model], Path(target_model)
            stored = StoredModel(target_model, size, 1, name=target_model, directory=path, version=(0, 0))
            self.models.add(stored)
        return stored

    def release(self, stored: StoredModel) -> None:
        assert stored.pins > 0
        self.models.unpin(stored)

    def retire(self, stored: StoredModel, _: str) -> None:
        self.models.remove(stored)
        self.retired.append(stored)


class FakeContainer:
    """A container in this process, with rules for those who speak to it."""

    def __init__(self, budget: int, seconds: Callable[[], float], answers: Iterator[int]) -> None:
        self.budget, self.seconds, self.answers = budget, seconds, answers
        self.has: dict[str, int] = {}  # bytes of each model that it has
        self.coming: dict[str, int] = {}
        self.in_use: Counter[str] = Counter()
        self.loads: Counter[str] = Counter()
        self.dead = False
        self.most = 0

    async def memory(self) -> int:
        await asyncio.sleep(0)
        return 7 + sum(self.has.values())

    async def load(self, name: str, target_model: str, url: str, timeout: float) -> Answer:
        if self.dead:
            raise ContainerUnreachable("dead")
        assert name not in self.coming, "it is loading already"
        assert not self.in_use[name]
        if name in self.has:
            return Answer(409, [])
        self.coming[name] = MEMORY_SIZES[target_model]
        together = {**self.has, **self.coming}
        self.most = max(self.most, len(together))
        assert len(together) == 1 or 7 + sum(together.values()) <= self.budget, "over the budget, and not alone"
        try:
            await self._work(timeout)
        finally:
            del self.coming[name]
        answer = next(self.answers, 200)
        if answer == 0:
            raise ContainerUnreachable("closed")
        if answer in (200, 507):
            self.has[name] = MEMORY_SIZES[target_model]  # a model that was refused stays registered
        self.loads[name] += 1
        return Answer(answer, [])

    async def unload(self, name: str, target_model: str) -> Answer:
        assert self.dead or not self.in_use[name], "it is in use"
        await self._work(1000)  # one that is not unloaded in time is another matter
        return Answer(200 if self.has.pop(name, None) else 404, [])

    async def is_loaded(self, name: str, target_model: str) -> bool:
        await self._work(1000)
        return name in self.has

    async def _work(self, timeout: float) -> None:
        seconds = self.seconds()
        await asyncio.sleep(min(seconds, timeout))
        if self.dead:
            raise ContainerUnreachable("dead")
        if seconds >= timeout:
            raise ContainerTimeout("too slow")


async def deliver(directory: Path) -> str:
    return str(directory)


class Memory:
    """LoadedModels over fakes."""

    def __init__(
        self,
        budget: int = 10_000,
        max_models: int | None = None,
        seconds: Callable[[], float] = lambda: 1.0,
        answers: list[int] | None = None,
        **options: Any,
    ) -> None:
        self.container = FakeContainer(budget, seconds, iter(answers or []))
        self.volume = FakeVolume()
        self.happened: list[Event] = []
        events = Events(ORIGIN)
        events.subscribe(lambda event, _: self.happened.append(event))
        self.loaded = LoadedModels(
            cast(ContainerContract, self.container),
            deliver,
            cast(StorageVolume, self.volume),
            MemoryBudget(budget, self.container.memory, max_models),
            Limits(memory_watermark=1.0, load_seconds=50.0),
            events,
            Clock(),
            **options,
        )

    def names(self) -> list[str]:
        return [model.target_model for model in self.loaded.models]

    def check_the_end(self) -> None:
        """What must be true when no one uses anything any more."""
        assert self.loaded.in_transit() == ([], [])
        assert all(model.pins == 0 for model in self.loaded.models)
        held = Counter(model.target_model for model in self.loaded.models)
        assert {stored.target_model: stored.pins for stored in self.volume.models if stored.pins} == held
        assert all(stored.pins == 0 for stored in self.volume.retired)
        if not self.container.dead:
            assert set(self.container.has) == set(self.names())


@given(uses=st.lists(NAMES, max_size=40), max_models=st.integers(1, 5))
@settings(max_examples=50)
def test_the_least_recently_used_model_leaves_first(uses: list[str], max_models: int) -> None:
    async def main() -> None:
        memory = Memory(max_models=max_models)
        order: OrderedDict[str, None] = OrderedDict()
        loads = unloads = 0
        for name in uses:
            memory.loaded.release(await memory.loaded.use(name, 1e9))
            if name not in order:
                loads += 1
                if len(order) == max_models:
                    order.popitem(last=False)
                    unloads += 1
            order[name] = None
            order.move_to_end(name)
            assert set(memory.names()) == set(order)
        assert sum(isinstance(event, ModelLoaded) for event in memory.happened) == loads
        assert sum(isinstance(event, ModelUnloaded) for event in memory.happened) == unloads
        memory.check_the_end()

    in_virtual_time(main())


def test_the_log_explains_a_refusal_whose_words_do_not_help() -> None:
    async def main() -> None:
        memory = Memory(answers=[500, 405])
        for name in "ab":
            with pytest.raises(AwsError) as caught:
                await memory.loaded.use(name, 1e9)
            assert "TS_ENABLE_MODEL_API" not in caught.value.message
        first, second = (event.reason for event in memory.happened if isinstance(event, LoadFailed))
        assert "TS_ENABLE_MODEL_API" not in first
        assert "405" in second and "TorchServe does with TS_ENABLE_MODEL_API=true" in second
        await asyncio.sleep(10)  # what was refused is unloaded, to be sure
        memory.check_the_end()

    in_virtual_time(main())


def test_a_load_that_was_over_before_a_process_was_killed_for_it_is_one_that_ran_out_of_memory() -> None:
    async def main() -> None:
        memory = Memory(seconds=lambda: 0.1)
        kill, killed = False, 0

        async def killed_for_memory(look: bool) -> int:
            """As of a container that loses the last model that it loaded a while after it was killed."""
            nonlocal killed
            if kill and memory.container.has:
                killed += 1
                asyncio.get_running_loop().call_later(0.5, memory.container.has.popitem)
            return killed

        memory.loaded._killed_for_memory = killed_for_memory
        memory.loaded.release(await memory.loaded.use("a", 1e9))
        kill = True
        with pytest.raises(AwsError) as caught:
            await memory.loaded.use("b", 1e9)
        assert "(507)" in caught.value.message
        assert memory.names() == []  # a had to go first, as for any 507

    in_virtual_time(main())


def test_a_load_need_not_wait_when_the_process_that_was_killed_was_another_models() -> None:
    async def main() -> None:
        memory = Memory(seconds=lambda: 0.01)
        kills = 0

        async def killed_for_memory(look: bool) -> int:
            return kills

        memory.loaded._killed_for_memory = killed_for_memory
        memory.loaded.release(await memory.loaded.use("a", 1e9))
        clock = asyncio.get_running_loop().time
        began, load = clock(), memory.container.load

        async def kill_another(*args: Any) -> Answer:
            nonlocal kills
            kills = 1
            memory.container.has.clear()
            return await load(*args)

        memory.container.load = kill_another  # type: ignore[method-assign]
        assert (await memory.loaded.use("b", 1e9)).pins
        assert clock() - began < 1  # of the virtual clock
        assert memory.names() == ["b"]

    in_virtual_time(main())


def test_what_is_in_use_is_counted_no_more_often_because_there_is_a_limit() -> None:
    async def main() -> None:
        looks: list[bool] = []

        async def killed_for_memory(look: bool) -> int:
            looks.append(look)
            return 0

        memory = Memory(max_models=1, killed_for_memory=killed_for_memory)
        for name in "aba":  # a footprint is measured after the first load; a look is needed if it cannot be
            memory.loaded.release(await memory.loaded.use(name, 1e9))
        assert looks == [False] * 6
        memory = Memory(killed_for_memory=killed_for_memory)
        await asyncio.gather(memory.loaded.use("a", 1e9), memory.loaded.use("b", 1e9))
        assert looks[6:].count(True) == 2

    in_virtual_time(main())


@pytest.mark.parametrize("dies", [True, False])
def test_who_loads_a_model_while_a_process_is_killed_learns_whether_it_was_the_models_own(dies: bool) -> None:
    async def main() -> None:
        looks = itertools.count()

        async def killed_for_memory(look: bool) -> int:
            number = next(looks)
            memory.container.dead = dies and number > 0
            return number

        memory = Memory(killed_for_memory=killed_for_memory)
        if not dies:
            assert (await memory.loaded.use("a", 1e9)).pins
            return
        with pytest.raises(AwsError) as caught:
            await memory.loaded.use("a", 1e9)
        assert "could not get a response" in caught.value.message

    in_virtual_time(main())


CALL = st.builds(
    SimpleNamespace,
    name=NAMES,
    begins=st.integers(0, 30),
    holds=st.integers(0, 10),
    waits=st.sampled_from([1, 5, 1000, 1000]),
    cancelled=st.sampled_from([None, None, 0, 1, 3, 8]),
)


@given(
    calls=st.lists(CALL, min_size=1, max_size=25),
    budget=st.sampled_from([20, 70, 120, 10_000]),
    max_models=st.sampled_from([None, 1, 2, 4]),
    answers=st.lists(st.sampled_from([200, 200, 200, 507, 500, 0]), max_size=20),
    seconds=st.lists(st.sampled_from([0.0, 0.5, 2.0, 2.0, 70.0]), min_size=1, max_size=10),
    cache=st.sampled_from([True, True, False]),
    dies=st.sampled_from([None, None, 1, 7, 20]),
)
@settings(max_examples=80)
def test_any_callers_at_the_same_time_get_a_model_or_an_error_and_the_rules_are_kept(
    calls: list[SimpleNamespace],
    budget: int,
    max_models: int | None,
    answers: list[int],
    seconds: list[float],
    cache: bool,
    dies: int | None,
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        durations = iter(seconds * 100)
        memory = Memory(budget, max_models, lambda: next(durations, 1.0), answers, cache=cache, load_slots=2)
        container = memory.container

        async def use(call: SimpleNamespace) -> None:
            began = loop.time()
            try:
                model = await memory.loaded.use(call.name, began + call.waits)
            except AwsError as error:
                assert loop.time() <= began + call.waits or error.code != "ModelNotReadyException"
                return
            assert model.target_model == call.name and model.pins > 0
            assert container.dead or model.name in container.has
            container.in_use[model.name] += 1
            try:
                await asyncio.sleep(call.holds)
                assert container.dead or model.name in container.has, "it left while it was used"
            finally:
                container.in_use[model.name] -= 1
                memory.loaded.release(model)

        async def perform(call: SimpleNamespace) -> None:
            await asyncio.sleep(call.begins)
            task = asyncio.ensure_future(use(call))
            if call.cancelled is not None:
                loop.call_later(call.cancelled, task.cancel)
            try:
                await task
            except asyncio.CancelledError:
                assert call.cancelled is not None

        def die() -> None:
            container.dead = True
            memory.loaded.close()

        if dies is not None:
            loop.call_later(dies, die)
        await asyncio.gather(*(perform(call) for call in calls))
        await asyncio.sleep(2000)  # what goes on without its callers comes to its end
        memory.check_the_end()
        if max_models is not None:
            assert container.most <= max_models
        if not cache:
            assert not memory.names()

    in_virtual_time(main())
