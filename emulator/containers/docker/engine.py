"""The Docker Engine: which one it is, and which of its containers are this emulator's.

Nothing here happens before an image is served: most emulators never need an engine. Then ``docker`` is imported, and
the engine is found as the ``docker`` command finds it. Calls block, so they run in threads of their own.

A container has no parent process here that could end it when the emulator is killed. So each is labelled with whose it
is, and the next emulator removes those whose emulator has gone. See ``Engine.sweep``.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import psutil

from emulator.containers.docker.images import Image, Pull, find_image, no_such_image
from emulator.containers.docker.oom_watch import OomWatch
from emulator.errors import SetupError
from emulator.events import Events, ImagePulling

OWNER_LABEL = "localmme.owner"  # the state directory of the emulator
HOST_LABEL = "localmme.host"  # the machine it runs on: an engine may serve several
PID_LABEL = "localmme.pid"  # of its worker
RUN_LABEL = "localmme.run"  # one Engine object
MARK = "engine"  # a file of the owner directory that tells that there are containers
LOCK = "lock"  # a file of the owner directory that a living emulator holds a flock on

THREADS = 64  # calls at a time: stopping a container takes one for as long as it may take
ANY_VERSION = "1.24"  # of the engine's API, until it has told its own
CONNECT_SECONDS = 20.0  # for the engine's first answer
ANSWER_SECONDS = 120.0  # for any other, when nothing is sent or received
ABANDON_SECONDS = 10.0
REMOVE_SECONDS, REMOVE_AGAIN_SECONDS = 30.0, 0.2  # [run] a busy engine may fail to kill or to delete, and then succeed
LOOPBACK = "127.0.0.1"

Client = Any  # docker.APIClient, which has no types
T = TypeVar("T")


class EngineError(SetupError):
    """The engine refused a call, or gave no answer (status 0). The reason is the engine's own words, in one line."""

    def __init__(self, address: str, status: int, reason: str) -> None:
        verb = "refuses" if status else "does not answer"
        super().__init__(f"The Docker Engine at {address} {verb}: {reason}")
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class Info:
    """What has to be known of an engine to run containers on it."""

    cpus: int
    # Containers are spoken to at their own address. Otherwise their port is published at an address of the engine's
    # machine (empty: all), and is reached at ``host``.
    reachable: bool
    publish_at: str
    host: str
    selinux: bool  # labels files, so that containers could not read what is mounted


