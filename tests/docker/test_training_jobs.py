"""Training jobs whose algorithm is an image on the Docker Engine."""

from __future__ import annotations

from collections.abc import Iterator

import docker
import pytest

from emulator.containers.docker.leftovers import OWNER_LABEL
from tests.support.real_servers.images import FROM, Images
from tests.support.training_jobs import ALGORITHM, Jobs

pytestmark = pytest.mark.docker

TRAIN = f"""{FROM}
COPY train /usr/local/bin/train
RUN mkdir -p /opt/ml/code && echo mine > /opt/ml/code/own.txt
USER 1234
"""


@pytest.fixture(scope="module")
def jobs(images: Images, engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    image = images.build("train", TRAIN, {"train": f"#!/usr/bin/env python3{ALGORITHM}"})
    jobs = Jobs(tmp_path_factory.mktemp("jobs"), image)
    yield jobs
    jobs.emulator.stop()
    filters = {"label": f"{OWNER_LABEL}={jobs.emulator.state_directory.resolve()}"}
    assert engine.containers.list(all=True, filters=filters) == []
    assert "inside the emulator" not in jobs.emulator.log


def test_an_image_is_run_with_the_argument_train_and_its_output_is_stored(jobs: Jobs) -> None:
    jobs.create("whole", CheckpointConfig={"S3Uri": "s3://b/checkpoints"})
    described = jobs.ended("whole")
    assert described["TrainingJobStatus"] == "Completed", (described, jobs.emulator.log)
    assert jobs.archive("out/whole/output/model.tar.gz") == {
        "deep": "",
        "deep/weights.txt": "1,2",
        "inside": "deep/weights.txt",
    }
    assert jobs.archive("out/whole/output/output.tar.gz") == {"report.txt": "fine"}
    assert (jobs.s3_root / "b" / "checkpoints" / "1.txt").read_text() == "none"
    assert "  whole | loss=0.25; done" in jobs.emulator.errors


def test_what_an_algorithm_says_of_its_failure_is_the_reason(jobs: Jobs) -> None:
    jobs.create("failing", {"fail": "no good data"})
    described = jobs.ended("failing")
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Failed", "Failed")
    assert described["FailureReason"] == "AlgorithmError: no good data, exit code: 3"
