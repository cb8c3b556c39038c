"""Pushes to the emulator's ECR, and pulls from it: an image that the local engine has is there already."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emulator.aws.arn import ACCOUNT_ID
from emulator.containers.docker.images import in_ecr, local_names, names_elsewhere, repository, tagged
from emulator.state_directory import EmulatorRecord
from localmme.engine_cli.words import BuildCommand, RegistryCommand

NO_REPOSITORY, NO_IMAGE = "RepositoryNotFoundException", "ImageNotFoundException"  # ECR's errors


class Refused(Exception):
    """ECR refuses; the text is for people."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class LocalEngine:
    """The real program, with the options that say on what engine."""

    name: str  # of the program
    command: Sequence[str]

    def has(self, reference: str) -> bool:
        """Whether it has an image of that name."""
        return self._succeeds("image", "inspect", reference)

    def has_buildx(self) -> bool:
        """Whether it builds with BuildKit."""
        return self._succeeds("buildx", "version")

    def names(self) -> list[str]:
        """The names of its images, with their tags."""
        command = [*self.command, "images", "--format", "{{.Repository}}:{{.Tag}}"]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout.split()

    def tag(self, image: str, name: str) -> bool:
        """Give an image another name."""
        return subprocess.run([*self.command, "tag", image, name]).returncode == 0

    def _succeeds(self, *words: str) -> bool:
        command = [*self.command, *words]
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def push(command: RegistryCommand, engine: LocalEngine, emulator: EmulatorRecord) -> int | None:
    """Say how ECR lists the image, as Docker does after a push. The exit code; None = the engine has no such image."""
    name, quiet = repository(command.argument), "--quiet" in command.options
    references = [tagged(command.argument)]
    if "--all-tags" in command.options:
        references = [each for each in engine.names() if repository(each) == name]
    if not references or not all(map(engine.has, references)):
        return None
    lines = [*_default_tag(command), f"The push refers to repository [{name}]"]
    try:
        for each in references:
            listed = _listed(each, emulator)
            size = listed.get("imageSizeInBytes", 0)
            lines.append(f"{each.removeprefix(f'{name}:')}: digest: {listed['imageDigest']} size: {size}")
    except Refused as refusal:
        print(*lines[:2], sep="\n", flush=True)
        print(refusal if refusal.code != NO_IMAGE else _on_another_engine(each, engine), file=sys.stderr)
        return 1
    print(command.argument if quiet else "\n".join(lines))
    return 0


def push_built(build: BuildCommand, engine: LocalEngine, emulator: EmulatorRecord) -> int:
    """Push what a build has left on the engine, by all its names. The exit code, 0 if all went well.

    As of a build, what is said goes to standard error.
    """
    for tag in build.tags:
        image = in_ecr(tag)
        if image is None or not image[0].is_ours:
            code: int | None = subprocess.run([*engine.command, "push", tag], stdout=sys.stderr).returncode
        else:
            with contextlib.redirect_stdout(io.StringIO() if build.is_quiet else sys.stderr):
                code = push(RegistryCommand("push", tag, {}, build.engine), engine, emulator)
            if code is None:
                print(f"The build has left no image {tag} on the engine of this `{engine.name}`.", file=sys.stderr)
        if code != 0:
            return 1
    return 0


def pull(command: RegistryCommand, engine: LocalEngine, emulator: EmulatorRecord) -> int | None:
    """See to it that the engine has the image by that name, if it has it by another one that the emulator takes for it.

    The exit code; None = it is for the real program.
    """
    reference = tagged(command.argument)
    if "--all-tags" in command.options:
        return None
    status = "Image is up to date for"
    if not engine.has(reference):
        others = [*map(tagged, local_names(reference)[1:]), *names_elsewhere(reference, engine.names())]
        if not any(engine.has(other) and engine.tag(other, reference) for other in others):
            print(*_default_tag(command), sep="\n", end="", flush=True)
            print(f"Error response from daemon: {_nothing_to_pull(reference, emulator)}", file=sys.stderr)
            return 1
        status = "Downloaded newer image for"
    if "--quiet" not in command.options:
        name, _, tag = reference.rpartition("@" if "@" in reference else ":")
        print(*_default_tag(command), f"{tag}: Pulling from {name.partition('/')[2]}", sep="\n")
        print(f"Status: {status} {reference}")
    print(reference)
    return 0


def _default_tag(command: RegistryCommand) -> list[str]:
    named = command.argument != repository(command.argument) or "--all-tags" in command.options
    return [] if named or "--quiet" in command.options else ["Using default tag: latest"]


def _listed(reference: str, emulator: EmulatorRecord) -> dict[str, Any]:
    """What ECR says of an image; of its registry in the emulator's region, if it has no repository in its own.

    All regions are one, and a script that finds no region in the configuration names one of its own. Raises Refused.
    """
    registry, local = in_ecr(reference) or (None, "")
    assert registry is not None
    try:
        return _described(registry.region, local, emulator)
    except Refused as refusal:
        if refusal.code != NO_REPOSITORY or registry.region == emulator.region:
            raise
    return _described(emulator.region, local, emulator)


def _described(region: str, local: str, emulator: EmulatorRecord) -> dict[str, Any]:
    from botocore.exceptions import BotoCoreError, ClientError

    from localmme import boto3_session
    from localmme.emulator_client import users_keys

    name = repository(local)
    kind, value = ("imageDigest", local[len(name) + 1 :]) if "@" in local else ("imageTag", local[len(name) + 1 :])
    client = boto3_session.client("ecr", emulator.url, region, **users_keys())
    try:
        listed: dict[str, Any] = client.describe_images(repositoryName=name, imageIds=[{kind: value}])["imageDetails"][
            0
        ]
        return listed
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
    except BotoCoreError as error:
        code, message = "", str(error)
    if code == NO_REPOSITORY:
        message = (
            f"name unknown: The repository with name '{name}' does not exist in the registry with id '{ACCOUNT_ID}'"
        )
    elif code != NO_IMAGE:
        message = f"denied: {message}"
    raise Refused(code, message)


def _on_another_engine(reference: str, engine: LocalEngine) -> str:
    return (
        f"The engine of this `{engine.name}` has {reference}, but that of the emulator has not, on which images count "
        "as pushed. Start the emulator with DOCKER_HOST set to the address of this one."
    )


def _nothing_to_pull(reference: str, emulator: EmulatorRecord) -> str:
    try:
        _listed(reference, emulator)
    except Refused as refusal:
        if refusal.code == NO_REPOSITORY:
            return f"repository {repository(reference)} not found: {refusal}"
        if refusal.code != NO_IMAGE:
            return str(refusal)
    return f"manifest for {reference} not found: manifest unknown: Requested image not found"
