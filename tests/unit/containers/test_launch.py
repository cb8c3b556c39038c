"""Which container is made of what runs, without starting it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from emulator.containers.container import ContainerSettings
from emulator.containers.docker.container import DockerContainer
from emulator.containers.docker.engine import Engine
from emulator.containers.launch import Command, Image, new_container
from emulator.containers.process.container import ProcessContainer
from emulator.containers.process.environment import InheritedEnvironment
from emulator.events import Events
from emulator.limits import Limits


def made(runs: Image | Command, directory: Path) -> ProcessContainer | DockerContainer:
    settings = ContainerSettings(
        name="primary",
        environment={},
        multi_model=True,
        models=directory / "models",
        memory_bytes=2**30,
        vcpus=1,
        gpus=0,
        position=0,
        shares_instance=False,
        scratch=directory,
    )
    container = new_container(
        runs, settings, Limits(), print, engine=Engine(directory, Events()), inherited=InheritedEnvironment({})
    )
    assert isinstance(container, (ProcessContainer, DockerContainer))
    return container


@pytest.mark.parametrize("takes_socket", [False, True])
def test_a_command_is_a_process_for_which_nothing_is_looked_for_before_it_starts(
    tmp_path: Path, takes_socket: bool
) -> None:
    container = made(Command(["true"], tmp_path, takes_socket=takes_socket), tmp_path / "scratch")
    assert isinstance(container, ProcessContainer)
    assert (container.port, container.socket) == (0, None)
    assert not (tmp_path / "scratch").exists()


@pytest.mark.parametrize("takes_socket", [False, True])
def test_a_process_has_a_port_and_a_socket_if_it_takes_one(tmp_path: Path, takes_socket: bool) -> None:
    container = made(Command(["true"], tmp_path, takes_socket=takes_socket), tmp_path / "scratch")
    assert isinstance(container, ProcessContainer)
    container.find_address()
    assert container.port
    if takes_socket:
        assert container.socket is not None and container.socket.parent == tmp_path / "scratch"
        assert container.address == f"unix:{container.socket}"
    else:
        assert container.address == f"127.0.0.1:{container.port}"


def test_an_image_is_a_container_of_the_engine(tmp_path: Path) -> None:
    container = made(Image("mme"), tmp_path)
    assert isinstance(container, DockerContainer)
    assert container.port == 8080


def test_docker_is_not_imported_for_a_command() -> None:
    code = "import sys, emulator.containers.launch; sys.exit('emulator.containers.docker.container' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
