"""The Docker Engine that this emulator runs containers on: its images, and the containers that are this emulator's.

Nothing here happens before an image is served: most emulators never need an engine. Then ``docker`` is imported, and
the engine is found (see discovery). Calls block, so they run in threads of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from emulator.containers.docker.aws_network import AwsNetwork, Listen
from emulator.containers.docker.discovery import CONNECTIONS, EngineInfo, connect, engine_info
from emulator.containers.docker.failures import EngineError, one_line, root_cause
from emulator.containers.docker.images import Client, InspectedImage, Pull, find_image, no_such_image
from emulator.containers.docker.leftovers import Ownership
from emulator.containers.docker.oom_watch import OomWatch
from emulator.errors import SetupError
from emulator.events import Events, ImagePulling

ABANDON_SECONDS = 10.0
REMOVE_SECONDS, REMOVE_AGAIN_SECONDS = 30.0, 0.2  # [run] a busy engine may fail to kill or to delete, and then succeed

T = TypeVar("T")


class Engine:
    """The engine that the environment names, and this emulator's containers on it."""

    def __init__(self, owner: Path, events: Events, listen: Listen = socket.socket.close) -> None:
        """``owner`` is the emulator's state directory, whose flock the caller holds. Nothing is connected yet.

        ``listen`` serves what containers send to the emulator.
        """
        self.aws_network = AwsNetwork(self, listen)
        self.binds: bool | None = None  # whether it sees this machine's directories; None = not tried yet
        self.warned: set[str] = set()  # images that were warned of
        self._ownership, self._events = Ownership(owner), events
        self.oom = OomWatch(self.call_blocking, self._ownership.run_label)
        self._pool = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="docker")
        self._connecting = threading.Lock()
        self._client: Client = None
        self._address = ""
        self._info: EngineInfo | None = None
        self._pulls: dict[str, asyncio.Task[None]] = {}
        self._made: set[str] = set()  # names of containers that are not removed yet
        self._unwanted: set[str] = set()  # those of them that should have been, when the engine did not answer
        self._abandoned = False
        self._sweeping: asyncio.Future[list[str]] | None = None  # before the first container

    # Calls

    def call_blocking(self, function: Callable[[Client], T]) -> T:
        """The result of ``function`` with the engine's client. Blocks.

        Raises SetupError when there is no engine, EngineError when the engine refuses or is lost.
        """
        client = self._connected()
        from docker.errors import APIError, DockerException
        from urllib3.exceptions import HTTPError

        try:
            return function(client)
        except APIError as error:
            reason = one_line(error.explanation or str(error))
            raise EngineError(self._address, error.status_code or 0, reason) from None
        except (DockerException, HTTPError, OSError) as error:  # OSError is the root of the errors of requests
            raise EngineError(self._address, 0, root_cause(error)) from None

    async def call(self, function: Callable[[Client], T]) -> T:
        """``call_blocking`` in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self.call_blocking, function)

    def _connected(self) -> Client:
        with self._connecting:
            if self._client is None:
                self._client, self._address = connect()
            return self._client

    # What it has

    async def info(self) -> EngineInfo:
        """Raises SetupError when there is no engine."""
        if self._info is None:
            self._info = await self.call(lambda client: engine_info(client, self._address))
        return self._info

    async def image(self, reference: str) -> InspectedImage:
        """The image of that name, digest or id, which is pulled if the engine does not have it.

        Raises SetupError when it cannot be had.
        """
        image = await self.call(lambda client: find_image(client, reference))
        if image is not None:
            return image
        if reference not in self._pulls:
            pull = self._pulls[reference] = asyncio.create_task(self._pull(reference))
            pull.add_done_callback(lambda done: self._pulls.pop(reference) and (done.cancelled() or done.exception()))
        try:
            await asyncio.shield(self._pulls[reference])
            image = await self.call(lambda client: find_image(client, reference))
            reason = "it is not there after it was pulled"
        except EngineError as error:
            reason = error.reason
        if image is None:
            raise SetupError(await self.call(lambda client: no_such_image(client, self._address, reference, reason)))
        return image

    async def _pull(self, reference: str) -> None:
        """Raises EngineError when it cannot be pulled."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def publish(fraction: float) -> None:
            if not done.done():
                self._events.publish(ImagePulling(reference, fraction))

        pull = Pull(reference, lambda fraction: loop.call_soon_threadsafe(publish, fraction))

        def work() -> None:
            error: Exception | None = None
            try:
                self.call_blocking(pull.run)
            except Exception as failure:
                error = failure
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(_settle, done, error)

        # Not a thread of the pool: a pull that hangs must not keep the emulator from ending.
        threading.Thread(target=work, name="docker-pull", daemon=True).start()
        publish(0.0)
        try:
            await done
        finally:
            pull.cancelled = True
            self._events.publish(ImagePulling(reference, 1.0))

    # Containers

    async def create(self, name: str, config: dict[str, Any]) -> None:
        """Create a container that is known as this emulator's.

        Raises EngineError. When it is cancelled, the container is removed if it comes to be.
        """
        await self.info()  # from here on there is an address to write down
        if self._sweeping is None or (self._sweeping.done() and self._sweeping.exception()):
            self._sweeping = asyncio.ensure_future(self.sweep())
        await asyncio.shield(self._sweeping)
        for unwanted in list(self._unwanted):  # it would go on to take memory beside the one that replaces it
            with contextlib.suppress(EngineError):
                await self.remove(unwanted)
        self._made.add(name)
        config = {**config, "Labels": {**config.get("Labels", {}), **await asyncio.to_thread(self._marked)}}

        def create(client: Client) -> None:
            client.create_container_from_config(config, name)
            if self._abandoned:
                self._remove(name)

        creation = asyncio.ensure_future(self.call(create))
        try:
            await asyncio.shield(creation)
        except EngineError as error:
            if error.status:  # otherwise it may be there all the same
                self._made.discard(name)
            raise
        except asyncio.CancelledError:
            with contextlib.suppress(SetupError):
                await creation
                await self.remove(name)
            raise

    def _marked(self) -> dict[str, str]:
        """The labels of a new container, of which the state directory has the mark by now. Raises OSError."""
        self._ownership.mark(self._address)
        return self._ownership.labels()

    async def remove(self, container: str) -> None:
        """Remove a container, whatever its state, with its anonymous volumes. It may have gone already.

        Raises EngineError.
        """
        self._unwanted.add(container)
        await asyncio.get_running_loop().run_in_executor(self._pool, self._remove, container)

    def _remove(self, container: str) -> bool:
        """Return when it has gone; whether it was there to be removed."""
        deadline = time.monotonic() + REMOVE_SECONDS
        was_there = False
        while True:
            try:
                self.call_blocking(lambda client: client.remove_container(container, v=True, force=True))
                was_there = True
                break
            except EngineError as error:
                if error.status == 404:
                    break
                # 409: it is being removed already, perhaps by another emulator.
                if not error.status or time.monotonic() > deadline:
                    raise
            was_there = True
            time.sleep(REMOVE_AGAIN_SECONDS)
        self._made.discard(container)
        self._unwanted.discard(container)
        return was_there

    # Leftovers

    def has_leftovers(self) -> bool:
        """Whether the last emulator of this directory may have left containers behind."""
        return self._ownership.is_marked()

    async def sweep(self) -> list[str]:
        """Remove the containers of emulators of this machine that have gone; the names of those removed.

        Raises SetupError when the engine cannot be reached.
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._sweep)

    def _sweep(self) -> list[str]:
        filters = {"label": [self._ownership.machine_label]}
        removed = []
        for container in self.call_blocking(lambda client: client.containers(all=True, filters=filters)):
            if self._ownership.is_leftover(container["Labels"]) and self._remove(container["Id"]):
                removed.append(container["Names"][0].lstrip("/") if container["Names"] else container["Id"])
        self._unmark()
        return removed

    def _unmark(self) -> None:
        if not self._made:
            self._ownership.unmark(self._address)

    def abandon(self) -> None:
        """Remove at once all that was started here, and all that is still being started. Blocks for a few seconds."""
        self._abandoned = True
        if self._client is None:
            return
        filters = {"label": [self._ownership.run_label]}
        with contextlib.suppress(SetupError):
            ours = self.call_blocking(lambda client: client.containers(all=True, filters=filters))
            # All at the same time, and not by the pool, which may be busy with stopping them.
            removals = [threading.Thread(target=self._try_to_remove, args=[each["Id"]], daemon=True) for each in ours]
            for removal in removals:
                removal.start()
            for removal in removals:
                removal.join(ABANDON_SECONDS)
            self._unmark()

    def _try_to_remove(self, container: str) -> None:
        with contextlib.suppress(SetupError):
            self._remove(container)

    async def close(self) -> None:
        """Remove what is left of this emulator's containers, and let the engine go."""
        for pull in list(self._pulls.values()):
            pull.cancel()
        for container in list(self._made):
            with contextlib.suppress(SetupError):
                await self.remove(container)
        await self.aws_network.close()
        await asyncio.to_thread(self._unmark)
        self.oom.close()
        self._pool.shutdown(wait=False)
        if self._client is not None:
            self._client.close()


def _settle(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
