"""What a launcher runs: answers for the emulator's ECR, or gives way to the real program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from emulator.containers.docker.images import EcrRegistry, in_ecr
from emulator.state_directory import StateDirectory
from localmme.engine_cli.words import BuildCommand, RegistryCommand, read, read_build

NOT_FOUND = 127  # exit code of a shell


def main() -> None:
    """Answer, or become the real program. The arguments: the launcher's directory, its name, the real one's path
    (empty if there is none), and the words of the command line."""
    commands, name, real, *words = sys.argv[1:]
    directory, command, build = StateDirectory(Path(commands).parent), read(words), read_build(words)
    code = None
    if command is not None:
        code = _answer(command, directory, name, real)
    elif build is not None and real and name == "docker":  # others have no --push
        code = _build(build, directory, name, real)
    if code is None:
        _become(name, real, words)
    sys.exit(code)


def _answer(command: RegistryCommand, directory: StateDirectory, name: str, real: str) -> int | None:
    """The exit code; None = it is not for this emulator."""
    image = in_ecr(command.argument)
    registry = EcrRegistry.at(_host(command.argument)) if command.verb == "login" else image and image[0]
    if registry is None or not registry.is_ours:
        return None
    emulator = directory.living_emulator()
    if emulator is None:
        return None
    if command.verb == "login":
        return _log_in(command, registry)
    if not real or image is None:
        return None
    from localmme.engine_cli import transfer

    engine = transfer.LocalEngine(name, [real, *command.engine])
    perform = transfer.push if command.verb == "push" else transfer.pull
    return perform(command, engine, emulator)


def _build(command: BuildCommand, directory: StateDirectory, name: str, real: str) -> int | None:
    """Build with the real program, and push. The exit code; None = nothing of it is for this emulator."""
    if not any((image := in_ecr(tag)) and image[0].is_ours for tag in command.tags):
        return None
    emulator = directory.living_emulator()
    if emulator is None:
        return None
    from localmme.engine_cli import transfer

    engine = transfer.LocalEngine(name, [real, *command.engine])
    if not engine.has_buildx():
        return None  # the older builder does not push, and says so
    return _run([real, *command.words]) or transfer.push_built(command, engine, emulator)


def _run(command: Sequence[str]) -> int:
    """Run a command as if it were this process. Its exit code, as shells have it."""
    with subprocess.Popen(command) as process:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to both
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: process.send_signal(number))
        code = process.wait()
    return code if code >= 0 else 128 - code


def _host(server: str) -> str:
    return server.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _log_in(command: RegistryCommand, registry: EcrRegistry) -> int | None:
    """ECR takes one user name, and a token as the password; any token will do."""
    password = command.options.get("--password")
    if "--password-stdin" in command.options:
        password = sys.stdin.read().strip()
    elif password:
        print("WARNING! Using --password via the CLI is insecure. Use --password-stdin.", file=sys.stderr)
    if not password:
        return None  # the real one has words for that, and finds nothing left to read
    if command.options.get("--username") != "AWS":
        attempt = f"login attempt to https://{registry.host}/v2/ failed with status: 400 Bad Request"
        print(f"Error response from daemon: {attempt}", file=sys.stderr)
        return 1
    print("Login Succeeded")
    return 0


def _become(name: str, real: str, words: Sequence[str]) -> None:
    sys.stdout.flush()
    if real:
        os.execv(real, [real, *words])
    print(f"{name}: command not found", file=sys.stderr)
    print(f"localmme answers for ECR only: install {name}, or put its directory on the PATH.", file=sys.stderr)
    sys.exit(NOT_FOUND)
