"""Packages of npm for the tests: installed once per machine, in exact versions, beside the tests' other servers."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.real_servers.making import CACHE, NotProvisioned, apt_install, lock, run, say


@dataclass(frozen=True)
class NodePackages:
    """Some packages, each with its version, in a directory named after them."""

    name: str
    versions: Mapping[str, str]

    @property
    def directory(self) -> Path:
        """Where they are, or will be."""
        made_of = json.dumps(self.versions, sort_keys=True).encode()
        return CACHE / f"{self.name}-{hashlib.sha256(made_of).hexdigest()[:12]}"

    def make(self) -> None:
        """Install Node, where it is missing, and the packages, if nobody has.

        Raises NotProvisioned when they cannot be had.
        """
        if not (shutil.which("node") and shutil.which("npm")):
            apt_install(
                "nodejs", "npm", otherwise="npm's packages need Node 20 or newer: have node and npm on the PATH"
            )
        where = self.directory
        with lock(where.with_name(f"{where.name}.lock")):
            if self._marker.exists():
                return
            say(f"making {where}")
            where.mkdir(exist_ok=True)
            wanted = [f"{name}@{version}" for name, version in self.versions.items()]
            run(["npm", "install", "--prefix", str(where), "--no-audit", "--no-fund", "--loglevel=error", *wanted])
            self._marker.touch()

    def modules(self) -> Path:
        """The directory of the installed packages. Raises NotProvisioned when they are not there."""
        if not self._marker.exists():
            raise NotProvisioned(f"{self.directory} is missing: run python -m tests.support.real_servers.provision")
        return self.directory / "node_modules"

    @property
    def _marker(self) -> Path:
        return self.directory / ".complete"
