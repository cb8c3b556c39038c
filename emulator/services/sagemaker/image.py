"""The values of ``Image``: a Docker image, ``handler:FILE[:NAME]``, ``command:WORDS`` or ``stub:FILE``."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from emulator.aws.service_models import value_summary
from emulator.containers.docker.images import is_reference
from emulator.containers.launch import Command, Image, Program, Stub
from emulator.containers.process.kept_process import PACKAGE_ROOT
from emulator.errors import SetupError

IMAGE_NAME = "REPOSITORY:TAG, with the repository in lower case"
HANDLER, COMMAND, STUB = "handler:", "command:", "stub:"
EMBEDDED_SERVER = [sys.executable, "-m", "emulator.model_server"]


def model_container(text: str, directory: Path) -> Program:
    """What an ``Image`` of a model names. Raises SetupError; see ``image_or_command``."""
    if text.startswith(STUB):
        return replace(stub_of(text.removeprefix(STUB), directory), image=text)
    return image_or_command(text, directory)


def image_or_command(text: str, directory: Path) -> Image | Command:
    """What an ``Image`` names, but a stub's file. Paths are relative to ``directory``, in which commands also run.

    Raises SetupError when it is invalid, or the file or program does not exist.
    """
    try:
        if text.startswith(HANDLER):
            file = text.removeprefix(HANDLER)
            return replace(embedded_server(str(directory / os.path.expanduser(file)) if file else None), image=text)
        if text.startswith(COMMAND) and text.removeprefix(COMMAND).strip():
            return replace(command_of(text.removeprefix(COMMAND), directory), image=text)
    except OSError as error:  # such as a name too long for a file
        raise SetupError(f"cannot be looked for: {error.strerror}") from None
    if text.startswith(COMMAND) or not is_reference(text):
        raise SetupError(
            f"takes a Docker image ({IMAGE_NAME}), handler:FILE or command:WORDS, not {value_summary(text)}"
        )
    return Image(text)


def stub_of(text: str, directory: Path | None = None) -> Stub:
    """A file of a stub's answers, by its path. Raises SetupError when there is none."""
    path = (directory or Path.cwd()) / os.path.expanduser(text)
    if not os.path.isfile(path):
        raise SetupError(f"There is no file {text} with a stub's answers.")
    return Stub(path.resolve(), f"{STUB}{path.resolve()}")


def image_of(text: str) -> Image:
    """A Docker image by its reference. Raises SetupError when the reference is invalid."""
    if not is_reference(text):
        raise SetupError(
            f"{value_summary(text)} is not the name of a Docker image: write {IMAGE_NAME}, or an id, sha256:..."
        )
    return Image(text)


def command_of(text: str, directory: Path | None = None) -> Command:
    """A command that runs as the container, in ``directory`` (default: the working directory).

    Raises SetupError when it is invalid, or the program does not exist.
    """
    directory = directory or Path.cwd()
    try:
        command = shlex.split(text)
    except ValueError as error:
        raise SetupError(f"The command cannot be split into words: {error}. Check its quotes.") from None
    if not command:
        raise SetupError("--command is empty: give the command that starts your model server.")
    if "/" in command[0]:
        command[0] = str(directory / command[0])
    if "/" in command[0] and Path(command[0]).is_file() and not os.access(command[0], os.X_OK):
        raise SetupError(f"{command[0]} may not be executed: chmod +x {shlex.quote(command[0])}")
    if shutil.which(command[0]) is None:
        raise SetupError(f"There is no program {command[0]!r} to run. Check the spelling, or give its full path.")
    return Command(command, directory, COMMAND + text)


def embedded_server(handler: str | None, python: str | None = None) -> Command:
    """localmme's own model server, with ``FILE[:NAME]`` as its handler; None: each archive has a handler of its own.

    ``python``: the Python in which handlers run, if it is not that of localmme. Raises SetupError when the file does
    not exist.
    """
    command, image = [*EMBEDDED_SERVER], HANDLER
    if python is not None:
        command += ["--python", python]
    if handler:
        file, colon, name = handler.rpartition(":")
        if not colon or not name.isidentifier():
            file, name = handler, ""
        path = Path(file).expanduser()
        if not path.is_file():
            raise SetupError(f"There is no handler file {file}.")
        resolved = f"{path.resolve()}:{name}" if name else str(path.resolve())
        command += ["--handler", resolved]
        image += resolved
    return Command(command, PACKAGE_ROOT, image, takes_socket=True)


def python_path(text: str, directory: Path | None = None) -> str:
    """The path of a Python, also by its virtual environment, below ``directory`` (default: the working directory).

    Raises SetupError when handlers cannot run in it.
    """
    # Its links stay: by them it finds the virtual environment.
    path = os.path.abspath((directory or Path.cwd()) / os.path.expanduser(text))
    if os.path.isdir(path):
        path = os.path.join(path, "bin", "python")
    try:
        check = "import sys; sys.exit(sys.version_info < (3, 10))"
        run = subprocess.run([path, "-c", check], capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = error.strerror if isinstance(error, OSError) else "it does not answer"
        raise SetupError(f"{path} cannot be run: {reason}.") from None
    if run.returncode:
        raise SetupError(f"{path} is no Python 3.10 or newer.")
    return path
