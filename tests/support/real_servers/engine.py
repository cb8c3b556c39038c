"""The Docker Engine that tests use: the one that answers; where none does, one that ends with the last who uses it.

Everyone who uses the engine holds a shared lock. An engine that is started here has a keeper, a process that stops it
once it gets the same lock for itself. The system takes a lock from whoever dies, so nobody has to say goodbye.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import docker
from docker.errors import DockerException

from tests.support.real_servers.making import CACHE, NotProvisioned, apt_install, lock
from tests.support.repository import REPOSITORY

USERS = CACHE / "dockerd.users"
LOG = CACHE / "dockerd.log"
SECONDS_TO_START = 60
SECONDS_TO_STOP = 30


def connect() -> docker.DockerClient | None:
    """A client of the engine that answers, if one does."""
    try:
        return docker.from_env(timeout=600)
    except DockerException:
        return None


def install() -> None:
    """See to it that there is an engine: one that answers, or one that can be started.

    Raises NotProvisioned when there is none and it cannot be installed.
    """
    if connect() is None and not (can_start() and shutil.which("dockerd")):
        apt_install("docker.io", "iptables", otherwise=reason())


@contextmanager
def running() -> Iterator[docker.DockerClient]:
    """The engine, which runs at least until the block ends.

    Raises NotProvisioned when there is none and it cannot be started.
    """
    with lock(USERS, shared=True):
        with lock(CACHE / "dockerd.lock"):
            keeper = None
            client = connect()
            if client is None:
                keeper = start()
                client = wait_for(keeper)
        try:
            yield client
        finally:
            client.close()
    if keeper is not None:
        # With others still using the engine, it will end later.
        with suppress(subprocess.TimeoutExpired):
            keeper.wait(5)


def start() -> subprocess.Popen[bytes]:
    """Start an engine below a keeper, in a session of its own, out of reach of the terminal's Ctrl-C."""
    if not can_start() or not shutil.which("dockerd"):
        raise NotProvisioned(reason())
    command = [sys.executable, "-m", "tests.support.real_servers.engine"]
    with LOG.open("wb") as log:
        return subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def wait_for(keeper: subprocess.Popen[bytes]) -> docker.DockerClient:
    """The engine that was just started, once it answers."""
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        if client := connect():
            return client
        if keeper.poll() is not None:
            # Perhaps because the system is starting one too, as it does when Docker was just installed.
            deadline = min(deadline, time.monotonic() + 10)
        time.sleep(0.1)
    end = LOG.read_text(errors="replace")[-1000:]
    raise NotProvisioned(f"dockerd does not start here; the end of {LOG}:\n{end}")


def can_start() -> bool:
    """Whether this user may start an engine here, where clients would look for it."""
    return os.geteuid() == 0 and sys.platform == "linux" and "DOCKER_HOST" not in os.environ


def reason() -> str:
    """Why there is no engine."""
    if host := os.environ.get("DOCKER_HOST"):
        return f"no Docker Engine answers at {host}"
    return "no Docker Engine answers, and none can be started: that takes Linux, root and dockerd"


def keep() -> None:
    """Be the keeper: run an engine until nobody uses it."""
    engine = subprocess.Popen(["dockerd"])
    with USERS.open("w") as users:
        while engine.poll() is None:
            with suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(0.2)
        # Whoever comes now waits for the lock, so for the end of this engine.
        engine.terminate()
        try:
            engine.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            engine.kill()
            engine.wait()


if __name__ == "__main__":
    keep()
