"""A production variant: which invocations it takes, what they count as, and its instances as they come and go."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any, cast

import pytest

from emulator.aws.errors import AwsError
from emulator.containers.contract import Answer, StreamedAnswer
from emulator.containers.launch import Command
from emulator.containers.session_headers import CLOSED, OPENED
from emulator.data_capture import DataCapture
from emulator.errors import SetupError
from emulator.events import Event, Events, InvocationCaptured, InvocationEnded, Origin, Warned
from emulator.hosting import variant as variant_module
from emulator.hosting.captured_variant import CapturedVariant
from emulator.hosting.definition import ContainerDefinition, ModelDefinition, Resources, VariantDefinition
from emulator.hosting.errors import InstanceNotReached, container_failed
from emulator.hosting.variant import ProductionVariant
from emulator.hosting.workspace import Workspace
from emulator.invocation import Invocation
from emulator.limits import Limits
from tests.support.virtual_time import VirtualTimeLoop

ORIGIN = Origin("e", "us-east-1", "A")
RESOURCES = Resources(1, 1, 1)
RUNS = Command(("true",), Path())
MANY = ModelDefinition([ContainerDefinition(RUNS, Path("archives"))])
ONE = ModelDefinition([ContainerDefinition(RUNS, None, multi_model=False)])
PIPELINE = ModelDefinition([*ONE.containers, *MANY.containers])
DIRECT = ModelDefinition(
    [
        ContainerDefinition(RUNS, None, multi_model=False, hostname="one"),
        ContainerDefinition(RUNS, Path("archives"), hostname="many"),
    ],
    direct=True,
)
Outcome = Answer | Exception


def model_error(status: int) -> AwsError:
    return container_failed(ORIGIN, status, "words")


def unreached() -> InstanceNotReached:
    return InstanceNotReached(model_error(0))


class FakeInstance:
    """One whose containers answer as it is told, after a second."""

    healthy, loaded_count = True, 0

    def __init__(self, instance_id: str) -> None:
        self.instance_id = instance_id
        self.in_flight = 0
        self.outcome: Outcome = Answer(200, [], instance_id.encode())
        self.cannot_start: Exception | None = None
        self.life: list[str] = []
        self.calls: list[float] = []
        self.execution = self

    def location_of(self, target_model: str) -> int:
        return 0

    async def start(self) -> None:
        self.life.append("start")
        await asyncio.sleep(1)
        if self.cannot_start is not None:
            raise self.cannot_start
        self.life.append("started")

    async def stop(self) -> None:
        self.life.append("stop")

    async def state(self) -> Any:
        return {"instance_id": self.instance_id}

    async def invoke(self, invocation: Invocation, deadline: float, streamed: bool = False) -> Answer:
        assert self.in_flight > 0
        self.calls.append(deadline)
        invocation.measurements.model_latency_us = 400_000
        await asyncio.sleep(1)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        answer, measurements = self.outcome, invocation.measurements
        if not streamed:
            return answer
        measurements.streamed, measurements.sent, measurements.first_chunk = True, 0.25, 0.75
        return StreamedAnswer(answer.status, answer.headers, chunks=_chunks(answer.body))


async def _chunks(body: bytes) -> AsyncIterator[bytes]:
    yield body


class Scene:
    """A variant of fake instances at virtual time."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        model: ModelDefinition = MANY,
        instances: int = 1,
        capture: DataCapture | None = None,
        **definition: Any,
    ) -> None:
        self.loop = VirtualTimeLoop()
        self.ever: list[FakeInstance] = []
        self.happened: list[Event] = []
        monkeypatch.setattr(variant_module, "Instance", self._new_instance)
        events = Events(ORIGIN)
        events.subscribe(lambda event, _: self.happened.append(event))
        self.generator, self.capture = random.Random(1), capture
        workspace = Workspace(
            Path("nowhere"), cast(Any, None), Limits(), events, self.loop.clock(), generator=self.generator
        )
        definition = {"name": "A", "instance_count": instances, **definition}
        variant = VariantDefinition(model, RESOURCES, **definition)
        self.variant = self.loop.run_until_complete(self._made(variant, workspace))

    async def _made(self, definition: VariantDefinition, workspace: Workspace) -> ProductionVariant:
        if self.capture is not None:
            return CapturedVariant(definition, workspace, itertools.count(1), self.capture)
        return ProductionVariant(definition, workspace, itertools.count(1))

    def _new_instance(self, _: VariantDefinition, workspace: Workspace) -> FakeInstance:
        self.ever.append(FakeInstance(workspace.events.origin.instance_id))
        return self.ever[-1]

    def run(self, main: Awaitable[Any]) -> Any:
        async def wrapped() -> Any:
            return await main

        return self.loop.run(wrapped())

    def call(self, **fields: Any) -> Invocation:
        if self.variant.instances and "target_model" not in fields:
            fields["target_model"] = "m"
        return Invocation("e", b"", 0.0, request_id="r", **fields)

    def refusal(self, invocation: Invocation, streamed: bool = False) -> AwsError:
        with pytest.raises(AwsError) as raised:
            self.run(self.variant.invoke(invocation, streamed=streamed))
        return raised.value

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.happened if isinstance(event, kind)]

    @property
    def ids(self) -> list[str]:
        return [cast(FakeInstance, instance).instance_id for instance in self.variant.instances]


