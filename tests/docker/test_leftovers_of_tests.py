"""What a run of these tests that was killed has left on the engine is undone by the next one."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path

import docker
import pytest

from emulator.containers.docker.leftovers import HOST_LABEL
from tests.support.docker_fixtures import machine_of_this_run, remove_leftovers, tagged
from tests.support.real_servers.images import Images

pytestmark = pytest.mark.docker
TAG = f"localmme-test/leftover:{uuid.uuid4().hex}"  # another run of the tests has another one


def test_containers_of_a_run_that_has_ended_are_removed(
    engine: docker.DockerClient, program_image: str, tmp_path: Path
) -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    names = {machine_of_this_run(): True, f"test-{ended.pid}-x": False, f"tests-{ended.pid}": True}
    made = {name: engine.containers.create(program_image, labels={HOST_LABEL: name}) for name in names}
    try:
        remove_leftovers(engine, tmp_path)
        left = {container.id for container in engine.containers.list(all=True, ignore_removed=True)}
        assert {name: container.id in left for name, container in made.items()} == names
    finally:
        for name, stays in names.items():
            if stays:
                made[name].remove(force=True)


def test_so_are_its_networks_and_volumes(engine: docker.DockerClient, tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    for name, stays in ((machine_of_this_run(), True), (f"test-{ended.pid}-{uuid.uuid4().hex}", False)):
        network = engine.networks.create(name, labels={HOST_LABEL: name})
        volume = engine.volumes.create(name, labels={HOST_LABEL: name})
        try:
            remove_leftovers(engine, tmp_path)
            assert bool(engine.networks.list(names=[name])) == stays
            assert bool(engine.volumes.list(filters={"name": name})) == stays
        finally:
            if stays:
                network.remove()
                volume.remove()


def test_a_tag_is_what_it_was_after_a_run_that_was_killed(
    engine: docker.DockerClient, program_image: str, tmp_path: Path
) -> None:
    def is_there() -> bool:  # other tests give the image other tags meanwhile
        return TAG in engine.images.get(program_image).tags

    assert not is_there()
    with tagged(engine, {TAG: program_image}, tmp_path):
        assert is_there()
        (record,) = tmp_path.glob("tag-*.json")
        left = record.read_text()
        remove_leftovers(engine, tmp_path)
        assert is_there(), "it is in use"
    assert not is_there() and record.read_text() == ""
    # Killed, it would have left tag and record.
    engine.images.get(program_image).tag(TAG)
    record.write_text(left)
    remove_leftovers(engine, tmp_path)
    assert not is_there() and record.read_text() == ""


def test_a_tag_of_somebody_elses_image_goes_back_to_it(
    engine: docker.DockerClient, images: Images, program_image: str, tmp_path: Path
) -> None:
    theirs, ours = engine.images.get(images.base()), engine.images.get(program_image)
    theirs.tag(TAG)
    try:
        with tagged(engine, {TAG: program_image}, tmp_path):
            assert engine.images.get(TAG).id == ours.id
        assert engine.images.get(TAG).id == theirs.id
    finally:
        engine.images.remove(TAG, noprune=True)
