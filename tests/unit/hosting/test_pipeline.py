"""How an invocation passes through the containers of an instance."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import cast

import pytest

from emulator.aws.errors import AwsError
from emulator.containers.contract import Answer, StreamedAnswer
from emulator.hosting.container_supervisor import ContainerSupervisor
from emulator.hosting.errors import InstanceNotReached
from emulator.hosting.pipeline import DirectContainers, InferenceExecution, Pipeline, following, inference_execution
from emulator.invocation import Invocation

FAILED = AwsError("ModelError", 424, "failed")
UNREACHED = InstanceNotReached(AwsError("ModelError", 424, "not reached"))


class Step:
    """A container that answers with its name, added to the body."""

    def __init__(self, name: str, error: Exception | None = None) -> None:
        self.name = name
        self.error = error
        self.seen: list[tuple[Invocation, float]] = []

    async def invoke(self, invocation: Invocation, deadline: float, streamed: bool = False) -> Answer:
        self.seen.append((invocation, deadline))
        if self.error is not None:
            raise self.error
        headers = [(b"content-type", self.name.encode() + b"/x")]
        body = invocation.body + b" " + self.name.encode()
        return StreamedAnswer(200, headers, chunks=chunks(body)) if streamed else Answer(200, headers, body)


async def chunks(body: bytes) -> AsyncIterator[bytes]:
    for word in body.split():
        yield word


async def nothing() -> AsyncGenerator[bytes, None]:
    yield b""


def entry(steps: Sequence[Step], direct: bool = False) -> InferenceExecution:
    return inference_execution(cast(Sequence[ContainerSupervisor], steps), direct)


def invocation(**fields: object) -> Invocation:
    return Invocation("e", b"body", 0.0, **fields)  # type: ignore[arg-type]


async def body_of(entry: InferenceExecution, invocation: Invocation, streamed: bool) -> bytes:
    answer = await entry.invoke(invocation, 7.0, streamed)
    if not streamed:
        return answer.body
    assert isinstance(answer, StreamedAnswer)
    return b" ".join([chunk async for chunk in answer.chunks])


streamed_or_not = pytest.mark.parametrize("streamed", [False, True])


def test_the_entry_to_one_container_is_the_container_itself() -> None:
    only = Step("only")
    assert entry([only]) is only
    assert isinstance(entry([only, only]), Pipeline)
    assert isinstance(entry([only, only], direct=True), DirectContainers)
    assert isinstance(entry([only], direct=True), DirectContainers)


@streamed_or_not
def test_the_answer_of_each_is_the_request_of_the_next(streamed: bool) -> None:
    steps = [Step("a"), Step("b"), Step("c")]
    call = invocation(content_type=b"caller/x", accept=b"wanted/x", session_id=b"s", target_model="m")
    assert asyncio.run(body_of(entry(steps), call, streamed)) == b"body a b c"
    seen = [step.seen[0][0] for step in steps]
    assert [each.body for each in seen] == [b"body", b"body a", b"body a b"]
    assert [each.content_type for each in seen] == [b"caller/x", b"a/x", b"b/x"]
    # What the caller accepts is for the last one only.
    assert [each.accept for each in seen] == [None, None, b"wanted/x"]
    assert {(each.session_id, each.target_model) for each in seen} == {(b"s", "m")}
    assert all(each.measurements is call.measurements for each in seen)
    assert call.measurements.beside_others
    assert {step.seen[0][1] for step in steps} == {7.0}


@pytest.mark.parametrize(
    "headers, content_type, attributes",
    [
        ([], None, b"caller's"),
        ([(b"content-type", b"a/x")], b"a/x", b"caller's"),
        ([(b"x-amzn-sagemaker-custom-attributes", b"own")], None, b"own"),
        ([(b"x-amzn-sagemaker-custom-attributes", b"")], None, b""),
    ],
)
def test_custom_attributes_stay_until_a_container_sets_its_own(
    headers: list[tuple[bytes, bytes]], content_type: bytes | None, attributes: bytes
) -> None:
    call = invocation(custom_attributes=b"caller's", content_type=b"caller/x")
    after = following(dataclasses.replace(call, chunks=nothing), Answer(200, headers, b"answer"))
    assert after.chunks is None
    assert (after.body, after.content_type, after.custom_attributes) == (b"answer", content_type, attributes)


@streamed_or_not
@pytest.mark.parametrize("failing", [0, 1, 2])
def test_an_error_ends_it(failing: int, streamed: bool) -> None:
    steps = [Step(name, FAILED if number == failing else None) for number, name in enumerate("abc")]
    with pytest.raises(AwsError) as raised:
        asyncio.run(body_of(entry(steps), invocation(), streamed))
    assert raised.value is FAILED
    assert [len(step.seen) for step in steps] == [1] * (failing + 1) + [0] * (2 - failing)


@streamed_or_not
@pytest.mark.parametrize("failing", [0, 1, 2])
def test_only_if_nothing_reached_the_first_another_instance_may_take_it(failing: int, streamed: bool) -> None:
    steps = [Step(name, UNREACHED if number == failing else None) for number, name in enumerate("abc")]
    with pytest.raises((InstanceNotReached, AwsError)) as raised:
        asyncio.run(body_of(entry(steps), invocation(), streamed))
    assert raised.value is (UNREACHED if failing == 0 else UNREACHED.error)


@streamed_or_not
def test_a_direct_invocation_goes_to_the_container_of_that_host_name(streamed: bool) -> None:
    steps = [Step("a"), Step("b")]
    call = invocation(target_container_hostname="b", accept=b"wanted/x")
    assert asyncio.run(body_of(entry(steps, direct=True), call, streamed)) == b"body b"
    assert steps[0].seen == [] and steps[1].seen == [(call, 7.0)]
