"""A container that is kept running: started, watched, replaced, and what an invocation of it comes to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from emulator.aws.errors import AwsError
from emulator.clock import Clock
from emulator.containers.container import Container, LogSink
from emulator.containers.contract import Answer, AnswerTooLong, ContainerContract, StreamedAnswer
from emulator.containers.http_connection import AnswerBrokenOff
from emulator.errors import ContainerError, ContainerNotReached, ContainerTimeout, ContainerUnreachable, SetupError
from emulator.events import ContainerStarted, ContainerStopped, Event, Events, Invoked, LogLine, NotAnswered, Origin
from emulator.hosting.container_supervisor import (
    END_REPORTED_SECONDS,
    LAST_LOG_LINES,
    ContainerSupervisor,
)
from emulator.hosting.errors import InstanceNotReached, ModelError
from emulator.invocation import Invocation
from emulator.limits import Limits
from tests.support.virtual_time import VirtualTimeLoop

LIMITS = Limits(startup_seconds=10, poll_seconds=5, unhealthy_pings=3, restart_seconds=1)
ORIGIN = Origin("e", "us-east-1", "A", "i-1", "primary")
OK = Answer(200, [], b"answer")
Outcome = Answer | Exception


@dataclass
class Run:
    """How one run of the container goes."""

    lives: float = 1e9  # seconds
    cannot_start: Exception | None = None
    cannot_stop: Exception | None = None
    healthy: Callable[[float], bool] = lambda age: True
    log: list[str] = field(default_factory=list)


class Containers:
    """Runs of a container, one after the other: the last one for good."""

    def __init__(self, *runs: Run) -> None:
        self.runs = list(runs) or [Run()]
        self.started: list[FakeContainer] = []

    def new(self, log: LogSink) -> Container:
        run = self.runs[min(len(self.started), len(self.runs) - 1)]
        container = FakeContainer(run, log)
        self.started.append(container)
        return container


class FakeContainer(Container):
    host, port = "127.0.0.1", 1234

    def __init__(self, run: Run, log: LogSink) -> None:
        self._run, self._log = run, log
        self._loop = asyncio.get_running_loop()
        self.began = self._loop.time()
        self.stopped = 0
        self.client = FakeContract(self)

    @property
    def age(self) -> float:
        return self._loop.time() - self.began

    def is_healthy(self) -> bool:
        return self._run.healthy(self.age)

    def contract(self, limits: Limits) -> ContainerContract:
        return cast(ContainerContract, self.client)

    async def start(self) -> None:
        if self._run.cannot_start is not None:
            raise self._run.cannot_start
        for line in self._run.log:
            self._log(line)

    async def wait(self) -> str:
        await asyncio.sleep(self._run.lives - self.age)
        return "ended with exit code 1"

    async def stop(self, seconds: float | None = None) -> None:
        self.stopped += 1
        if self._run.cannot_stop is not None:
            raise self._run.cannot_stop

    async def memory_used(self) -> int:
        return 100

    async def cpu_seconds(self) -> float | None:
        return 1.5

    async def deliver(self, model_directory: Path) -> str:
        return str(model_directory)


class FakeContract:
    """A client that answers with what it is handed, each after a second."""

    def __init__(self, container: FakeContainer) -> None:
        self._container = container
        self.outcomes: list[Outcome] = [OK]
        self.calls: list[tuple[str, float]] = []
        self.closed = False

    async def ping(self) -> None:
        if not self._container.is_healthy():
            raise ContainerError("GET /ping answered 500")

    async def invoke(self, path: str, invocation: Invocation, deadline: float) -> Answer:
        self.calls.append((path, deadline))
        await asyncio.sleep(1)
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def invoke_stream(self, path: str, invocation: Invocation, deadline: float) -> Answer:
        answer = await self.invoke(path, invocation, deadline)
        if answer.status >= 300:
            return answer
        return StreamedAnswer(answer.status, answer.headers, chunks=_chunks(answer.body))

    async def get(self, path: str, accept: str) -> Answer:
        return Answer(200, [], path.encode())

    def close(self) -> None:
        self.closed = True


async def _chunks(body: bytes) -> AsyncIterator[bytes]:
    yield body


@dataclass
class FakeModel:
    path: str = "/path"
    target_model: str = "m"
    last_used: float = 0.0


class Supervisor(ContainerSupervisor[FakeModel]):
    """With nothing of its own but a record of what the class above asks for."""

    disk_used = 0
    has_models = False  # before they are prepared
    loses_models = False

    def __init__(self, containers: Containers, limits: Limits, events: Events, clock: Clock) -> None:
        super().__init__(containers.new, limits, events, clock)
        self.hooks: list[str] = []

    async def _check_health(self, contract: ContainerContract) -> None:
        await contract.ping()

    def _on_healthy(self, container: Container) -> None:
        self.hooks.append("healthy")

    def _on_unhealthy(self) -> None:
        self.hooks.append("unhealthy")

    def _pin(self, invocation: Invocation) -> FakeModel | None:
        if not self.has_models:
            return None
        self.hooks.append("pin")
        return FakeModel()

    async def _prepare(self, invocation: Invocation, deadline: float) -> FakeModel:
        self.hooks.append("prepare")
        await asyncio.sleep(0.5)
        return FakeModel()

    def _release(self, model: FakeModel) -> None:
        self.hooks.append("release")

    async def _has_lost(self, model: FakeModel) -> bool:
        return self.loses_models

    def _on_out_of_memory(self, model: FakeModel) -> None:
        self.hooks.append("out of memory")


class Scene:
    """A supervisor at virtual time, and what happens to it."""

    def __init__(self, *runs: Run, limits: Limits = LIMITS) -> None:
        self.loop = VirtualTimeLoop()
        self.containers = Containers(*runs)
        self.happened: list[tuple[float, Event]] = []
        events = Events(ORIGIN)
        events.subscribe(lambda event, _: self.happened.append((self.loop.time(), event)))
        self.supervisor = Supervisor(self.containers, limits, events, self.loop.clock())
        self.measurements = Invocation("e", b"", 0.0).measurements

    def run(self, *steps: Callable[[], Awaitable[Any]]) -> Any:
        """The result of the last step."""

        async def main() -> Any:
            result = None
            for step in steps:
                result = await step()
            await self.supervisor.stop()
            return result

        return self.loop.run(main())

    async def start(self) -> None:
        await self.supervisor.start()

    async def start_in_vain(self) -> str:
        with pytest.raises(SetupError) as raised:
            await self.supervisor.start()
        return str(raised.value)

    def until(self, when: float) -> Callable[[], Awaitable[None]]:
        return lambda: asyncio.sleep(when - self.loop.time())

    async def invoke(self) -> Answer:
        call = Invocation("e", b"", 0.0, target_model="m", measurements=self.measurements)
        return await self.supervisor.invoke(call, self.loop.time() + 60)

    async def invoke_stream(self) -> StreamedAnswer:
        call = Invocation("e", b"", 0.0, target_model="m", measurements=self.measurements)
        answer = await self.supervisor.invoke(call, self.loop.time() + 60, streamed=True)
        assert isinstance(answer, StreamedAnswer)
        return answer

    def of(self, kind: type[Event]) -> list[tuple[float, Any]]:
        return [(round(when, 6), event) for when, event in self.happened if isinstance(event, kind)]

    @property
    def contract(self) -> FakeContract:
        return self.containers.started[-1].client


# Its start


def test_it_is_started_when_it_is_healthy() -> None:
    scene = Scene(Run(healthy=lambda age: age > 3))

    async def states() -> list[Any]:
        starting = asyncio.ensure_future(scene.supervisor.start())
        await asyncio.sleep(1)
        before = (scene.supervisor.state(), await scene.supervisor.memory_used(), await scene.supervisor.cpu_seconds())
        await starting
        after = (scene.supervisor.state(), await scene.supervisor.memory_used(), await scene.supervisor.cpu_seconds())
        assert (await scene.supervisor.get("/metrics", "text/plain")).body == b"/metrics"
        return [before, after]

    before, after = scene.run(states)
    assert before == ({"name": "primary", "healthy": False, "address": None, "restarts": 0}, 0, None)
    assert after == ({"name": "primary", "healthy": True, "address": "127.0.0.1:1234", "restarts": 0}, 100, 1.5)
    [(when, event)] = scene.of(ContainerStarted)
    assert 3 < when < 4 and event.seconds == pytest.approx(when)
    assert scene.contract.closed and scene.containers.started[0].stopped == 1
    assert scene.supervisor.hooks == ["healthy", "unhealthy"]


@pytest.mark.parametrize(
    "run, words",
    [
        (Run(lives=1, healthy=lambda _: False), "It ended with exit code 1 before it was healthy."),
        (Run(healthy=lambda _: False), "It was not healthy within 10 s: GET /ping answered 500."),
    ],
)
@pytest.mark.parametrize("log", [[], [f"line {number}" for number in range(100)]], ids=["silent", "talkative"])
def test_one_that_does_not_get_healthy_is_stopped_and_its_last_lines_are_in_the_error(
    run: Run, words: str, log: list[str]
) -> None:
    scene = Scene(replace(run, log=log))
    error = scene.run(scene.start_in_vain)
    first, *lines = error.split("\n")
    assert first.startswith("The primary container for production variant A did not pass the ping health check.")
    assert words in first
    assert [line.strip() for line in lines] == log[-LAST_LOG_LINES:]
    assert ("It wrote nothing to its log." in first) == (not log)
    assert [event.line for _, event in scene.of(LogLine)] == log
    assert scene.contract.closed and scene.containers.started[0].stopped
    assert scene.of(ContainerStarted) == []


def test_one_that_cannot_be_started_is_the_caller_s_error() -> None:
    scene = Scene(Run(cannot_start=SetupError("no such program")))
    assert scene.run(scene.start_in_vain) == "no such program"


# Its life


@pytest.mark.parametrize(
    "lives, starts",
    [
        # At once, then after longer and longer pauses, up to restart_seconds.
        ([0.5] * 7, [0, 0.5, 1.1, 1.8, 2.7, 4.0, 5.5, 7.0]),
        # One that has lived for longer than restart_seconds is replaced at once again.
        ([0.5, 0.5, 5, 0.5], [0, 0.5, 1.1, 6.1, 6.7]),
    ],
)
def test_one_that_ends_is_replaced(lives: list[float], starts: list[float]) -> None:
    scene = Scene(*(Run(lives=seconds) for seconds in lives), Run())
    scene.run(scene.start, scene.until(100))
    assert [when for when, _ in scene.of(ContainerStarted)] == pytest.approx(starts)
    assert {event.reason for _, event in scene.of(ContainerStopped)} == {"it ended with exit code 1"}
    assert scene.supervisor.restarts == len(lives)
    assert [container.stopped for container in scene.containers.started] == [1] * len(starts)
    assert all(container.client.closed for container in scene.containers.started)
    assert scene.supervisor.hooks == ["healthy", "unhealthy"] * len(starts)


@pytest.mark.parametrize(
    "lives, when, reason",
    [
        (1e9, 30 + END_REPORTED_SECONDS, "it failed 3 health checks in a row: GET /ping answered 500"),
        # That it ended says more than that it does not answer, though it is known a little later.
        (30 + END_REPORTED_SECONDS / 2, 30 + END_REPORTED_SECONDS / 2, "it ended with exit code 1"),
    ],
)
def test_one_that_fails_enough_health_checks_in_a_row_is_replaced(lives: float, when: float, reason: str) -> None:
    # Polled every 5 s: it fails twice, passes once, then fails for good.
    scene = Scene(Run(lives=lives, healthy=lambda age: age < 4 or 14 < age < 16), Run())
    scene.run(scene.start, scene.until(100))
    [(stopped, event)] = scene.of(ContainerStopped)
    assert (stopped, event.reason) == (when, reason)
    assert [started for started, _ in scene.of(ContainerStarted)] == [0, when]


@pytest.mark.parametrize("error", [SetupError("no such image"), OSError("Too many open files")])
def test_starting_it_again_is_tried_until_it_works(error: Exception) -> None:
    scene = Scene(Run(lives=2), Run(cannot_start=error), Run(cannot_start=error), Run())
    scene.run(scene.start, scene.until(100))
    assert [event.reason for _, event in scene.of(ContainerStopped)] == ["it ended with exit code 1", *[str(error)] * 2]
    assert [when for when, _ in scene.of(ContainerStarted)] == pytest.approx([0, 2.3])


def test_one_that_cannot_be_stopped_is_replaced_all_the_same() -> None:
    scene = Scene(Run(lives=2, cannot_stop=OSError("no engine")), Run())
    scene.run(scene.start, scene.until(100))
    assert [when for when, _ in scene.of(ContainerStarted)] == [0, 2]


# Invocations


def test_an_answer_is_measured() -> None:
    scene = Scene()
    answer = scene.run(scene.start, scene.invoke)
    assert answer is OK
    assert scene.contract.calls == [("/path", 60)]
    assert scene.of(Invoked) == [(1.5, Invoked("m", 200, True, 500_000, 1_000_000))]
    assert (scene.measurements.load_wait_us, scene.measurements.model_latency_us) == (500_000, 1_000_000)
    assert scene.supervisor.hooks == ["healthy", "prepare", "release", "unhealthy"]


def test_a_model_that_is_there_is_not_waited_for() -> None:
    scene = Scene()
    scene.supervisor.has_models = True
    assert scene.run(scene.start, scene.invoke) is OK
    assert scene.contract.calls == [("/path", 60)]
    assert scene.of(Invoked) == [(1.0, Invoked("m", 200, True, 0, 1_000_000))]
    assert (scene.measurements.load_wait_us, scene.measurements.model_latency_us) == (0, 1_000_000)
    assert scene.supervisor.hooks == ["healthy", "pin", "release", "unhealthy"]


def test_a_stream_is_under_way_until_it_is_closed() -> None:
    scene = Scene()

    async def read() -> None:
        answer = await scene.invoke_stream()
        assert answer.container == "primary"
        assert (scene.measurements.streamed, scene.measurements.sent) == (True, 0.5)
        await asyncio.sleep(4)
        assert "release" not in scene.supervisor.hooks
        with answer.closing:
            assert [chunk async for chunk in answer.chunks] == [b"answer"]
        assert scene.supervisor.hooks[-1] == "release"

    scene.run(scene.start, read)
    assert scene.of(Invoked) == [(5.5, Invoked("m", 200, True, 500_000, 5_000_000))]


NO_RESPONSE = "could not get a response from the e endpoint"
BODY_CUT = "could not load the entire response body"


@pytest.mark.parametrize(
    "outcome, status, words",
    [
        (Answer(400, [], b"bad \xff"), 400, 'client error (400) from primary with message "bad \ufffd"'),
        (Answer(302, [], b""), 302, "server error (302)"),
        (Answer(503, [], b"busy"), 503, 'server error (503) from primary with message "busy"'),
        (Answer(507, [], b"full"), 507, "server error (507)"),
        (ContainerTimeout("late"), 0, "timed out while waiting for a response from container primary"),
        (ContainerUnreachable("dropped"), 0, NO_RESPONSE),
        (ContainerError("not HTTP"), 0, "not HTTP"),
        (AnswerTooLong(200), 413, BODY_CUT),
        (AnswerTooLong(500), 500, BODY_CUT),
        (AnswerBrokenOff(200), 0, BODY_CUT),
        (AnswerBrokenOff(404), 404, BODY_CUT),
    ],
    ids=repr,
)
@pytest.mark.parametrize("streamed", [False, True])
def test_what_is_not_2xx_is_a_model_error(outcome: Outcome, status: int, words: str, streamed: bool) -> None:
    scene = Scene()

    async def fail() -> ModelError:
        scene.contract.outcomes = [outcome]
        with pytest.raises(ModelError) as raised:
            await (scene.invoke_stream() if streamed else scene.invoke())
        return raised.value

    error = scene.run(scene.start, fail)
    assert error.fields["OriginalStatusCode"] == status
    assert words in str(error)
    [(_, event)] = scene.of(Invoked)
    not_answered = [failure.reason for _, failure in scene.of(NotAnswered)]
    if isinstance(outcome, Answer):
        assert (event.status, not_answered) == (outcome.status, [])
    else:
        assert (event.status, not_answered) == (0, [str(outcome)])
    out_of_memory = ["out of memory"] if status == 507 else []
    assert scene.supervisor.hooks == ["healthy", "prepare", *out_of_memory, "release", "unhealthy"]


def test_one_that_cannot_be_reached_is_left_to_another_instance() -> None:
    scene = Scene()

    async def fail() -> AwsError:
        scene.contract.outcomes = [ContainerNotReached("refused")]
        with pytest.raises(InstanceNotReached) as raised:
            await scene.invoke()
        return raised.value.error

    assert NO_RESPONSE in str(scene.run(scene.start, fail))
    assert scene.of(Invoked) == []
    assert scene.measurements.model_latency_us == 0
    assert scene.supervisor.hooks == ["healthy", "prepare", "release", "unhealthy"]


def test_what_is_not_an_error_of_the_container_passes_through() -> None:
    scene = Scene()

    async def fail() -> None:
        scene.contract.outcomes = [ValueError("a fault of ours")]
        with pytest.raises(ValueError, match="a fault of ours"):
            await scene.invoke()

    scene.run(scene.start, fail)
    assert scene.supervisor.hooks == ["healthy", "prepare", "release", "unhealthy"]


@pytest.mark.parametrize(
    "loses_models, outcomes, calls, fails",
    [
        (True, [Answer(404, []), OK], 2, False),
        (True, [Answer(404, []), Answer(404, [])], 2, True),  # once is enough
        (False, [Answer(404, []), OK], 1, True),  # the handler's own
    ],
)
def test_a_model_that_the_container_lost_is_invoked_once_more(
    loses_models: bool, outcomes: list[Outcome], calls: int, fails: bool
) -> None:
    scene = Scene()
    scene.supervisor.loses_models = loses_models

    async def invoke() -> None:
        scene.contract.outcomes = outcomes
        if fails:
            with pytest.raises(ModelError):
                await scene.invoke()
        else:
            assert await scene.invoke() is OK

    scene.run(scene.start, invoke)
    assert len(scene.contract.calls) == calls
    assert len(scene.of(Invoked)) == 1
    assert scene.supervisor.hooks == ["healthy", *["prepare", "release"] * calls, "unhealthy"]


def test_an_invocation_waits_for_the_container_to_be_replaced() -> None:
    scene = Scene(Run(lives=2), Run(healthy=lambda age: age > 3))
    assert scene.run(scene.start, scene.until(3), scene.invoke) is OK
    [_, (healthy, _)] = scene.of(ContainerStarted)
    [(answered, _)] = scene.of(Invoked)
    assert answered == pytest.approx(healthy + 1.5)


def test_an_invocation_does_not_wait_longer_than_its_deadline() -> None:
    scene = Scene(Run(lives=2), Run(healthy=lambda age: age > 9))

    async def fail() -> float:
        call = Invocation("e", b"", 0.0)
        with pytest.raises(AwsError, match="Endpoint e is without a healthy container"):
            await scene.supervisor.invoke(call, deadline=5.0)
        return scene.loop.time()

    assert scene.run(scene.start, scene.until(3), fail) == 5.0
