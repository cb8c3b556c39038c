"""A virtual environment that is made once per machine, and named after what it is made of."""

from __future__ import annotations

import functools
import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.real_servers.making import CACHE, NotProvisioned, lock, run, say


@dataclass(frozen=True)
class VirtualEnvironment:
    """A virtual environment: its interpreter and what is installed in it."""

    name: str
    interpreter: Path
    requirements: tuple[str, ...]
    bare_requirements: tuple[str, ...] = ()  # installed without what they depend on

    @property
    def directory(self) -> Path:
        """Where it is, or will be."""
        made_of = "\n".join((version_of(self.interpreter), *self.requirements, "", *self.bare_requirements))
        return CACHE / f"{self.name}-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"

    @property
    def python(self) -> Path:
        """Its interpreter.

        Raises NotProvisioned when it has not been made.
        """
        if not self._marker.exists():
            raise NotProvisioned(f"{self.directory} is missing: run python -m tests.support.real_servers.provision")
        return self.directory / "bin" / "python"

    @property
    def packages(self) -> Path:
        """Where its packages are."""
        [directory] = self.directory.glob("lib/python3*/site-packages")
        return directory

    def make(self) -> None:
        """Make it, if nobody has; a second caller waits for the first.

        Raises NotProvisioned when a requirement cannot be installed.
        """
        CACHE.mkdir(parents=True, exist_ok=True)
        with lock(CACHE / f"{self.directory.name}.lock"):
            if self._marker.exists():
                return
            say(f"making {self.directory}")
            run([str(self.interpreter), "-m", "venv", "--clear", str(self.directory)])
            # Python compiles what is imported, which is a small part of what is installed.
            options = ("--disable-pip-version-check", "--no-compile", "-q")
            pip = [str(self.directory / "bin" / "python"), "-m", "pip", "install", *options]
            if self.requirements:
                run([*pip, *self.requirements])
            if self.bare_requirements:
                run([*pip, "--no-deps", *self.bare_requirements])
            # A virtual environment cannot be moved, so this file, not a rename, says that it is whole.
            self._marker.touch()

    @property
    def _marker(self) -> Path:
        return self.directory / ".complete"


@functools.cache
def version_of(python: Path) -> str:
    """A Python's version, as in 3.11."""
    return ask(python, "import sysconfig; print(sysconfig.get_python_version())")


def ask(python: Path, code: str) -> str:
    """What a Python prints; nothing when it does not run, as a pyenv shim of a version that is not installed."""
    return subprocess.run([str(python), "-c", code], check=False, capture_output=True, text=True).stdout.strip()
