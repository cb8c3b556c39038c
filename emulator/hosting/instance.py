"""One emulated ML instance: a storage volume, a container, and the models in its memory."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator.artifacts.bucket import LocalBucket
from emulator.containers.base import Container, LogSink
from emulator.containers.contract import Answer, AnswerTooLong, ContainerContract, Invocation, StreamedAnswer
from emulator.containers.pool import AnswerBrokenOff
from emulator.errors import (
    ContainerError,
    ContainerTimeout,
    Origin,
    SetupError,
    answer_too_long,
    container_failed,
    container_too_slow,
    endpoint_not_in_service,
)
from emulator.events import ArchiveChanged, ContainerStarted, ContainerStopped, Events, Invoked
from emulator.hosting.memory import LoadedModel, LoadedModels, MemoryBudget
from emulator.hosting.volume import StorageVolume
from emulator.limits import Limits

LAST_LOG_LINES = 20  # that an error message repeats
FIRST_POLL_SECONDS, SLOWEST_POLL_SECONDS = 0.02, 0.5  # while a container starts
FIRST_RESTART_PAUSE = 0.1  # seconds before a container is replaced that has not lived long


@dataclass(frozen=True)
class Resources:
    """What an instance has to offer. Sizes in bytes."""

    memory_bytes: int
    storage_bytes: int
    vcpus: int
    max_loaded_models: int | None = None


@dataclass(frozen=True)
class Caching:
    """How long an instance keeps models."""

    enabled: bool = True  # ModelCacheSetting
    reload: bool = False  # for prototyping: serve a changed archive at once, which SageMaker does not


@dataclass(slots=True)
class Use:
    """One invocation's use of a model in memory. Times are the event loop's."""

    loaded: LoadedModels
    contract: ContainerContract
    model: LoadedModel
    cache_hit: bool
    began: float
    sent: float


class Instance:
    """Keeps one container running, and sends invocations to it, with their models loaded.

    Callers speak to it through ``start``, ``invoke``, ``invoke_stream``, ``state`` and ``stop`` only.
    """

    def __init__(
        self,
        new_container: Callable[[LogSink], Container],
        bucket: LocalBucket,
        directory: Path,
        resources: Resources,
        caching: Caching,
        limits: Limits,
        events: Events,
        origin: Origin,
        log: LogSink,
    ) -> None:
        self.volume = StorageVolume(directory, resources.storage_bytes, bucket, limits, events)
        self._new_container = new_container
        self._resources = resources
        self._caching = caching
        self._limits = limits
        self._events = events
        self._origin = origin
        self._log = log
        self._last_lines: deque[str] = deque(maxlen=LAST_LOG_LINES)
        self._container: Container | None = None
        self._contract: ContainerContract
        self._loaded: LoadedModels
        self._healthy = asyncio.Event()
        self._restarts = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start the container and wait until it is healthy.

        Raises SetupError, with the container's last log lines, when it ends or does not get healthy in time.
        """
        await self._start_container()
        self._tasks = [asyncio.create_task(self._supervise()), asyncio.create_task(self._watch_archives())]

    async def stop(self) -> None:
        """Stop the container and let go of everything on disk. May be called at any time."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._healthy.is_set():
            self._healthy.clear()
            self._loaded.close()
            self._contract.close()
        if self._container is not None:
            await self._container.stop()

    async def invoke(self, invocation: Invocation, deadline: float) -> Answer:
        """Load the model if need be, and return the container's answer.

        ``deadline`` is on the event loop's clock. Raises the AwsError that SageMaker would answer with.
        """
        answer, use = await self._exchange(invocation, deadline, ContainerContract.invoke)
        self._end(use, answer.status)
        return answer

    async def invoke_stream(self, invocation: Invocation, deadline: float) -> StreamedAnswer:
        """As ``invoke``, with the body as it comes. Its ``chunks`` raise ContainerError when it breaks off.

        The caller must close the answer: the model stays in memory until then.
        """
        answer, use = await self._exchange(invocation, deadline, ContainerContract.invoke_stream)
        assert isinstance(answer, StreamedAnswer)
        answer.closing.callback(self._end, use, answer.status)
        return answer

    async def state(self) -> dict[str, Any]:
        """What is where, as plain data."""
        running = self._container if self._healthy.is_set() else None
        loading, unloading = self._loaded.in_transit() if running else ([], [])
        return {
            "container": {
                "name": self._origin.container,
                "healthy": running is not None,
                "address": f"{running.host}:{running.port}" if running else None,
                "restarts": self._restarts,
            },
            "memory": {
                "budget_bytes": self._resources.memory_bytes,
                "used_bytes": await running.memory_used() if running else 0,
                "max_loaded_models": self._resources.max_loaded_models,
                "models": [
                    {"target_model": model.target_model, "model_name": model.name, "in_flight": model.pins}
                    for model in (self._loaded.models if running else ())
                ],
                "loading": loading,
                "unloading": unloading,
            },
            "volume": {
                "capacity_bytes": self.volume.capacity_bytes,
                "used_bytes": self.volume.used_bytes,
                "models": [
                    {"target_model": stored.target_model, "size_bytes": stored.size_bytes}
                    for stored in self.volume.models
                ],
            },
        }

    # Invocations

    async def _exchange(
        self,
        invocation: Invocation,
        deadline: float,
        call: Callable[[ContainerContract, str, Invocation, float], Awaitable[Answer]],
        again: bool = False,
    ) -> tuple[Answer, Use]:
        """The container's answer to a ``call``, if it is no error. The use of the model goes on until ``_end``."""
        use = await self._pin(invocation, deadline)
        try:
            answer = await call(use.contract, use.model.name, invocation, deadline - use.sent)
            lost = answer.status == 404 and await self._was_lost(use)
        except BaseException as error:
            self._end(use, 0)
            raise self._failure(error) if isinstance(error, ContainerError) else error from None
        if answer.status < 400:
            return answer, use
        if lost and not again:
            use.loaded.release(use.model)
            return await self._exchange(invocation, deadline, call, again=True)
        if answer.status == 507:
            use.loaded.begin_to_unload("container answered 507 to an invocation")
        self._end(use, answer.status)
        raise container_failed(self._origin, answer.status, answer.body.decode("utf-8", "replace"))

    async def _pin(self, invocation: Invocation, deadline: float) -> Use:
        clock = asyncio.get_running_loop().time
        began = clock()
        if not self._healthy.is_set():
            await self._wait_until_healthy(invocation.endpoint_name, deadline)
        target_model, loaded, contract = invocation.target_model, self._loaded, self._contract
        if self._caching.reload:
            self._reload_if_changed(target_model)
        cache_hit = loaded.models.get(target_model) is not None
        model = await loaded.use(target_model, deadline)
        return Use(loaded, contract, model, cache_hit, began, clock())

    def _end(self, use: Use, status: int) -> None:
        use.loaded.release(use.model)
        wait_us = int((use.sent - use.began) * 1e6)
        latency_us = int((asyncio.get_running_loop().time() - use.sent) * 1e6)
        self._events.publish(Invoked(use.model.target_model, status, use.cache_hit, wait_us, latency_us))

    async def _wait_until_healthy(self, endpoint_name: str, deadline: float) -> None:
        try:
            pause = max(0.0, deadline - asyncio.get_running_loop().time())
            await asyncio.wait_for(self._healthy.wait(), pause)
        except asyncio.TimeoutError:
            raise endpoint_not_in_service(endpoint_name, "without a healthy container") from None

    async def _was_lost(self, use: Use) -> bool:
        """Whether a 404 means that the container lost the model. If not, it is the handler's own answer."""
        if use.loaded.models.get(use.model.target_model) is not use.model:
            return True  # another caller has found out already
        try:
            if await use.contract.is_loaded(use.model.name, use.model.target_model):
                return False
        except ContainerError:
            return False
        use.loaded.lost(use.model)
        return True

    def _failure(self, error: ContainerError) -> Exception:
        if isinstance(error, ContainerTimeout):
            return container_too_slow(self._origin)
        if isinstance(error, AnswerTooLong):
            return answer_too_long(self._origin, error.status if error.status >= 400 else 413)
        if isinstance(error, AnswerBrokenOff):
            return answer_too_long(self._origin, error.status if error.status >= 400 else 0)
        return container_failed(self._origin, 0, str(error))

    # Archives that change

    def _reload_if_changed(self, target_model: str) -> None:
        stored = self.volume.models.get(target_model)
        changed = stored is not None and self.volume.changed([stored])
        if stored and changed and self._loaded.renew(stored, "its archive has changed"):
            self._events.publish(ArchiveChanged(target_model, reloaded=True))

    async def _watch_archives(self) -> None:
        """Warn, once, of each archive that is served in an older version than the one in S3."""
        warned: dict[str, tuple[int, int]] = {}
        while not self._caching.reload:
            await asyncio.sleep(self._limits.poll_seconds)
            for stored, version in await asyncio.to_thread(self.volume.changed, list(self.volume.models)):
                if warned.get(stored.target_model) != version:
                    warned[stored.target_model] = version
                    self._events.publish(ArchiveChanged(stored.target_model, reloaded=False))

    # The container's life

    async def _start_container(self) -> None:
        started = time.perf_counter()
        self._last_lines.clear()
        container = self._container = self._new_container(self._take_log_line)
        await container.start()
        contract = ContainerContract(container.host, container.port, self._limits)
        try:
            await self._wait_for_first_health(container, contract)
        except BaseException:
            contract.close()
            await container.stop()
            raise
        self._contract = contract
        self._loaded = LoadedModels(
            contract,
            container.model_url,
            self.volume,
            MemoryBudget(self._resources.memory_bytes, container.memory_used, self._resources.max_loaded_models),
            self._limits,
            self._events,
            self._origin,
            cache=self._caching.enabled,
            load_slots=self._resources.vcpus,
        )
        self._healthy.set()
        self._events.publish(ContainerStarted(container.name, time.perf_counter() - started))

    async def _wait_for_first_health(self, container: Container, contract: ContainerContract) -> None:
        clock = asyncio.get_running_loop().time
        exited = asyncio.ensure_future(container.wait())
        deadline, pause = clock() + self._limits.startup_seconds, FIRST_POLL_SECONDS
        try:
            while True:
                problem = await self._poll(contract)
                if problem is None:
                    return
                done, _ = await asyncio.wait([exited], timeout=pause)
                if done:
                    # Its last words may still be on their way through the pipe.
                    await container.stop()
                    raise SetupError(
                        f"The container ended with {describe_exit(exited.result())} before it was healthy."
                        + self._last_words()
                    )
                if clock() > deadline:
                    raise SetupError(
                        f"The container {container.name} did not pass the ping health check within "
                        f"{self._limits.startup_seconds:.3g} s: {problem}." + self._last_words()
                    )
                pause = min(pause * 1.5, SLOWEST_POLL_SECONDS)
        finally:
            exited.cancel()

    async def _poll(self, contract: ContainerContract) -> str | None:
        """One health check as the platform makes it; what is wrong, None if nothing is."""
        try:
            await contract.ping()
            await contract.check_list()
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
            self._healthy.clear()
            self._loaded.close()
            self._contract.close()
            self._restarts += 1
            self._events.publish(ContainerStopped(self._origin.container, reason))
            await self._container.stop()
            if clock() - healthy_since > self._limits.restart_seconds:
                pause = 0.0
            while not self._healthy.is_set():
                await asyncio.sleep(pause)
                pause = min(max(2 * pause, FIRST_RESTART_PAUSE), self._limits.restart_seconds)
                try:
                    await self._start_container()
                except SetupError as error:
                    self._events.publish(ContainerStopped(self._origin.container, str(error)))

    async def _wait_for_trouble(self, container: Container) -> str:
        exited = asyncio.ensure_future(container.wait())
        failed = 0
        try:
            while True:
                done, _ = await asyncio.wait([exited], timeout=self._limits.poll_seconds)
                if done:
                    return f"it ended with {describe_exit(exited.result())}"
                problem = await self._poll(self._contract)
                failed = failed + 1 if problem else 0
                if failed >= self._limits.unhealthy_pings:
                    return f"it failed {failed} health checks in a row: {problem}"
        finally:
            exited.cancel()

    def _take_log_line(self, line: str) -> None:
        self._last_lines.append(line)
        self._log(line)

    def _last_words(self) -> str:
        if not self._last_lines:
            return " It wrote nothing to its log."
        return " Its last log lines:\n" + "\n".join(f"    {line}" for line in self._last_lines)


def describe_exit(code: int) -> str:
    """An exit code in words; negative for a signal."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
