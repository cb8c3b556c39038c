"""A production variant: its share of an endpoint's traffic, and the instances that serve it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import NoReturn

from emulator.aws.errors import AwsError
from emulator.containers.contract import Answer, StreamedAnswer
from emulator.containers.session_headers import closed_session, opened_session
from emulator.events import InvocationEnded, InvocationRetried, Warned
from emulator.hosting import routing
from emulator.hosting.container_supervisor import FIRST_RESTART_PAUSE
from emulator.hosting.definition import VariantDefinition
from emulator.hosting.errors import (
    InstanceNotReached,
    ModelError,
    NotPossible,
    target_container_missing,
    target_container_not_found,
    target_container_not_supported,
    target_model_missing,
    target_model_not_supported,
)
from emulator.hosting.instance import ASKED_FOR, Instance
from emulator.hosting.sessions import Sessions
from emulator.hosting.tasks import cancel, drained, gather_or_cancel
from emulator.hosting.workspace import Workspace
from emulator.invocation import Invocation
from emulator.state import VariantState


class ProductionVariant:
    """Sends invocations to its instances."""

    def __init__(self, definition: VariantDefinition, workspace: Workspace, numbers: Iterator[int]) -> None:
        """``workspace`` is the variant's own; ``numbers`` are those of the instances to come.

        Must be created on the running event loop.
        """
        self.name = definition.name
        self.weight = definition.weight
        self.instance_type = definition.instance_type
        self.in_flight = 0
        self._invocations = 0
        self._definition = definition
        self._workspace, self._numbers = workspace, numbers
        self._limits = workspace.limits
        self._events = workspace.events
        self._clock = workspace.clock
        self._loop = asyncio.get_running_loop()
        self._endpoint_name = workspace.events.origin.endpoint_name
        model = definition.model
        # By the host name that the caller gives, "" for none: whether the model has to be named as well.
        self._hosts_many = {"": model.multi_model is not None}
        if model.direct:
            containers = zip(model.container_names(), model.containers, strict=True)
            self._hosts_many = {name: container.multi_model for name, container in containers}
        self.instances = [self._new_instance() for _ in range(definition.instance_count)]
        self._sessions: Sessions[Instance] = Sessions(workspace.clock)
        self._starting: list[Instance] = []  # to which nothing is routed yet
        self._draining: list[Instance] = []  # to which nothing is routed any more
        self._replacing: dict[Instance, asyncio.Task[None]] = {}  # by the instance that takes the place of another

    @property
    def last_container(self) -> str:
        """The name of the container whose answer callers get, unless they name another one."""
        return self._definition.model.container_names()[-1]

    async def start(self) -> None:
        """Start all instances. Raises SetupError when one of them cannot be."""
        await gather_or_cancel(instance.start() for instance in self.instances)

    async def stop(self) -> None:
        """Stop all instances. May be called at any time."""
        await cancel(self._replacing.values())
        await asyncio.gather(*(instance.stop() for instance in (*self.instances, *self._starting, *self._draining)))

    async def prepare(self, instance_count: int) -> None:
        """Start the instances that are missing to that many; they take invocations from ``scale`` on.

        Raises SetupError when one of them cannot be started.
        """
        self._starting = [self._new_instance() for _ in range(instance_count - len(self.instances))]
        await gather_or_cancel(instance.start() for instance in self._starting)

    def scale(self, instance_count: int) -> None:
        """Have that many instances, of those that there are and those that were prepared. See ``stop_drained``."""
        instances = self.instances + self._starting
        self.instances, self._starting = instances[:instance_count], []
        self._draining += instances[instance_count:]
        for instance in instances[instance_count:]:
            self._sessions.lose(instance)

    async def stop_drained(self) -> None:
        """Stop the instances that ``scale`` left over, once the invocations that they have are over."""
        draining = list(self._draining)
        await cancel(self._replacing[instance] for instance in draining if instance in self._replacing)
        await drained(draining, self._limits.stream_invocation_seconds)
        await asyncio.gather(*(instance.stop() for instance in draining))
        self._draining = [instance for instance in self._draining if instance not in draining]

    def instance(self, instance_id: str) -> Instance:
        """The one of that id that takes invocations. Raises NotPossible when there is none."""
        for instance in self.instances:
            if instance.instance_id == instance_id:
                return instance
        raise NotPossible(f"Variant {self.name} has no instance {instance_id}.")

    def lose_instance(self, instance_id: str) -> str:
        """Lose an instance, as when its machine fails; the id of the one that takes its place.

        Invocations that it has fail. Until the new one is healthy, others take what comes, if there are any. Raises
        NotPossible.
        """
        lost = self.instance(instance_id)
        if lost in self._replacing:
            raise NotPossible(f"{instance_id} is being started.")
        replacement = self._put_in_place_of(lost)
        self._replacing[replacement] = asyncio.create_task(self._replace(lost, replacement))
        return replacement.instance_id

    def _put_in_place_of(self, lost: Instance) -> Instance:
        """A new instance, which takes what comes from now on. It has to be started."""
        replacement = self._new_instance()
        self.instances = [replacement if each is lost else each for each in self.instances]
        self._sessions.lose(lost)
        self._draining.append(lost)
        return replacement

    async def _replace(self, lost: Instance, replacement: Instance) -> None:
        """Start an instance in the place of another; one that cannot be started is replaced in turn, after a pause."""
        reason, pause = ASKED_FOR, 0.0
        try:
            while True:
                await lost.lose(reason, replacement.instance_id)
                self._draining = [each for each in self._draining if each is not lost]
                await asyncio.sleep(pause)
                if replacement not in self.instances:
                    return
                try:
                    return await replacement.start_in_place_of(lost)
                except Exception as error:
                    reason = f"it cannot be started: {error}"
                pause = min(max(2 * pause, FIRST_RESTART_PAUSE), self._limits.restart_seconds)
                task = self._replacing.pop(replacement)
                lost, replacement = replacement, self._put_in_place_of(replacement)
                self._replacing[replacement] = task
        finally:
            del self._replacing[replacement]

    def _new_instance(self) -> Instance:
        return Instance(self._definition, self._workspace.instance(f"i-{next(self._numbers)}"))

    async def invoke(self, invocation: Invocation, *, streamed: bool = False) -> Answer:
        """InvokeEndpoint, for this variant. Raises the AwsError that SageMaker would answer with.

        If ``streamed``, it is InvokeEndpointWithResponseStream, and the caller must close the StreamedAnswer.
        """
        try:
            self._check(invocation)
            self._invocations += 1
            seconds = self._limits.stream_invocation_seconds if streamed else self._limits.invocation_seconds
            deadline = self._loop.time() + seconds
            unreachable: list[Instance] = []
            while True:
                instance = self._choose(invocation, unreachable)
                measurements = invocation.measurements
                measurements.variant_name, measurements.instance_id = self.name, instance.instance_id
                self.in_flight += 1
                instance.in_flight += 1
                try:
                    answer = await instance.execution.invoke(invocation, deadline, streamed)
                    break
                except BaseException as error:
                    self._remove_in_flight(instance)
                    if not isinstance(error, InstanceNotReached):
                        raise
                    unreachable.append(instance)
                    # No other one knows a session. They may have become others meanwhile.
                    if invocation.names_session or set(self.instances) <= set(unreachable):
                        raise error.error from None
                    why = "its container accepts no connection"
                    self._events.publish(InvocationRetried(invocation.target_model, instance.instance_id, why))
        except AwsError as error:
            self._publish_end(invocation, error)
            raise
        if invocation.session_id is not None:
            self._note_session(answer, instance)
        if isinstance(answer, StreamedAnswer):
            of_container = answer.closing.pop_all()
            answer.closing.callback(self._publish_end, invocation)
            answer.closing.callback(self._remove_in_flight, instance)
            answer.closing.push(of_container)  # the last to come is the first to go: by it the latency is known
        else:
            self._remove_in_flight(instance)
            self._publish_end(invocation)
        return answer

    def refuse(self, invocation: Invocation, error: AwsError) -> NoReturn:
        """Count an invocation as failed by this error, and raise it; or what is wrong with the invocation itself."""
        try:
            self._check(invocation)
            self._invocations += 1
            invocation.measurements.variant_name = self.name
            raise error
        except AwsError as refusal:
            self._publish_end(invocation, refusal)
            raise

    def has_session(self, session_id: bytes | None) -> bool:
        """Whether one of its instances has that session."""
        return session_id is not None and self._sessions.instance(session_id) is not None

    async def state(self) -> VariantState:
        """What is where."""
        return {
            "variant_name": self.name,
            "weight": self.weight,
            "invocations": self._invocations,
            "instances": [await instance.state() for instance in self.instances],
        }

    def _choose(self, invocation: Invocation, without: list[Instance]) -> Instance:
        if len(self.instances) == 1:
            return self.instances[0]
        if invocation.names_session and (instance := self._sessions.instance(invocation.session_id or b"")):
            return instance
        target_model = invocation.target_model
        if target_model:
            return routing.for_model(self.instances, target_model, self._limits.busy_invocations, without)
        return routing.for_any(self.instances, self._definition.least_outstanding, self._workspace.generator, without)

    def _remove_in_flight(self, instance: Instance) -> None:
        self.in_flight -= 1
        instance.in_flight -= 1

    def _note_session(self, answer: Answer, instance: Instance) -> None:
        if (closed := closed_session(answer)) is not None:
            self._sessions.close(closed)
        try:
            opened = opened_session(answer)
        except ValueError as error:
            self._events.publish(Warned(str(error)))
        else:
            if opened is not None:
                session_id, expires = opened
                self._sessions.open(session_id, instance, expires)

    def _publish_end(self, invocation: Invocation, error: AwsError | None = None) -> None:
        measurements = invocation.measurements
        status = 500 if measurements.broke_off else 0
        if error is not None:
            # That of a container without an answer is 0; SageMaker's message calls it a server error.
            status = int(error.fields.get("OriginalStatusCode", error.status))
            status = status if status >= 400 else 500
        total_us = int((self._clock.elapsed() - invocation.received) * 1e6)
        event = InvocationEnded(  # whose arguments have no names here: with them, to make it takes twice as long
            len(self.instances),
            status,
            measurements.broke_off or isinstance(error, ModelError),
            measurements.model_latency_us,
            max(0, total_us - measurements.model_latency_us),
            measurements.cache_hit,
            measurements.load_wait_us,
        )
        if measurements.streamed or measurements.beside_others:
            _add_uncommon(event, invocation)
        self._events.publish(event)

    def _check(self, invocation: Invocation) -> None:
        """Raises ValidationError for an invocation that does not go with the kind of model."""
        name, hostname = self._endpoint_name, invocation.target_container_hostname
        if self._definition.model.direct:
            if not hostname:
                raise target_container_missing(name)
            if hostname not in self._hosts_many:
                raise target_container_not_found(name, hostname, list(self._hosts_many))
        elif hostname:
            raise target_container_not_supported(name)
        if self._hosts_many[hostname]:
            if not invocation.target_model:
                raise target_model_missing(invocation.request_id)
        elif invocation.target_model:
            raise target_model_not_supported(name)


def _add_uncommon(event: InvocationEnded, invocation: Invocation) -> None:
    measurements = invocation.measurements
    if measurements.streamed:
        event.mid_stream_error = measurements.broke_off
    if measurements.first_chunk:
        event.first_chunk_us = int((measurements.first_chunk - invocation.received) * 1e6)
        event.first_chunk_model_us = int((measurements.first_chunk - measurements.sent) * 1e6)
    if measurements.beside_others:
        event.containers = tuple(
            (container, int((ended - began) * 1e6))
            for step, container, began, ended in measurements.steps
            if step == "container"
        )
