"""A container as SageMaker runs it: an image on a Docker Engine, started with the argument ``serve``.

The model files are mounted where the engine sees the same directory; otherwise they are put into the container
through the engine's API, which works with an engine on any machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import secrets
import stat
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from emulator.containers.container import Container, ContainerSettings, LogSink
from emulator.containers.docker.aws_network import aws_variables
from emulator.containers.docker.cgroup_usage import cpu_seconds, working_set
from emulator.containers.docker.configuration import (
    BIND_TO_PORT_LABEL,
    MODELS,
    MULTI_MODEL_LABEL,
    bound_port,
    configuration,
    host_name,
    inside,
    reached_at,
)
from emulator.containers.docker.discovery import EngineInfo
from emulator.containers.docker.engine import Engine
from emulator.containers.docker.failures import EngineError, describe_end, explain, is_mount_refused
from emulator.containers.docker.image_problems import problems
from emulator.containers.docker.images import Client, InspectedImage
from emulator.containers.docker.log_stream import LogFeed, attach, read_lines
from emulator.containers.docker.tar_stream import packed
from emulator.containers.errors import label_missing
from emulator.containers.memory_limit import KERNEL, NOTICE_SECONDS, MemoryLimit
from emulator.errors import ContainerError, SetupError
from emulator.limits import Limits
from emulator.sizes import format_size

LEAST_MEMORY = 6 * 1024 * 1024  # that an engine takes as a limit
LAST_WORDS_SECONDS = 2.0  # for the output and the exit code of a container that was stopped
LOST_SECONDS = 10  # for an engine to come back
ENDED = ("exited", "removing", "dead")  # states of a container, as the engine calls them


class DockerContainer(Container):
    """One run of an image."""

    memory_limit: MemoryLimit

    def __init__(
        self,
        engine: Engine,
        reference: str,
        settings: ContainerSettings,
        limits: Limits,
        log: LogSink,
        warn: Callable[[str], None],
        *,
        check_labels: bool = True,
    ) -> None:
        """``reference`` names the image, see ``Engine.image``; ``warn`` takes what its user should know.

        ``check_labels=False`` also runs an image that does not say what it is capable of.
        """
        self.host, self.port = "", bound_port(settings)
        self.memory_limit = MemoryLimit(settings.memory_bytes, KERNEL)
        self._engine, self._reference, self._settings, self._limits = engine, reference, settings, limits
        self._log, self._warn = log, warn
        self._check_labels = check_labels
        self._name = ""
        self._process = (0, "")  # of the main process on the engine's machine, and of the container; both ids
        self._mounted = False
        self._delivering = asyncio.Lock()
        self._delivered: dict[str, tuple[int, int]] = {}  # by model name, what tells one version from the next
        self._exited: asyncio.Future[str]
        self._starting: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._exited = asyncio.get_running_loop().create_future()
        self._starting = asyncio.create_task(self._start())
        try:
            await self._starting
        except asyncio.CancelledError:
            if self._stopping is not None and self._starting.cancelled():
                raise ContainerError("it was stopped while it started") from None
            raise

    async def wait(self) -> str:
        return await asyncio.shield(self._exited)

    async def stop(self, seconds: float | None = None) -> None:
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(self._limits.stop_seconds if seconds is None else seconds))
        await asyncio.shield(self._stopping)

    async def memory_used(self) -> int:
        if self._starting is None or self._exited.done():
            return 0
        try:
            return await self._engine.call(self._read_memory)
        except EngineError:  # it has ended meanwhile
            return 0

    async def cpu_seconds(self) -> float | None:
        if self._starting is None or self._exited.done():
            return None
        try:
            return await self._engine.call(self._read_cpu)
        except EngineError:
            return None

    async def deliver(self, model_directory: Path) -> str:
        inside = MODELS / model_directory.relative_to(self._settings.models).as_posix()
        try:
            if self._mounted:
                await asyncio.to_thread(let_everyone_read, model_directory.parent)
            else:
                # One at a time: what one of them deletes as left over, another could be putting in again.
                async with self._delivering:
                    await self._engine.call(lambda client: self._put_model(client, model_directory, inside))
        except (OSError, SetupError) as error:
            raise ContainerError(f"the model cannot be brought into the container: {error}") from None
        return str(inside)

    # Starting

    async def _start(self) -> None:
        try:
            image = await self._engine.image(self._reference)
            self._check(image)
            info = await self._engine.info()
            mount = self._engine.binds is not False and self._has_models()
            if not await self._launch(image, info, mount):
                self._engine.binds = False
                await self._remove()
                await self._launch(image, info, mount=False)
        except BaseException:
            # Nobody has to call stop() after a start that failed or was cancelled.
            await asyncio.shield(asyncio.ensure_future(self._remove()))
            raise

    def _check(self, image: InspectedImage) -> None:
        settings = self._settings
        for needed, label in (
            (settings.multi_model, MULTI_MODEL_LABEL),
            (settings.shares_instance, BIND_TO_PORT_LABEL),
        ):
            name, _, value = label.partition("=")
            if needed and self._check_labels and image.labels.get(name) != value:
                raise SetupError(
                    f"{label_missing(self._reference, label)} Add `LABEL {label}` to its Dockerfile and build it again."
                )
        if settings.memory_bytes < LEAST_MEMORY:
            raise SetupError(f"A Docker container takes at least {format_size(LEAST_MEMORY)} of memory.")
        if image.id not in self._engine.warned:
            self._engine.warned.add(image.id)
            for problem in problems(image, settings.architecture):
                self._warn(f"Image {self._reference}: {problem}")

    def _has_models(self) -> bool:
        """Whether there is a directory to be seen in the container: one without model data has none."""
        if self._settings.multi_model:
            self._settings.models.mkdir(parents=True, exist_ok=True)
        return self._settings.models.is_dir()

    async def _launch(self, image: InspectedImage, info: EngineInfo, mount: bool) -> bool:
        """Create and start it; False if it is not started, because the engine does not see the directory to mount."""
        self._mounted = mount
        self._name = f"localmme-{host_name(self._settings.name).lower()}-{secrets.token_hex(4)}"
        if mount:
            await asyncio.to_thread(let_everyone_read, self._settings.models)
        try:
            aws = await aws_variables(self._engine, info, self._settings.aws, self._warn)
            await self._engine.create(self._name, configuration(image, self._settings, info, mount, aws))
            if "AWS_ENDPOINT_URL" in aws:
                await self._engine.aws_network.connect(self._name)
            if mount and self._engine.binds is None:
                self._engine.binds = await self._engine.call(self._is_mounted)
                if not self._engine.binds:
                    return False
            if not mount:
                await self._engine.call(self._put_all)
            await self._follow()
            self._engine.oom.add(self._name, self._note_oom)
            if "AWS_ENDPOINT_URL" in aws:
                await self._engine.aws_network.start(self._name)
            else:
                await self._engine.call(lambda client: client.start(self._name))
            about = await self._engine.call(lambda client: client.inspect_container(self._name))
        except EngineError as error:
            if mount and is_mount_refused(error):
                return False
            raise explain(error, image) from None
        self._process = about["State"]["Pid"], about["Id"]
        self.host, self.port = reached_at(about["NetworkSettings"], self.port, info)
        return True

    def _is_mounted(self, client: Client) -> bool:
        """Whether what the container has is this machine's directory: not one of the same name on another machine."""
        marker = self._settings.models / f".localmme-{secrets.token_hex(8)}"
        marker.touch()
        try:
            return exists(client, self._name, inside(self._settings) / marker.name)
        finally:
            marker.unlink(missing_ok=True)

    # Model files where nothing is mounted

    def _put_all(self, client: Client) -> None:
        """Put in what there is from the start: the single model, or an empty directory for many."""
        target = inside(self._settings)
        missing = [
            str(each)[1:] for each in [*reversed(target.parents), target] if not exists(client, self._name, each)
        ]
        whole = None if self._settings.multi_model or not self._settings.models.is_dir() else self._settings.models
        client.put_archive(self._name, "/", packed(missing, whole, str(target)[1:]))

    def _put_model(self, client: Client, directory: Path, target: PurePosixPath) -> None:
        about = directory.stat()
        name, version = directory.parent.name, (about.st_ino, about.st_ctime_ns)
        if self._delivered.get(name) == version:
            return
        old = [each for each in self._delivered if each == name or not (self._settings.models / each).exists()]
        if old:
            self._delete(client, [str(MODELS / each) for each in old])
            for each in old:
                del self._delivered[each]
        client.put_archive(self._name, "/", packed([str(target.parent)[1:]], directory, str(target)[1:]))
        self._delivered[name] = version

    def _delete(self, client: Client, paths: list[str]) -> None:
        """As far as possible: not every image has the program for it."""
        from docker.errors import APIError

        with contextlib.suppress(APIError):
            command = client.exec_create(self._name, ["rm", "-rf", "--", *paths], user="0")
            client.exec_start(command["Id"])

    # Following

    async def _follow(self) -> None:
        """Attach to its output, which is before it starts, so that nothing is missed."""
        container = self._name
        response = await self._engine.call(lambda client: attach(client, container))
        loop = asyncio.get_running_loop()
        feed = LogFeed(loop, self._log)

        def follow() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                with response:
                    # Buffered, and the same over a socket, TLS and ssh: unlike what the SDK's attach() reads from.
                    for lines in read_lines(response.raw._fp.fp):
                        feed.put(lines)
                words = how_it_ended(self._engine, container, self.memory_limit)
                loop.call_soon_threadsafe(self._note_end, container, words)

        threading.Thread(target=follow, name=f"docker-{container[:12]}", daemon=True).start()

    def _note_end(self, container: str, words: str) -> None:
        if container == self._name and not self._exited.done():
            self._exited.set_result(words)

    def _note_oom(self) -> None:
        asyncio.get_running_loop().call_later(NOTICE_SECONDS, self._warn_of_oom)

    def _warn_of_oom(self) -> None:
        if not self._exited.done() and self._stopping is None:
            self._warn(self.memory_limit.continues(self._settings.name))

    # While it runs

    def _read_memory(self, client: Client) -> int:
        used = working_set(*self._process)
        if used is not None:
            return used
        memory = self._stats(client)["memory_stats"]
        figures = memory.get("stats", {})
        cache = figures.get("total_inactive_file", figures.get("inactive_file", 0))  # cgroup version 1, version 2
        return max(0, int(memory.get("usage", 0)) - int(cache))

    def _read_cpu(self, client: Client) -> float:
        used = cpu_seconds(*self._process)
        return self._stats(client)["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9 if used is None else used

    def _stats(self, client: Client) -> Any:
        # [run] Even without a second look for the processor's figures, this takes a second.
        at_once = {"one_shot": True} if api_version(client) >= (1, 41) else {}
        return client.stats(self._name, stream=False, **at_once)

    # Stopping

    async def _stop(self, seconds: float) -> None:
        if self._starting is None:
            return
        if not self._starting.done():
            self._starting.cancel()
            await asyncio.wait([self._starting])
        if self._name:
            whole = math.ceil(seconds)  # the engine takes whole ones
            with contextlib.suppress(SetupError):
                await self._engine.call(lambda client: client.stop(self._name, timeout=whole))
            await asyncio.wait([self._exited], timeout=LAST_WORDS_SECONDS)
        await self._remove()

    async def _remove(self) -> None:
        container, self._name = self._name, ""
        if container:
            self._engine.oom.drop(container)
            with contextlib.suppress(SetupError):  # the engine has gone
                await self._engine.remove(container)
        if self._stopping is not None and not self._exited.done():
            self._exited.set_result("was removed")


def let_everyone_read(directory: Path) -> None:
    """As ``packed`` does for what is not mounted: an image may run as any user."""
    for folder, _, names in os.walk(directory):
        for path in (folder, *(os.path.join(folder, name) for name in names)):
            with contextlib.suppress(FileNotFoundError):  # of another model, which is on its way in or out
                mode = os.lstat(path).st_mode
                wanted = mode | (0o555 if mode & 0o100 else 0o444)
                if wanted != mode and not stat.S_ISLNK(mode):
                    os.chmod(path, wanted)


def exists(client: Client, container: str, path: PurePosixPath) -> bool:
    """Whether a container, which need not run, has this file or directory."""
    url = f"{client.base_url}/v{client.api_version}/containers/{container}/archive"
    return bool(client.head(url, params={"path": str(path)}, timeout=client.timeout).ok)


def api_version(client: Client) -> tuple[int, ...]:
    return tuple(int(part) for part in client.api_version.split("."))


def how_it_ended(engine: Engine, container: str, limit: MemoryLimit) -> str:
    """Wait until a container has ended, or is lost; in words that follow "it". Blocks."""
    try:
        return describe_end(final_state(engine, container), limit)
    except ContainerError as gone:
        return str(gone)


def final_state(engine: Engine, container: str) -> Mapping[str, Any]:
    """What the engine says of the state of a container, once that has ended. Blocks.

    Raises ContainerError, with words that follow "it", when it is removed, or when the engine is away for longer than
    ``LOST_SECONDS``.
    """
    lost_since: float | None = None
    while True:
        try:
            state: Mapping[str, Any] = engine.call_blocking(lambda client: client.inspect_container(container))["State"]
            lost_since = None  # whatever was before: each time that it is away is one of its own
            if state["Status"] not in ENDED:
                engine.call_blocking(lambda client: client.wait(container))  # without a timeout
                state = engine.call_blocking(lambda client: client.inspect_container(container))["State"]
            if state["Status"] in ENDED:
                return state
        except EngineError as error:
            if error.status in (404, 409):
                raise ContainerError("was removed") from None
            lost_since = time.monotonic() if lost_since is None else lost_since
            if error.status or time.monotonic() > lost_since + LOST_SECONDS:
                raise ContainerError(f"was lost. {error}") from None
        time.sleep(0.5)