streamed_or_not = pytest.mark.parametrize("streamed", [False, True])


# Which invocations it takes

MISSING = "Request r is missing a target model header."
NOT_MULTI_MODEL = "Endpoint e is not a multi-model endpoint and does not support target model header."
NO_HOSTNAME = "Endpoint e is configured for direct invocation: specify a target container hostname header."
NOT_DIRECT = "Endpoint e is not configured for direct invocation and does not support target container hostname header."


@streamed_or_not
@pytest.mark.parametrize(
    "model, target_model, hostname, refused",
    [
        (MANY, "m", "", ""),
        (MANY, "", "", MISSING),
        (MANY, "m", "primary", NOT_DIRECT),
        (ONE, "", "", ""),
        (ONE, "m", "", NOT_MULTI_MODEL),
        (ONE, "", "primary", NOT_DIRECT),
        (PIPELINE, "m", "", ""),
        (PIPELINE, "", "", MISSING),
        (DIRECT, "", "one", ""),
        (DIRECT, "m", "one", NOT_MULTI_MODEL),
        (DIRECT, "m", "many", ""),
        (DIRECT, "", "many", MISSING),
        (DIRECT, "m", "", NO_HOSTNAME),
        (DIRECT, "m", "x", "Target container hostname x not found for endpoint e. It has: one, many."),
    ],
)  # fmt: skip
def test_an_invocation_has_to_go_with_the_kind_of_model(
    monkeypatch: pytest.MonkeyPatch,
    model: ModelDefinition,
    target_model: str,
    hostname: str,
    refused: str,
    streamed: bool,
) -> None:
    scene = Scene(monkeypatch, model)
    call = scene.call(target_model=target_model, target_container_hostname=hostname)
    if not refused:
        scene.run(scene.variant.invoke(call))
        assert len(scene.ever[0].calls) == 1
        return
    assert str(scene.refusal(call, streamed)) == refused
    assert scene.ever[0].calls == []
    [ended] = scene.of(InvocationEnded)
    assert (ended.error_status, ended.model_error) == (400, False)


# What it counts as


