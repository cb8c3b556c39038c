"""How things are made on a machine: by commands, under a lock, in one directory; or not, and then with a reason."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE = Path(os.environ.get("LOCALMME_TEST_CACHE") or "~/.cache/localmme-tests").expanduser()


class NotProvisioned(Exception):
    """A real server cannot run here, and why."""


@contextmanager
def lock(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Keep other processes out of the block, or only those that want it for themselves."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


def run(command: list[str]) -> None:
    """Run a command, its output shown.

    Raises NotProvisioned when it fails.
    """
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if code := subprocess.run(command, check=False, env=environment, stdin=subprocess.DEVNULL).returncode:
        raise NotProvisioned(f"{' '.join(command)} ended with {code}")


def apt_install(*packages: str, otherwise: str) -> None:
    """Install Debian packages, without what they only recommend.

    Raises NotProvisioned, saying what to do otherwise, where that is not possible.
    """
    if os.geteuid() or not shutil.which("apt-get"):
        raise NotProvisioned(otherwise)
    say(f"installing {', '.join(packages)}")
    with lock(CACHE / "apt.lock"):
        run(["apt-get", "update", "-qq"])
        run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages])


def say(text: str) -> None:
    """Tell of progress."""
    print(f"provision: {text}", flush=True)
