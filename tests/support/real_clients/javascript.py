"""The AWS SDK for JavaScript, version 3, in Node: installed by npm, once per machine."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.real_servers.making import CACHE, NotProvisioned, apt_install, lock, run, say

SCRIPT = Path(__file__).with_name("inside") / "sdk_javascript.cjs"
SECONDS_TO_RUN = 120
PACKAGES = {
    "@aws-sdk/client-s3": "3.1175.0",
    "@aws-sdk/client-sagemaker": "3.1142.0",
    "@aws-sdk/client-sagemaker-runtime": "3.1164.0",
    "@aws-sdk/client-sts": "3.1177.0",
    "@aws-sdk/s3-request-presigner": "3.1169.0",
}


def directory() -> Path:
    """Where the packages are, or will be: named after them."""
    made_of = json.dumps(PACKAGES, sort_keys=True).encode()
    return CACHE / f"sdk-javascript-{hashlib.sha256(made_of).hexdigest()[:12]}"


def make() -> None:
    """Install Node, where it is missing, and the packages, if nobody has.

    Raises NotProvisioned when they cannot be had.
    """
    if not (shutil.which("node") and shutil.which("npm")):
        apt_install(
            "nodejs", "npm", otherwise="the JavaScript SDK needs Node 20 or newer: have node and npm on the PATH"
        )
    where = directory()
    with lock(where.with_name(f"{where.name}.lock")):
        if _marker().exists():
            return
        say(f"making {where}")
        where.mkdir(exist_ok=True)
        wanted = [f"{name}@{version}" for name, version in PACKAGES.items()]
        run(["npm", "install", "--prefix", str(where), "--no-audit", "--no-fund", "--loglevel=error", *wanted])
        _marker().touch()


def run_script(*arguments: str, environment: Mapping[str, str]) -> Any:
    """Run ``SCRIPT`` with nothing but the environment to tell it where AWS is.

    What the last line that it prints says, which is JSON. Raises NotProvisioned when the packages are not there.
    """
    if not _marker().exists():
        raise NotProvisioned(f"{directory()} is missing: run python -m tests.support.real_servers.provision")
    found = {**environment, "NODE_PATH": str(directory() / "node_modules")}
    command = ["node", str(SCRIPT), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_TO_RUN, env=found)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


def _marker() -> Path:
    return directory() / ".complete"