@pytest.mark.parametrize(
    "outcome, status, of_model",
    [
        (Answer(200, []), 0, False),
        (model_error(400), 400, True),
        (model_error(503), 503, True),
        (model_error(0), 500, True),  # no answer
        (model_error(302), 500, True),
        (AwsError("ServiceUnavailable", 503, "no room"), 503, False),
        (AwsError("ValidationError", 400, "no archive"), 400, False),
    ],
    ids=repr,
)
@streamed_or_not
def test_how_an_invocation_ended_is_one_event(
    monkeypatch: pytest.MonkeyPatch, outcome: Outcome, status: int, of_model: bool, streamed: bool
) -> None:
    scene = Scene(monkeypatch, instances=3)
    for instance in scene.ever:
        instance.outcome = outcome
    call = scene.call()

    async def invoke() -> None:
        if isinstance(outcome, Exception):
            with pytest.raises(AwsError) as raised:
                await scene.variant.invoke(call, streamed=streamed)
            assert raised.value is outcome
        elif streamed:
            answer: Any = await scene.variant.invoke(call, streamed=True)
            with answer.closing:
                assert scene.happened == []  # it goes on
                assert scene.variant.in_flight == 1
        else:
            await scene.variant.invoke(call)

    scene.run(invoke())
    assert scene.variant.in_flight == 0 and {instance.in_flight for instance in scene.ever} == {0}
    began_a_stream = streamed and status == 0
    assert scene.happened == [
        InvocationEnded(
            instance_count=3,
            error_status=status,
            model_error=of_model,
            model_latency_us=400_000,
            overhead_latency_us=600_000,
            cache_hit=None,
            load_wait_us=0,
            first_chunk_us=750_000 if began_a_stream else 0,
            first_chunk_model_us=500_000 if began_a_stream else 0,
            mid_stream_error=False if began_a_stream else None,
        )
    ]


@streamed_or_not
def test_of_an_instance_with_several_containers_each_has_its_time(
    monkeypatch: pytest.MonkeyPatch, streamed: bool
) -> None:
    scene = Scene(monkeypatch)
    call = scene.call()
    call.measurements.beside_others = True
    call.measurements.steps = ("container", "a", 0.0, 0.25), ("wait", "b", 0.25, 0.5), ("container", "b", 0.5, 0.75)

    async def invoke() -> None:
        answer: Any = await scene.variant.invoke(call, streamed=streamed)
        if streamed:
            answer.closing.close()

    scene.run(invoke())
    [ended] = scene.of(InvocationEnded)
    assert ended.containers == (("a", 250_000), ("b", 250_000))


def test_a_stream_that_broke_off_is_an_error_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch)
    call = scene.call()

    async def invoke() -> None:
        answer: Any = await scene.variant.invoke(call, streamed=True)
        with answer.closing:
            call.measurements.broke_off = True

    scene.run(invoke())
    [ended] = scene.of(InvocationEnded)
    assert (ended.error_status, ended.model_error, ended.mid_stream_error) == (500, True, True)


def test_a_stream_s_container_is_let_go_when_it_is_closed_and_before_the_variant_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene(monkeypatch)
    [instance] = scene.ever
    invoke_instance = instance.invoke
    order: list[str] = []

    async def invoke_stream(invocation: Invocation, deadline: float, streamed: bool) -> Answer:
        answer = await invoke_instance(invocation, deadline, streamed)
        assert isinstance(answer, StreamedAnswer)

        def let_go() -> None:
            order.append("let go")
            invocation.measurements.model_latency_us = 900_000

        answer.closing.callback(let_go)
        return answer

    async def invoke() -> None:
        answer: Any = await scene.variant.invoke(scene.call(), streamed=True)
        order.append("read")
        answer.closing.close()

    monkeypatch.setattr(instance, "invoke", invoke_stream)
    scene.run(invoke())
    assert order == ["read", "let go"]
    assert scene.of(InvocationEnded)[0].model_latency_us == 900_000


def test_a_caller_that_hangs_up_is_under_way_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch)

    async def hang_up() -> None:
        invoking = asyncio.ensure_future(scene.variant.invoke(scene.call()))
        await asyncio.sleep(0.5)
        assert scene.variant.in_flight == scene.ever[0].in_flight == 1
        invoking.cancel()
        await asyncio.gather(invoking, return_exceptions=True)
        assert scene.variant.in_flight == scene.ever[0].in_flight == 0

    scene.run(hang_up())


# To which instance


