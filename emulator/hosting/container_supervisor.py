"""One container of an instance: kept running, its health polled, invoked through the contract."""

from __future__ import annotations

import abc
import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from emulator.aws.errors import AwsError, too_many_open_files
from emulator.clock import Clock
from emulator.containers.container import Container, LogSink
from emulator.containers.contract import Answer, AnswerTooLong, ContainerContract, StreamedAnswer
from emulator.containers.health import Outcome, first_health
from emulator.containers.http_connection import AnswerBrokenOff
from emulator.errors import (
    ContainerError,
    ContainerNotReached,
    ContainerTimeout,
    ContainerUnreachable,
    SetupError,
    TooManyOpenFiles,
)
from emulator.events import ContainerStarted, ContainerStarting, ContainerStopped, Events, Invoked, LogLine, NotAnswered
from emulator.hosting.errors import (
    InstanceNotReached,
    NotPossible,
    answer_too_long,
    container_failed,
    container_too_slow,
    endpoint_not_in_service,
    no_response,
    ping_failed,
)
from emulator.hosting.tasks import cancel
from emulator.invocation import Invocation
from emulator.limits import Limits
from emulator.state import ContainerState
from emulator.timeouts import in_time

log = logging.getLogger("localmme")
LAST_LOG_LINES = 20  # that an error message repeats
FIRST_RESTART_PAUSE = 0.1  # seconds before a container is replaced that has not lived long
# [ours] How long an unhealthy container's end is waited for: that it was killed says more than that it does not answer,
# and a Docker Engine may say so later than health checks fail.
END_REPORTED_SECONDS = 1.0


class HostedModel(Protocol):
    """A model of a running container, and where it is invoked."""

    path: str
    target_model: str  # empty for a container's only model
    last_used: float  # when its last invocation ended, by the clock's ``elapsed``


M = TypeVar("M", bound=HostedModel)


