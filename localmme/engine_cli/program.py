"""What a launcher runs: answers for the emulator's ECR, or gives way to the real program."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from emulator.containers.docker.images import EcrRegistry, in_ecr
from emulator.state_directory import StateDirectory
from localmme.engine_cli.words import RegistryCommand, read

NOT_FOUND = 127  # exit code of a shell


def main() -> None:
    """Answer, or become the real program. The arguments: the launcher's directory, its name, the real one's path
    (empty if there is none), and the words of the command line."""
    commands, name, real, *words = sys.argv[1:]
    command = read(words)
    code = None if command is None else _answer(command, StateDirectory(Path(commands).parent), name, real)
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


def _host(server: str) -> str:
    return server.removeprefix("https://").partition("/")[0]


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
