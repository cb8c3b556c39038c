"""Which container is made of what runs, without starting it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from emulator.containers.container import ContainerSettings
from emulator.containers.docker.container import DockerContainer
from emulator.containers.docker.engine import Engine
from emulator.containers.launch import Command, Image, new_container
from emulator.containers.process.container import ProcessContainer
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
    container = new_container(runs, settings, Limits(), print, engine=Engine(directory, Events()))
    assert isinstance(container, (ProcessContainer, DockerContainer))
    return container


def test_a_command_is_a_process_at_a_port(tmp_path: Path) -> None:
    container = made(Command(["true"], tmp_path), tmp_path)
    assert isinstance(container, ProcessContainer)
    assert container.port and container.address == f"127.0.0.1:{container.port}"


def test_a_command_that_takes_a_socket_has_one(tmp_path: Path) -> None:
    container = made(Command(["true"], tmp_path, takes_socket=True), tmp_path)
    assert container.socket is not None and container.socket.parent == tmp_path
    assert container.address == f"unix:{container.socket}"


def test_an_image_is_a_container_of_the_engine(tmp_path: Path) -> None:
    container = made(Image("mme"), tmp_path)
    assert isinstance(container, DockerContainer)
    assert container.port == 8080


def test_docker_is_not_imported_for_a_command() -> None:
    code = "import sys, emulator.containers.launch; sys.exit('emulator.containers.docker.container' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
