"""A Docker Engine that is not there."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from emulator.containers.docker.discovery import connect
from emulator.containers.docker.engine import Engine
from emulator.errors import SetupError
from emulator.events import Events
from tests.support.repository import REPOSITORY


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("unix:///nowhere/docker.sock", "No such file or directory"),
        ("tcp://127.0.0.1:1", "Connection refused"),
        ("nonsense://x", "nvalid"),
    ],
)
def test_a_missing_engine_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, reason: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)

    async def scenario() -> None:
        await Engine(tmp_path, Events()).image("any")

    with pytest.raises(SetupError, match=reason) as caught:
        asyncio.run(scenario())
    message = str(caught.value)
    assert address in message
    assert "DOCKER_HOST" in message
    assert "--command" in message
    assert "\n" not in message


def test_who_may_not_use_the_engine_learns_of_the_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid():
        pytest.skip("needs root to be someone else")
    closed = tmp_path / "docker.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(closed))
    closed.chmod(0o600)
    for directory in closed.parents[:3]:
        directory.chmod(0o755)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{closed}")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    os.seteuid(65534)
    try:
        with pytest.raises(SetupError, match=r"Permission denied.*group docker"):
            connect()
    finally:
        os.seteuid(0)
        listener.close()


def test_an_engine_costs_nothing_until_it_is_used() -> None:
    code = """
import sys
from pathlib import Path
from emulator.containers.docker.engine import Engine
from emulator.events import Events
engine = Engine(Path("/nowhere"), Events())
assert not engine.has_leftovers()
engine.abandon()
sys.exit("docker" in sys.modules)
"""
    environment = {**os.environ, "DOCKER_HOST": "tcp://127.0.0.1:1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
