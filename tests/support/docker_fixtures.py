"""Fixtures: the Docker Engine, and the images that tests run on it. Where there can be none, the tests are skipped.

A run of the tests that is killed leaves containers and tags on the engine. The next one finds them: a container by the
process id in its label, a tag by the file that says what it was before.
"""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

import docker
import psutil
import pytest
from docker.errors import APIError, ImageNotFound

from emulator.containers.docker.leftovers import HOST_LABEL
from tests.support.real_servers.engine import running
from tests.support.real_servers.images import Images
from tests.support.real_servers.making import CACHE, NotProvisioned

MACHINE = "test"  # of containers that no emulator takes for those of its own machine


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """The engine that answers, or one that is started now and ends with the last session that uses it."""
    with ExitStack() as stack:
        try:
            client = stack.enter_context(running())
        except NotProvisioned as reason:
            pytest.skip(str(reason))
        remove_leftovers(client)
        yield client


@pytest.fixture(scope="session")
def images(engine: docker.DockerClient) -> Images:
    """The images, of which the base is there; the others are made when they are first used."""
    images = Images(engine)
    try:
        images.base()
    except NotProvisioned as reason:
        pytest.skip(str(reason))
    return images


# Leftovers


def machine_of_this_run() -> str:
    """The name of a machine, for the label of containers that no emulator is to remove, but the next run of tests."""
    return f"{MACHINE}-{os.getpid()}-{uuid.uuid4().hex}"


def remove_leftovers(engine: docker.DockerClient, directory: Path = CACHE) -> None:
    """Remove the containers, networks and volumes, and undo the tags, of runs that were killed."""
    label = {"label": HOST_LABEL}
    for container in engine.containers.list(all=True, filters=label, ignore_removed=True):
        if _is_of_an_ended_run(container.labels):
            with suppress(APIError):  # another run has
                container.remove(force=True, v=True)
    for each in (*engine.networks.list(filters=label), *engine.volumes.list(filters=label)):
        if _is_of_an_ended_run(each.attrs["Labels"]):
            with suppress(APIError):
                each.remove()
    for record in directory.glob("tag-*.json"):
        with record.open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # it is in use
                continue
            _undo_tag(engine, file)


def _is_of_an_ended_run(labels: Mapping[str, str]) -> bool:
    kind, _, rest = labels[HOST_LABEL].partition("-")
    pid = rest.partition("-")[0]
    return kind == MACHINE and pid.isdecimal() and not psutil.pid_exists(int(pid))


@contextmanager
def tagged(engine: docker.DockerClient, tags: Mapping[str, str], directory: Path = CACHE) -> Iterator[None]:
    """Let images have other tags as well, ``tags`` from tag to image; no other test has these tags meanwhile.

    Whatever image had such a tag gets it back, if need be by the next run of the tests.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        for tag, image in sorted(tags.items()):  # so that two tests do not wait for each other
            name = tag.replace("/", "-").replace(":", "-")
            file = stack.enter_context((directory / f"tag-{name}.json").open("a+"))
            fcntl.flock(file, fcntl.LOCK_EX)
            _undo_tag(engine, file)
            before = None
            with suppress(ImageNotFound):
                before = engine.images.get(tag).id
            json.dump({"tag": tag, "before": before}, file)
            file.flush()
            stack.callback(_undo_tag, engine, file)
            engine.images.get(image).tag(tag)
        yield


def _undo_tag(engine: docker.DockerClient, file: TextIO) -> None:
    """Let the tag of a record, whose lock the caller holds, be what it was; from then on there is no record."""
    file.seek(0)
    if record := file.read():
        tag, before = json.loads(record)["tag"], json.loads(record)["before"]
        with suppress(ImageNotFound):
            if before:
                engine.images.get(before).tag(tag)
            else:
                engine.images.remove(tag, noprune=True)
        file.truncate(0)
