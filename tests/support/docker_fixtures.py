"""Fixtures: the Docker Engine, and the images that tests run on it. Where there can be none, the tests are skipped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import docker
import pytest
from docker.errors import ImageNotFound

from tests.support.real_servers.engine import running
from tests.support.real_servers.images import Images
from tests.support.real_servers.making import CACHE, NotProvisioned, lock


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


@contextmanager
def tagged(engine: docker.DockerClient, image: str, tag: str) -> Iterator[None]:
    """Let an image have another tag as well; whatever image had that tag gets it back."""
    with lock(CACHE / f"tag-{tag}.lock"):
        before = None
        with suppress(ImageNotFound):
            before = engine.images.get(tag).id
        engine.images.get(image).tag(tag)
        try:
            yield
        finally:
            if before:
                engine.images.get(before).tag(tag)
            else:
                engine.images.remove(tag, noprune=True)
