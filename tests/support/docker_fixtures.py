"""Fixtures: the Docker Engine, and the images that tests run on it. Where there can be none, the tests are skipped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import docker
import pytest

from tests.support.real_servers.engine import running
from tests.support.real_servers.images import Images
from tests.support.real_servers.making import NotProvisioned


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """The engine that answers, or one that is started now and ends with the last session that uses it."""
    with ExitStack() as stack:
        try:
            client = stack.enter_context(running())
        except NotProvisioned as reason:
            pytest.skip(str(reason))
        yield client


@pytest.fixture(scope="session")
def images(engine: docker.DockerClient) -> Images:
    """The images, of which the base is there; the others are made when they are asked for."""
    images = Images(engine)
    try:
        images.base()
    except NotProvisioned as reason:
        pytest.skip(str(reason))
    return images
