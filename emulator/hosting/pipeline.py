"""How an invocation passes through the containers of an instance: in sequence, or to the one that is named."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

from emulator.containers.contract import Answer
from emulator.hosting.container_supervisor import ContainerSupervisor
from emulator.hosting.errors import InstanceNotReached
from emulator.invocation import Invocation

CONTENT_TYPE, CUSTOM_ATTRIBUTES = b"content-type", b"x-amzn-sagemaker-custom-attributes"


class InferenceExecution(Protocol):
    """How an instance's containers are invoked, SageMaker's InferenceExecutionConfig: serially, or directly. [api]

    ``deadline`` is on the event loop's clock. ``invoke`` raises the AwsError that SageMaker would answer with, and
    InstanceNotReached when nothing of the invocation reached a container.
    """

    async def invoke(self, invocation: Invocation, deadline: float, streamed: bool = False) -> Answer:
        """The answer of the last container, or of the one that the caller named.

        If ``streamed``, it is a StreamedAnswer, which the caller must close.
        """


def inference_execution(containers: Sequence[ContainerSupervisor[Any]], direct: bool) -> InferenceExecution:
    """Of an instance with these containers: each call names one if ``direct``, or else passes through all."""
    if direct:
        return DirectContainers(containers)
    return containers[0] if len(containers) == 1 else Pipeline(containers)


class Pipeline:
    """A serial inference pipeline: the answer of one container is the request of the next."""

    def __init__(self, containers: Sequence[ContainerSupervisor[Any]]) -> None:
        self._first, self._last = containers[:-1], containers[-1]

    async def invoke(self, invocation: Invocation, deadline: float, streamed: bool = False) -> Answer:
        """The last container's answer; the others have to answer as a whole before. See InferenceExecution."""
        invocation.measurements.beside_others = True
        invocation = await self._all_but_last(invocation, deadline)
        try:
            return await self._last.invoke(invocation, deadline, streamed)
        except InstanceNotReached as unreached:  # the others were: the invocation has begun
            raise unreached.error from None

    async def _all_but_last(self, invocation: Invocation, deadline: float) -> Invocation:
        """The request to the last container, once all others have answered."""
        accept, invocation = invocation.accept, dataclasses.replace(invocation, accept=None)
        for number, container in enumerate(self._first):
            try:
                answer = await container.invoke(invocation, deadline)
            except InstanceNotReached as unreached:
                raise unreached if number == 0 else unreached.error from None
            invocation = following(invocation, answer)
        return dataclasses.replace(invocation, accept=accept)


def following(invocation: Invocation, answer: Answer) -> Invocation:
    """The request to the container that comes after the one that answered."""
    attributes = answer.header(CUSTOM_ATTRIBUTES)
    return dataclasses.replace(
        invocation,
        body=answer.body,
        chunks=None,
        content_type=answer.header(CONTENT_TYPE),
        custom_attributes=invocation.custom_attributes if attributes is None else attributes,
    )


class DirectContainers:
    """Direct invocation: each call goes to the container whose host name it gives."""

    def __init__(self, containers: Sequence[ContainerSupervisor[Any]]) -> None:
        self._by_name = {container.name: container for container in containers}

    async def invoke(self, invocation: Invocation, deadline: float, streamed: bool = False) -> Answer:
        """That container's answer. See InferenceExecution."""
        invocation.measurements.beside_others = True
        return await self._by_name[invocation.target_container_hostname].invoke(invocation, deadline, streamed)