class Engine:
    """The engine that the environment names, and this emulator's containers on it."""

    def __init__(self, owner: Path, events: Events) -> None:
        """``owner`` is the emulator's state directory, whose flock the caller holds. Nothing is connected yet."""
        self.binds: bool | None = None  # whether it sees this machine's directories; None = not tried yet
        self.warned: set[str] = set()  # images that were warned of
        self._owner, self._events = owner.resolve(), events
        self._run = secrets.token_hex(8)
        self.oom = OomWatch(self.ask, f"{RUN_LABEL}={self._run}")
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="docker")
        self._connecting = threading.Lock()
        self._client: Client = None
        self._address = ""
        self._info: Info | None = None
        self._pulls: dict[str, asyncio.Task[None]] = {}
        self._made: set[str] = set()  # names of containers that are not removed yet
        self._unwanted: set[str] = set()  # those of them that should have been, when the engine did not answer
        self._abandoned = False
        self._sweeping: asyncio.Future[list[str]] | None = None  # before the first container

    # Calls

    def ask(self, function: Callable[[Client], T]) -> T:
        """What ``function`` makes of the engine's client. Blocks.

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
        """The same in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self.ask, function)

    def _connected(self) -> Client:
        with self._connecting:
            if self._client is None:
                self._client, self._address = connect()
            return self._client

    # What it has

    async def info(self) -> Info:
        """Raises SetupError when there is no engine."""
        if self._info is None:
            self._info = await self.call(lambda client: look_at(client, self._address))
        return self._info

    async def image(self, reference: str) -> Image:
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
                self.ask(pull.run)
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
        self._owner.joinpath(MARK).write_text(self._address + "\n")
        labels = {OWNER_LABEL: str(self._owner), HOST_LABEL: machine(), PID_LABEL: str(os.getpid())}
        config = {**config, "Labels": {**config.get("Labels", {}), **labels, RUN_LABEL: self._run}}

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
                self.ask(lambda client: client.remove_container(container, v=True, force=True))
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
        return self._owner.joinpath(MARK).exists()

    async def sweep(self) -> list[str]:
        """Remove the containers of emulators of this machine that have gone; the names of those removed.

        Raises SetupError when the engine cannot be asked.
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._sweep)

    def _sweep(self) -> list[str]:
        filters = {"label": [f"{HOST_LABEL}={machine()}"]}
        removed = []
        for container in self.ask(lambda client: client.containers(all=True, filters=filters)):
            labels = container["Labels"]
            owner, run = Path(labels.get(OWNER_LABEL, self._owner)), labels.get(RUN_LABEL)
            left = run != self._run if owner == self._owner else is_abandoned(owner, labels.get(PID_LABEL, ""))
            if left and self._remove(container["Id"]):
                removed.append(container["Names"][0].lstrip("/") if container["Names"] else container["Id"])
        self._unmark()
        return removed

    def _unmark(self) -> None:
        """Take the mark away if it is of this engine, and none of its containers are left."""
        mark = self._owner / MARK
        with contextlib.suppress(OSError):
            if not self._made and mark.read_text().strip() == self._address:
                mark.unlink()

    def abandon(self) -> None:
        """Remove at once all that was started here, and all that is still being started. Blocks for a few seconds."""
        self._abandoned = True
        if self._client is None:
            return
        filters = {"label": [f"{RUN_LABEL}={self._run}"]}
        with contextlib.suppress(SetupError):
            ours = self.ask(lambda client: client.containers(all=True, filters=filters))
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
        self._unmark()
        self.oom.close()
        self._pool.shutdown(wait=False)
        if self._client is not None:
            self._client.close()


# Which engine


def connect() -> tuple[Client, str]:
    """A client of the engine that the ``docker`` command would use, and its address.

    DOCKER_HOST with its companions, else the context of DOCKER_CONTEXT or of the configuration, else the default
    socket. Raises SetupError when there is none that answers.
    """
    import docker
    from docker.errors import DockerException
    from urllib3.exceptions import HTTPError

    address = os.environ.get("DOCKER_HOST", "")
    try:
        if address:
            options = docker.utils.kwargs_from_env()
        else:
            options = _context_options()
            address = options["base_url"]
        # By ssh as the docker command does it: then the user's own configuration is honoured.
        options |= {"max_pool_size": THREADS, "use_ssh_client": address.startswith("ssh://")}
        with contextlib.closing(_client(options, ANY_VERSION, CONNECT_SECONDS)) as any_version:
            version = any_version.version(api_version=False)["ApiVersion"]
        return _client(options, version, ANSWER_SECONDS), address
    except SetupError:
        raise
    except (DockerException, HTTPError, OSError, ValueError, KeyError) as error:
        raise SetupError(_no_engine(address, error)) from None


def _client(options: dict[str, Any], version: str, seconds: float) -> Client:
    import docker

    client = docker.APIClient(**options, version=version, timeout=seconds)
    if "tls" in options:
        # Otherwise the certificates of REQUESTS_CA_BUNDLE count in place of the engine's.
        client.trust_env = False
    return client


def _context_options() -> dict[str, Any]:
    from docker.context import ContextAPI
    from docker.context.config import get_current_context_name
    from docker.errors import ContextException

    name = os.environ.get("DOCKER_CONTEXT") or get_current_context_name()
    try:
        context = ContextAPI.get_context(name)
    except ContextException as error:
        raise SetupError(f"The Docker context {name!r} cannot be read: {one_line(str(error))}") from None
    except Exception as error:  # the SDK raises a bare Exception for a file that it cannot parse
        raise SetupError(f"The Docker context {name!r} cannot be read: {one_line(str(error))}") from None
    if context is None or not context.Host:
        raise SetupError(
            f"There is no Docker context {name!r}. Choose one with `docker context use` (`docker context ls` lists "
            f"them), or set DOCKER_HOST; {NO_DOCKER_NEEDED}"
        )
    return {"base_url": context.Host, **({"tls": context.TLSConfig} if context.TLSConfig else {})}


NO_DOCKER_NEEDED = "a container that is a --command or a --handler needs no Docker."


def _no_engine(address: str, error: BaseException) -> str:
    reason = root_cause(error)
    if "paramiko" in str(error):
        return f'The Docker Engine at {address} is reached by ssh: pip install "docker[ssh]" first.'
    if "Permission denied" in reason:
        remedy = "Add yourself to the group docker (`sudo usermod -aG docker $USER`, then log in again)"
    else:
        remedy = "Start Docker"
    return (
        f"There is no Docker Engine at {address}: {reason}. {remedy}, or name another by DOCKER_HOST or "
        f"`docker context use`; {NO_DOCKER_NEEDED}"
    )


def look_at(client: Client, address: str) -> Info:
    """Ask an engine about itself."""
    about = client.info()
    url = urlsplit(address)
    here = url.scheme in ("unix", "http+unix")
    host = LOOPBACK if here else _ssh_host(url.netloc) if url.scheme == "ssh" else url.hostname or LOOPBACK
    loopback = host in (LOOPBACK, "localhost", "::1")
    return Info(
        cpus=about.get("NCPU") or 1,
        reachable=here and _has_bridge_here(client, about),
        publish_at=LOOPBACK if loopback else "",
        host=LOOPBACK if loopback else host,
        selinux=any("selinux" in option for option in about.get("SecurityOptions") or []),
    )


def _has_bridge_here(client: Client, about: dict[str, Any]) -> bool:
    """Whether the network that containers are in is this machine's: not one inside a virtual machine or a namespace."""
    rootless = any("rootless" in option for option in about.get("SecurityOptions") or [])
    if sys.platform != "linux" or rootless or "Docker Desktop" in about.get("OperatingSystem", ""):
        return False
    from docker.errors import APIError

    try:
        settings = client.inspect_network("bridge")["IPAM"]["Config"] or []
    except APIError:
        return False
    addresses = {address.address for interface in psutil.net_if_addrs().values() for address in interface}
    return any(each.get("Gateway") in addresses for each in settings)