@streamed_or_not
@pytest.mark.parametrize("reachable", [0, 1, 2])
def test_one_that_is_not_reached_is_replaced_by_another(
    monkeypatch: pytest.MonkeyPatch, reachable: int, streamed: bool
) -> None:
    scene = Scene(monkeypatch, instances=3)
    for instance in scene.ever:
        if instance is not scene.ever[reachable]:
            instance.outcome = unreached()
    answer = scene.run(scene.variant.invoke(scene.call(), streamed=streamed))
    if isinstance(answer, StreamedAnswer):
        answer.closing.close()
    calls = [deadline for instance in scene.ever for deadline in instance.calls]
    limits = Limits()
    assert set(calls) == {limits.stream_invocation_seconds if streamed else limits.invocation_seconds}
    assert len(scene.ever[reachable].calls) == 1
    [ended] = scene.of(InvocationEnded)
    assert ended.error_status == 0
    assert {instance.in_flight for instance in scene.ever} == {0}


def test_when_none_is_reached_it_fails_after_each_was_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, instances=3)
    for instance in scene.ever:
        instance.outcome = unreached()
    assert scene.refusal(scene.call()).code == "ModelError"
    assert [len(instance.calls) for instance in scene.ever] == [1, 1, 1]


def opened(session_id: bytes, until: bytes = b"2000-01-01T00:00:00Z") -> Answer:
    return Answer(200, [(OPENED, b"%s; Expires=%s" % (session_id, until))])


def test_calls_of_a_session_go_to_the_instance_that_opened_it(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, instances=3)

    async def main() -> None:
        for instance in scene.ever:
            instance.outcome = opened(b"s1")
        await scene.variant.invoke(scene.call(session_id=b"NEW_SESSION"))
        [chosen] = [instance for instance in scene.ever if instance.calls]
        assert scene.variant.has_session(b"s1")
        assert not scene.variant.has_session(b"s2") and not scene.variant.has_session(None)
        for _ in range(5):
            await scene.variant.invoke(scene.call(session_id=b"s1"))
        assert len(chosen.calls) == 6
        # No other instance knows the session, so that none is tried.
        chosen.outcome = unreached()
        with pytest.raises(AwsError):
            await scene.variant.invoke(scene.call(session_id=b"s1"))
        assert [len(instance.calls) for instance in scene.ever if instance is not chosen] == [0, 0]
        chosen.outcome = Answer(200, [(CLOSED, b"s1")])
        await scene.variant.invoke(scene.call(session_id=b"s1"))
        assert not scene.variant.has_session(b"s1")

    scene.run(main())


@pytest.mark.parametrize(
    "answer, session_id, is_open, warned",
    [
        (opened(b"s1"), b"NEW_SESSION", True, False),
        (opened(b"s1"), None, False, False),  # nobody wanted one
        (opened(b"s1", b"tomorrow"), b"NEW_SESSION", False, True),
        (opened(b"s1", b"2000-02-31T00:00:00Z"), b"NEW_SESSION", False, True),
        (opened(b"s1", b"1969-01-01T00:00:00Z"), b"NEW_SESSION", False, False),  # it has expired
        (Answer(200, []), b"NEW_SESSION", False, False),
    ],
)  # fmt: skip
@streamed_or_not
def test_a_session_is_opened_by_the_answer(
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
    session_id: bytes | None,
    is_open: bool,
    warned: bool,
    streamed: bool,
) -> None:
    scene = Scene(monkeypatch)
    scene.ever[0].outcome = answer
    scene.run(scene.variant.invoke(scene.call(session_id=session_id), streamed=streamed))
    assert scene.variant.has_session(b"s1") == is_open
    assert len(scene.of(Warned)) == warned


# Its instances


def test_all_are_started_at_once_and_numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, instances=3, weight=0.5)

    async def main() -> Any:
        await scene.variant.start()
        assert scene.loop.time() == 1
        await scene.variant.invoke(scene.call())
        return await scene.variant.state()

    assert scene.run(main()) == {
        "variant_name": "A",
        "weight": 0.5,
        "invocations": 1,
        "instances": [{"instance_id": "i-1"}, {"instance_id": "i-2"}, {"instance_id": "i-3"}],
    }


def test_one_that_cannot_be_started_fails_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, instances=2)
    scene.ever[1].cannot_start = SetupError("no image")
    with pytest.raises(SetupError, match="no image"):
        scene.run(scene.variant.start())


