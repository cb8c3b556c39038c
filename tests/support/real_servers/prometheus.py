"""Prometheus itself, out of Debian's package, which is unpacked and not installed: it would start as a service."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.processes import free_port
from tests.support.real_servers.making import CACHE, NotProvisioned, lock, run, say
from tests.support.waiting import eventually

PROGRAMS = CACHE / "prometheus"
CONFIGURATION = """
scrape_configs:
  - job_name: localmme
    metrics_path: /_localmme/metrics
    scrape_interval: 200ms
    scrape_timeout: 200ms
    static_configs:
      - targets: ["{target}"]
"""


def make() -> None:
    """See to it that there is a Prometheus. Raises NotProvisioned where it cannot be had."""
    if _found("prometheus") and _found("promtool"):
        return
    with lock(CACHE / "prometheus.lock"):
        if not shutil.which("apt-get") or not shutil.which("dpkg"):
            raise NotProvisioned("The metrics are read with Prometheus: install it, and have it on the PATH")
        say("fetching prometheus")
        new = CACHE / "prometheus.new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        if not os.geteuid():
            run(["apt-get", "update", "-qq"])
        run(["sh", "-c", f"cd '{new}' && apt-get download -qq prometheus && dpkg -x prometheus_*.deb ."])
        shutil.rmtree(PROGRAMS, ignore_errors=True)
        (new / "usr" / "bin").rename(PROGRAMS)
        shutil.rmtree(new)


class Prometheus:
    """One that scrapes an emulator five times a second."""

    def __init__(self, url: str) -> None:
        self._url = url

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The labels and the value of each series, now. Raises AssertionError for what it does not understand."""
        address = f"{self._url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                found: Any = json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}: {error.read().decode()}") from None
        return [(series["metric"], float(series["value"][1])) for series in found["data"]["result"]]


@contextmanager
def scraping(target: str, directory: Path) -> Iterator[Prometheus]:
    """A Prometheus that scrapes an emulator at HOST:PORT. Raises NotProvisioned when there is none."""
    program = _found("prometheus")
    if program is None:
        raise NotProvisioned("there is no Prometheus here: run python -m tests.support.real_servers.provision")
    configuration = directory / "prometheus.yml"
    configuration.write_text(CONFIGURATION.format(target=target))
    address = f"127.0.0.1:{free_port()}"
    command = [
        program,
        f"--config.file={configuration}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={address}",
    ]
    with open(directory / "prometheus.log", "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        eventually(lambda: _is_ready(address), what="Prometheus is ready")
        yield Prometheus(f"http://{address}")
    finally:
        process.terminate()
        process.wait()


def _is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/-/ready", timeout=30):
            return True
    except OSError:  # it does not listen, or answers 503
        return False


def complaints(text: bytes) -> str:
    """What ``promtool check metrics`` says of a page; nothing if all is well."""
    program = _found("promtool")
    if program is None:
        raise NotProvisioned("there is no promtool here: run python -m tests.support.real_servers.provision")
    checked = subprocess.run([program, "check", "metrics"], input=text, capture_output=True, check=False)
    return (checked.stdout + checked.stderr).decode()


def _found(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=str(PROGRAMS))