class ContainerSupervisor(abc.ABC, Generic[M]):
    """Keeps one container running, and sends invocations to it.

    Below this class are the two kinds of containers: those that host one model, and those that host many.
    """

    def __init__(
        self, new_container: Callable[[LogSink], Container], limits: Limits, events: Events, clock: Clock
    ) -> None:
        """``limits.startup_seconds`` is the variant's own. ``events.origin`` names the container."""
        self.name = events.origin.container
        self.restarts = 0
        self._new_container = new_container
        self._limits = limits
        self._events = events
        self._clock = clock
        self._origin = events.origin
        self._last_lines: deque[str] = deque(maxlen=LAST_LOG_LINES)
        self._container: Container | None = None
        self._contract: ContainerContract
        self._healthy = asyncio.Event()
        self._supervision: asyncio.Task[None] | None = None
        self._is_lost = False
        self._restart = asyncio.Event()  # set when it is to be replaced, whether or not it is healthy
        self._restart_reason = ""
        self._stop_seconds: float | None = None

    # What is different for one model and for many

    @property
    @abc.abstractmethod
    def disk_used(self) -> int:
        """Bytes that its models take on the storage volume."""

    @abc.abstractmethod
    async def _check_health(self, contract: ContainerContract) -> None:
        """One health check as the platform makes it. Raises ContainerError."""

    def _on_healthy(self, container: Container) -> None:
        """A run of the container is healthy; ``self._contract`` calls it."""

    def _on_unhealthy(self) -> None:
        """The healthy run has ended."""

    @abc.abstractmethod
    def _pin(self, invocation: Invocation) -> M | None:
        """The model of an invocation, which stays until ``_release``; None if ``_prepare`` has to get it first."""

    async def _prepare(self, invocation: Invocation, deadline: float) -> M:
        """What ``_pin`` did not have."""
        raise NotImplementedError

    def _release(self, model: M) -> None:
        """An invocation of the model is over."""

    async def _has_lost(self, model: M) -> bool:
        """Whether a 404 means that the container lost the model, so that invoking it again loads it."""
        return False

    def _on_out_of_memory(self, model: M) -> None:
        """The container answered 507 to an invocation."""

    # Its life

    async def start(self) -> None:
        """Start the container and wait until it is healthy.

        Raises SetupError, with the container's last log lines, when it ends or does not get healthy in time.
        """
        await self._start_container()
        self._supervision = asyncio.create_task(self._supervise())

    async def stop(self, seconds: float | None = None) -> None:
        """Stop the container, as ``Container.stop`` does. May be called at any time."""
        if self._supervision is not None:
            await cancel([self._supervision])
        self._set_unhealthy()
        if self._container is not None:
            await self._container.stop(seconds)

    async def lose(self) -> None:
        """The container is gone at once, and for good: who waits for it is better off elsewhere."""
        self._is_lost = True
        self._set_unhealthy()
        self._healthy.set()  # wakes them
        self._healthy.clear()
        await self.stop(0)

    def restart(self, reason: str, seconds: float | None = None) -> None:
        """Replace the container: it is stopped, as ``Container.stop`` does, and another run of it is started.

        Invocations under way fail. Raises NotPossible when it is being replaced already.
        """
        if not self.healthy:
            raise NotPossible(f"{self.name} is being replaced already.")
        self._restart_reason, self._stop_seconds = reason, seconds
        self._restart.set()

    @property
    def healthy(self) -> bool:
        return self._healthy.is_set()

    async def memory_used(self) -> int:
        """Bytes of memory in use by the container now."""
        return await self._container.memory_used() if self.healthy and self._container else 0

    async def cpu_seconds(self) -> float | None:
        """Seconds of processor time that this run of the container has used; None if unknown."""
        return await self._container.cpu_seconds() if self.healthy and self._container else None

    async def get(self, path: str, accept: str) -> Answer:
        """The answer to a GET of what the container may have besides, once it is healthy. Raises ContainerError."""
        await self._healthy.wait()
        return await self._contract.get(path, accept)

    def state(self) -> ContainerState:
        running = self._container if self.healthy else None
        return {
            "name": self.name,
            "healthy": self.healthy,
            "address": running.address if running else None,
            "restarts": self.restarts,
        }

    # Invocations

    async def invoke(
        self, invocation: Invocation, deadline: float, streamed: bool = False, *, again: bool = False
    ) -> Answer:
        """The container's answer, if its status is 2xx. See InferenceExecution.

        The ``chunks`` of a streamed one raise ContainerError when it breaks off; the invocation is under way until the
        caller closes it. ``again``: the container had lost the model.
        """
        if not self._healthy.is_set():
            await self._wait_for_container(invocation, deadline)
        contract, measurements, wait_us = self._contract, invocation.measurements, 0
        sent = self._clock.elapsed()
        model = self._pin(invocation)
        if model is None:
            began = sent
            model = await self._prepare(invocation, deadline)
            sent = self._clock.elapsed()
            wait_us = int((sent - began) * 1e6)
        call = contract.invoke_stream if streamed else contract.invoke
        try:
            answer = await call(model.path, invocation, deadline)
            lost = answer.status == 404 and await self._has_lost(model)
        except ContainerNotReached:
            self._release(model)
            measurements.steps += (("wait", self.name, sent, self._clock.elapsed()),)
            raise InstanceNotReached(no_response(self._origin)) from None
        except BaseException as error:
            self._end(model, invocation, wait_us, sent, 0, str(error))
            raise self._failure(error) if isinstance(error, ContainerError) else error from None
        if lost and not again:
            self._release(model)
            measurements.steps += (("container", self.name, sent, self._clock.elapsed()),)
            return await self.invoke(invocation, deadline, streamed, again=True)
        if isinstance(answer, StreamedAnswer):
            answer.closing.callback(self._end, model, invocation, wait_us, sent, answer.status)
            answer.container = self.name
            measurements.streamed, measurements.sent = True, sent
            return answer
        if answer.status == 507:
            self._on_out_of_memory(model)
        self._end(model, invocation, wait_us, sent, answer.status)
        if answer.status >= 300:
            raise container_failed(self._origin, answer.status, answer.body.decode("utf-8", "replace"))
        return answer

    def _end(self, model: M, invocation: Invocation, wait_us: int, sent: float, status: int, problem: str = "") -> None:
        measurements, ended = invocation.measurements, self._clock.elapsed()
        model.last_used = ended
        self._release(model)
        measurements.steps += (("container", self.name, sent, ended),)
        latency_us = int((ended - sent) * 1e6)
        measurements.load_wait_us += wait_us
        measurements.model_latency_us += latency_us
        cache_hit = measurements.cache_hit is not False
        self._events.publish(Invoked(model.target_model, status, cache_hit, wait_us, latency_us))
        if problem:
            self._events.publish(NotAnswered(model.target_model, problem))

    async def _wait_for_container(self, invocation: Invocation, deadline: float) -> None:
        began = self._clock.elapsed()
        try:
            while not self._healthy.is_set():  # it may be gone again by the time that those who waited get on
                if self._is_lost:
                    raise InstanceNotReached(no_response(self._origin))
                await self._wait_until_healthy(deadline)
        finally:
            invocation.measurements.steps += (("wait for container", self.name, began, self._clock.elapsed()),)

    async def _wait_until_healthy(self, deadline: float) -> None:
        try:
            pause = max(0.0, deadline - asyncio.get_running_loop().time())
            await in_time(self._healthy.wait(), pause)
        except asyncio.TimeoutError:
            raise endpoint_not_in_service(self._origin.endpoint_name, "without a healthy container") from None

    def _failure(self, error: ContainerError) -> AwsError:
        if isinstance(error, TooManyOpenFiles):
            return too_many_open_files()
        if isinstance(error, ContainerTimeout):
            return container_too_slow(self._origin)
        if isinstance(error, AnswerTooLong):
            return answer_too_long(self._origin, error.status if error.status >= 400 else 413)
        if isinstance(error, AnswerBrokenOff):
            return answer_too_long(self._origin, error.status if error.status >= 400 else 0)
        if isinstance(error, ContainerUnreachable):
            return no_response(self._origin)
        return container_failed(self._origin, 0, str(error))

    # The container's life

    async def _start_container(self) -> None:
        started = self._clock.elapsed()
        self._last_lines.clear()
        self._events.publish(ContainerStarting())
        container = self._container = self._new_container(self._take_log_line)
        await container.start()
        contract = container.contract(self._limits)
        try:
            await self._wait_for_first_health(container, contract)
        except BaseException:
            contract.close()
            await container.stop()
            raise
        self._contract = contract
        self._on_healthy(container)
        self._healthy.set()
        limit = container.memory_limit
        self._events.publish(ContainerStarted(self._clock.elapsed() - started, "" if limit is None else str(limit)))

    def _set_unhealthy(self) -> None:
        if self._healthy.is_set():
            self._healthy.clear()
            self._on_unhealthy()
            self._contract.close()

    async def _wait_for_first_health(self, container: Container, contract: ContainerContract) -> None:
        exited = asyncio.ensure_future(container.wait())
        seconds = self._limits.startup_seconds
        try:
            health = await first_health(exited, lambda: self._poll(contract), seconds)
        finally:
            exited.cancel()
        if health.outcome is Outcome.ENDED:
            # Its last words may still be on their way through the pipe.
            await container.stop()
            raise self._unfit(f"It {health.detail} before it was healthy.")
        if health.outcome is Outcome.TIMED_OUT:
            raise self._unfit(f"It was not healthy within {seconds:.3g} s: {health.detail}.")

    async def _poll(self, contract: ContainerContract) -> str | None:
        """What is wrong with the container, None if nothing is."""
        try:
            await self._check_health(contract)
        except ContainerError as error:
            return str(error)
        return None

    async def _supervise(self) -> None:
        """Poll the container's health; replace it when it has died or stays unhealthy.

        The first time at once; one that keeps dying is given longer and longer pauses.
        """
        clock = asyncio.get_running_loop().time
        pause = 0.0
        while True:
            assert self._container is not None
            healthy_since = clock()
            reason = await self._wait_for_trouble(self._container)
            self._set_unhealthy()
            self.restarts += 1
            self._events.publish(ContainerStopped(reason))
            try:
                await self._container.stop(self._stop_seconds)
            except Exception:  # whatever it is: a container that is not replaced would never be again
                log.exception("a container could not be stopped")
            self._restart.clear()
            self._stop_seconds = None
            if clock() - healthy_since > self._limits.restart_seconds:
                pause = 0.0
            while not self._healthy.is_set():
                await asyncio.sleep(pause)
                pause = min(max(2 * pause, FIRST_RESTART_PAUSE), self._limits.restart_seconds)
                try:
                    await self._start_container()
                except SetupError as error:
                    self._events.publish(ContainerStopped(str(error)))
                except Exception as error:  # such as no file descriptor that is free
                    log.exception("a container could not be started")
                    self._events.publish(ContainerStopped(str(error)))

    async def _wait_for_trouble(self, container: Container) -> str:
        exited = asyncio.ensure_future(container.wait())
        ordered = asyncio.ensure_future(self._restart.wait())
        failed = 0
        try:
            while True:
                await asyncio.wait(
                    [exited, ordered], timeout=self._limits.poll_seconds, return_when=asyncio.FIRST_COMPLETED
                )
                if exited.done():
                    return f"it {exited.result()}"
                if ordered.done():
                    return self._restart_reason
                problem = await self._poll(self._contract)
                failed = failed + 1 if problem else 0
                if failed >= self._limits.unhealthy_pings:
                    if (await asyncio.wait([exited], timeout=END_REPORTED_SECONDS))[0]:
                        return f"it {exited.result()}"
                    return f"it failed {failed} health checks in a row: {problem}"
        finally:
            exited.cancel()
            ordered.cancel()

    def _take_log_line(self, line: str) -> None:
        self._last_lines.append(line)
        self._events.publish(LogLine(line))

    def _unfit(self, reason: str) -> SetupError:
        words = "It wrote nothing to its log."
        if self._last_lines:
            words = "Its last log lines:\n" + "\n".join(f"    {line}" for line in self._last_lines)
        return SetupError(f"{ping_failed(self._origin)} {reason} {words}")