def test_more_instances_take_invocations_only_when_all_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch)

    async def main() -> None:
        await scene.variant.prepare(3)
        assert scene.ids == ["i-1"]
        assert [instance.life for instance in scene.ever[1:]] == [["start", "started"]] * 2
        scene.variant.scale(3)
        assert scene.ids == ["i-1", "i-2", "i-3"]
        await scene.variant.stop_drained()
        await scene.variant.stop()
        assert [instance.life.count("stop") for instance in scene.ever] == [1, 1, 1]

    scene.run(main())


def test_those_that_were_prepared_in_vain_are_stopped_with_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch)

    async def main() -> None:
        await scene.variant.prepare(2)
        await scene.variant.stop()

    scene.run(main())
    assert [instance.life.count("stop") for instance in scene.ever] == [1, 1]


def test_fewer_instances_finish_what_they_have_and_lose_their_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, instances=2)

    async def main() -> None:
        scene.ever[0].in_flight = 1  # so that the other one is the idlest
        scene.ever[1].outcome = opened(b"s1")
        await scene.variant.invoke(scene.call(session_id=b"NEW_SESSION"))
        assert scene.variant.has_session(b"s1")
        call = asyncio.ensure_future(scene.variant.invoke(scene.call()))
        await asyncio.sleep(0.5)
        scene.variant.scale(1)
        assert scene.ids == ["i-1"]
        assert not scene.variant.has_session(b"s1")
        await scene.variant.stop_drained()
        assert call.done() and scene.ever[1].life == ["stop"]
        await scene.variant.stop()
        assert [instance.life for instance in scene.ever] == [["stop"], ["stop"]]

    scene.run(main())


def test_one_that_never_gets_idle_is_stopped_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, instances=2)

    async def main() -> None:
        scene.ever[1].in_flight = 1
        scene.variant.scale(1)
        await scene.variant.stop_drained()
        assert scene.ever[1].life == ["stop"]
        assert scene.loop.time() >= Limits().stream_invocation_seconds

    scene.run(main())


# Data capture


def test_what_is_captured_is_the_caller_s_request_and_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    capture = DataCapture("bucket", "", 100)
    scene = Scene(monkeypatch, capture=capture)
    scene.ever[0].outcome = Answer(200, [(b"content-type", b"text/plain")], b"out")
    invocation = scene.call(content_type=b"text/csv", custom_attributes=b"a=1", inference_id=b"i")
    invocation.body = b"in"
    scene.run(scene.variant.invoke(invocation))
    [captured] = scene.of(InvocationCaptured)
    assert captured == InvocationCaptured(
        capture, 1.0, b"in", b"text/csv", b"out", b"text/plain", custom_attributes=b"a=1", inference_id=b"i"
    )


@pytest.mark.parametrize(("percentage", "expected"), [(0, 0), (1, 1), (30, 3), (100, 4)])
def test_a_share_of_the_invocations_is_captured(
    monkeypatch: pytest.MonkeyPatch, percentage: int, expected: int
) -> None:
    scene = Scene(monkeypatch, capture=DataCapture("bucket", "", percentage))
    numbers = iter((0.0, 0.01, 0.299, 0.999))
    monkeypatch.setattr(scene.generator, "random", lambda: next(numbers))

    async def several() -> None:
        for _ in range(4):
            await scene.variant.invoke(scene.call())

    scene.run(several())
    assert len(scene.of(InvocationCaptured)) == expected


def test_errors_and_streams_are_not_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, capture=DataCapture("bucket", "", 100))

    async def stream_and_fail() -> None:
        answer = await scene.variant.invoke(scene.call(), streamed=True)
        assert isinstance(answer, StreamedAnswer)
        answer.closing.close()
        scene.ever[0].outcome = model_error(400)
        with pytest.raises(AwsError):
            await scene.variant.invoke(scene.call())

    scene.run(stream_and_fail())
    assert len(scene.of(InvocationEnded)) == 2
    assert scene.of(InvocationCaptured) == []