def _ssh_host(target: str) -> str:
    """The host name behind ``user@alias:port``: ssh has its own aliases."""
    user_and_host = target.rpartition(":")[0] if ":" in target else target
    alias = user_and_host.rpartition("@")[2]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        settings = subprocess.run(["ssh", "-G", "--", alias], capture_output=True, text=True, timeout=CONNECT_SECONDS)
        for line in settings.stdout.splitlines():
            if line.startswith("hostname "):
                return line.split()[1]
    return alias


# Whose containers


def machine() -> str:
    """What tells this machine from others.

    Containers made from one image may share a machine id, but not a host name.
    """
    with contextlib.suppress(OSError):
        if machine_id := Path("/etc/machine-id").read_text().strip():
            return f"{machine_id}-{socket.gethostname()}"
    return socket.gethostname()


def is_abandoned(owner: Path, pid: str) -> bool:
    """Whether no emulator uses this state directory. False if that cannot be told."""
    try:
        with owner.joinpath(LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError):
        # Deleted; or where only the emulator sees it, as with a /tmp of its own.
        return not (pid.isdecimal() and psutil.pid_exists(int(pid)))
    except OSError:  # it is held, or not ours to open
        return False
    return True


# Words


def one_line(text: str) -> str:
    return " ".join(text.split())


def root_cause(error: BaseException) -> str:
    """What is at the bottom of the errors that HTTP libraries wrap into each other."""
    while True:
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        inside = [*error.args, getattr(error, "reason", None), error.__cause__, error.__context__]
        cause = next((each for each in inside if isinstance(each, BaseException)), None)
        if cause is None:
            return one_line(str(error)) or type(error).__name__
        error = cause


def _settle(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
